"""What jobs cost: paid where attempts end, summed in accounts, predicted from the history, kept within budgets."""

import csv
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from hive.store import JobStore, Registry, keys
from hive.store.accounts import By, make_report, read_accounts, spent_usd
from hive.store.connection import connect
from hive.wire.job import Specification, State
from tests.support import TILE, Web, wait_until
from tests.unit.test_costs import aws_product
from tests.wire.test_presence import report

pytestmark = pytest.mark.wire
ASKED = Specification("gis", "gis.dtm", "gis", {}, {}, {})
HOUR_MS = 3_600_000
PRICE = 0.36


@pytest.fixture
def store(hive_up):
    """Records as a worker writes them, with a worker's rights."""
    return JobStore(connect(hive_up.settings_of("worker")))


def begin(store, hive, job="one", hours=1.0, price=PRICE, worker="gis@a"):
    """Create a job where there is none, and start an attempt that has run for some hours."""
    store.create_many([(job, ASKED)])
    attempt = store.start(job, worker, "h", 15, price)
    hive.redis.hincrby(f"hive:job:{job}", "started_ms", -int(hours * HOUR_MS))
    return attempt


def test_every_attempt_is_paid_once_whatever_ends_it(store, hive_up):
    store.lose("one", begin(store, hive_up, hours=1), "its worker vanished")
    store.release("one", begin(store, hive_up, hours=2, price=2 * PRICE, worker="gis@b"), "a stop")
    assert store.finish("one", begin(store, hive_up, hours=0.5), State.FAILED)
    assert store.get("one").cost_usd == pytest.approx(PRICE * 5.5, abs=1e-4)
    store.retry("one")
    begin(store, hive_up, hours=1)
    store.cancel("one")
    assert store.get("one").cost_usd == pytest.approx(PRICE * 6.5, abs=1e-4)
    store.cancel("one")
    accounts = read_accounts(hive_up.redis)
    assert make_report(accounts, By.TASK).rows == (("gis.dtm", pytest.approx(store.get("one").cost_usd, abs=1e-9)),)
    assert dict(make_report(accounts, By.WORKER).rows)["gis@b"] == pytest.approx(PRICE * 4, abs=1e-4)


def test_a_job_that_waits_for_its_parts_costs_nothing_meanwhile(store, hive_up):
    attempt = begin(store, hive_up, "whole", hours=1)
    store.create("part", Specification("gis", "gis.dtm", "gis", {}, {}, {}, parent="whole"))
    assert store.divide("whole", attempt, [["part"]])
    hive_up.redis.hincrby("hive:job:whole", "started_ms", -8 * HOUR_MS)
    store.finish("part", begin(store, hive_up, "part", hours=2), State.SUCCEEDED)
    store.cancel("whole")
    assert store.get("whole").cost_usd == pytest.approx(PRICE, abs=1e-4)
    assert store.get("part").cost_usd == pytest.approx(2 * PRICE, abs=1e-4)
    assert "$0.36, $1.08 with its parts" in hive_up.run("show", "whole").stdout


def test_an_unknown_price_is_not_zero_and_zero_is_a_price(store, hive_up):
    store.lose("some", begin(store, hive_up, "some"), "it died")
    store.finish("some", begin(store, hive_up, "some", price=None), State.SUCCEEDED)
    store.finish("own", begin(store, hive_up, "own", price=0.0), State.SUCCEEDED)
    store.create("never", ASKED)
    store.cancel("never")
    costs = {job: store.get(job).cost_usd for job in ("some", "own", "never")}
    assert costs == {"some": None, "own": 0.0, "never": None}
    accounts = read_accounts(hive_up.redis)
    assert accounts.unknown_runs == 1
    assert make_report(accounts, By.DAY).jobs_usd == pytest.approx(PRICE, abs=1e-4)  # what was spent stays spent


def test_a_run_over_midnight_is_shared_by_the_days_and_a_budget_sees_idle_time(store, hive_up):
    today = datetime.now(UTC).date()
    midnight = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp() * 1000)
    attempt = begin(store, hive_up)
    hive_up.redis.hset("hive:job:one", "started_ms", midnight - HOUR_MS)
    store.finish("one", attempt, State.SUCCEEDED)
    yesterday = today - timedelta(days=1)
    assert spent_usd(hive_up.redis, yesterday, yesterday) == pytest.approx(PRICE, abs=1e-9)
    days = dict(make_report(read_accounts(hive_up.redis), By.DAY).rows)
    assert days[str(yesterday)] == pytest.approx(PRICE, abs=1e-9)
    assert sum(days.values()) == pytest.approx(store.get("one").cost_usd, abs=1e-9)
    assert len(read_accounts(hive_up.redis, days=1).runs) == 1
    Registry(hive_up.redis).report(report(price_usd_per_h=9.0), there_s=86_400)
    assert spent_usd(hive_up.redis, today, today) == pytest.approx(216)


def test_the_report_is_the_sum_of_the_jobs_that_a_real_worker_ran(hive_up, tmp_path):
    paid_since = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds")
    with hive_up.worker("gis", slots=2, HIVE_PRICE_USD_PER_H="3600", HIVE_PAID_SINCE=paid_since):
        closing = hive_up.run("submit", "test", "--seconds", "1").stderr
        hive_up.run("submit", "test", "--fail", code=1)
        hive_up.run("map", "test", "probe", "--count", "4")
        assert hive_up.json("workers")[0]["price_usd_per_h"] == 3600
    jobs = hive_up.json("jobs")
    costs = [job["cost_usd"] for job in jobs]
    assert len(costs) == 6
    ran_s = [
        (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["started_at"])).total_seconds()
        for job in jobs
    ]
    assert costs == pytest.approx([0.5 * one for one in ran_s], abs=1e-6)  # a slot is half of a worker at $1 a second
    assert f"w1@test, ${costs[-1]:.2f}" in closing
    for by in ("day", "task", "worker"):
        found = hive_up.json("cost", "report", "--by", by)
        assert sum(row["usd"] for row in found["rows"]) == pytest.approx(sum(costs), abs=1e-9)
    assert found["rows"][0]["name"] == "w1@test"
    assert found["idle_usd"] > 0
    assert 590 < found["boot_usd"] < 700
    picture = tmp_path / "cost.svg"
    rows = list(csv.DictReader(hive_up.run("cost", "report", "--csv", "--picture", picture).stdout.splitlines()))
    assert sum(float(row["usd"]) for row in rows) == pytest.approx(found["total_usd"], abs=1e-9)
    assert "</svg>" in picture.read_text()
    assert "cost" in hive_up.run("show", jobs[0]["id"]).stdout
    assert "together" in hive_up.run("cost", "report").stdout
    limited = {"HIVE_BUDGET_USD_PER_DAY": "500"}
    refused = hive_up.run("submit", "test", code=5, environment=limited)
    assert "The budget of the day, $500.00, is reached" in refused.stderr
    assert len(hive_up.json("jobs")) == 6


def test_machines_are_estimated_and_what_nobody_knows_is_said(hive):
    seed = ("cost", "estimate", "--type", "g4dn.xlarge", "--workers", "4", "--hours", "2")
    words = "4 x g4dn.xlarge (us-east-1, on demand, $0.526/h, prices of 2025-03-02) x 2 h = $4.21\n"
    assert hive.run(*seed).stdout.replace("\N{MULTIPLICATION SIGN}", "x") == words
    assert hive.json(*seed)["usd"] == 4.208
    unknown = hive.run("cost", "estimate", "--type", "p4d.24xlarge", "--hours", "2")
    assert unknown.stdout.endswith("price unknown) \N{MULTIPLICATION SIGN} 2 h = unknown\n")
    assert "it is not free" in unknown.stderr
    assert hive.json(*seed, "--spot")["usd"] is None
    hive.run("cost", "estimate", "--type", "g4dn.huge", "--hours", "2", code=3)
    hive.run("cost", "estimate", "--type", "g4dn.xlarge", code=2)


def test_a_task_is_estimated_from_its_history_and_refused_beyond_a_budget(hive_up, store):
    size = TILE.stat().st_size
    estimate = ("cost", "estimate", "gis", "dtm", TILE, TILE)
    assert "No job of gis.dtm has succeeded yet" in hive_up.run(*estimate, code=3).stderr
    guess = hive_up.run("submit", "gis", "dtm", TILE, hive_up.home / "a.tif", "--budget", "1", "--detach")
    assert "The budget of $1.00 is not checked" in guess.stderr
    for number in range(1, 7):  # 60 s and 240 s for each such tile
        attempt = begin(store, hive_up, f"job{number}", hours=(60 + 240 * number) / 3600)
        assert store.finish(f"job{number}", attempt, State.SUCCEEDED, input_bytes=size * number)
    registry = Registry(hive_up.redis)
    registry.report(report(name="gis@a", price_usd_per_h=6.0, slots=1, capabilities=("gis",)))
    hive_up.redis.persist("hive:worker:gis@a")  # it counts as there for as long as this test takes
    found = hive_up.json(*estimate)
    assert found["run_s"] == pytest.approx(600, rel=0.01)
    assert found["workers_s"] == pytest.approx(600, rel=0.01)
    assert found["usd"] == pytest.approx(1.0, rel=0.01)
    assert (found["this_machine_s"], found["history_jobs"], found["jobs"]) == (None, 6, 2)
    assert found["error"] < 0.01
    typed = hive_up.json(*estimate, "--type", "g4dn.xlarge", "--workers", "2")
    assert typed["workers_s"] == pytest.approx(300, rel=0.01)
    assert typed["usd"] == pytest.approx(600 / 3600 * 0.526, rel=0.01)
    assert "not known: no job has run here" in hive_up.run(*estimate).stdout
    before = len(hive_up.json("jobs"))
    one = ("submit", "gis", "dtm", TILE, hive_up.home / "b.tif", "--detach", "--budget")
    assert "It would cost about $0.50" in hive_up.run(*one, "0.4", code=5).stderr
    two = ("map", "gis", "dtm", TILE, "--out", hive_up.home / "out", "--detach")
    hive_up.run(*two, "--budget", "0.4", code=5)
    call = f"hive.Client().with_options(budget_usd=0.4).submit(dtm, {str(TILE)!r}, 'c.tif')"
    call = f"import hive; from hive_workers.gis.dtm import dtm; {call}"
    assert "BudgetError: It would cost about $0.50" in hive_up.python(call, hive_up.home).stderr
    month = {"HIVE_BUDGET_USD_PER_MONTH": "0.7"}
    assert "of the month's budget of $0.70" in hive_up.run(*two, code=5, environment=month).stderr
    assert len(hive_up.json("jobs")) == before
    hive_up.run(*one, "0.6")


@pytest.fixture
def providers():
    """The price lists of both providers, as their documentation has them, on this machine; tells who was asked."""
    asked = []

    class Lists(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            first = {"slug": "s-1vcpu-1gb", "memory": 1024, "vcpus": 1, "price_hourly": 0.009, "regions": ["nyc1"]}
            many = [first, *({**first, "slug": f"x-{number}"} for number in range(199))]
            rest = {**first, "slug": "c-4", "memory": 8192, "vcpus": 4, "price_hourly": 0}
            is_last = "?page=2" in self.path
            links = {} if is_last else {"pages": {"next": "https://api.digitalocean.com/v2/sizes?page=2"}}
            self.say({"sizes": [rest] if is_last else many, "links": links, "meta": {"total": 201}})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.say_spot() if b"DescribeSpotPriceHistory" in body else self.say_product(json.loads(body)["Filters"])

        def say_product(self, filters):
            said = {one["Field"]: one["Value"] for one in filters}
            one = aws_product("0.5990000000", regionCode=said["regionCode"])
            is_it = said["instanceType"] == "g4dn.xlarge"
            self.say({"FormatVersion": "aws_v1", "PriceList": [one] if is_it else []})

        def say_spot(self):
            zones = {"eu-west-1a": "0.1578", "eu-west-1b": "0.2104", "eu-west-1c": "0.0000"}
            items = "".join(
                "<item><instanceType>g4dn.xlarge</instanceType><productDescription>Linux/UNIX</productDescription>"
                f"<spotPrice>{usd}</spotPrice><timestamp>2026-11-26T14:00:00.000Z</timestamp>"
                f"<availabilityZone>{zone}</availabilityZone></item>"
                for zone, usd in zones.items()
            )
            space = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
            name = "DescribeSpotPriceHistoryResponse"
            text = f"<{name} {space}><spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken></nextToken></{name}>"
            self.send(text.encode())

        def say(self, document):
            self.send(json.dumps(document).encode())

        def send(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Lists)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_providers_price_lists_are_read(hive, providers):
    url, asked = providers
    names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": url}
    more = {"HIVE_DO_URL": url, "DIGITALOCEAN_TOKEN": "secret"}
    said = hive.run("cost", "refresh", "--region", "eu-west-1", environment=names | more).stderr
    assert "aws: 1 offers" in said
    assert "digitalocean: 201 offers, 1 of them without a price" in said
    assert [parse_qs(urlsplit(path).query)["page"] for path, _ in asked] == [["1"], ["2"]]
    assert {token for _, token in asked} == {"Bearer secret"}
    hours = ("cost", "estimate", "--hours", "1", "--type")
    assert hive.json(*hours, "g4dn.xlarge", "--region", "eu-west-1")["usd"] == 0.599
    assert hive.json(*hours, "g4dn.xlarge", "--region", "eu-west-1", "--spot")["usd"] == 0.2104
    assert hive.json(*hours, "s-1vcpu-1gb")["usd"] == 0.009
    assert hive.json(*hours, "c-4")["usd"] is None
    assert "No DigitalOcean token found" in hive.run("cost", "refresh", "digitalocean", code=4).stderr
    (hive.home / "digitalocean.token").write_text("of the file\n")
    (hive.home / "digitalocean.token").chmod(0o600)
    hive.run("cost", "refresh", "digitalocean", environment={"HIVE_DO_URL": url})
    assert asked[-1][1] == "Bearer of the file"  # as `hive fleet` reads it
    wide = {"HIVE_DO_URL": "http://example.org", "DIGITALOCEAN_TOKEN": "secret"}
    assert "would travel unencrypted" in hive.run("cost", "refresh", "digitalocean", code=2, environment=wide).stderr


def test_a_worker_counts_its_time_once_and_its_boot_once(hive_up):
    registry = Registry(connect(hive_up.settings_of("worker")))
    for _ in range(2):
        registry.boot("gis@studio", 3600.0, time.time() - 100, 60.0)
        registry.report(report(price_usd_per_h=3600.0), there_s=10)
    registry.leave("gis@studio", 3600.0, 5)
    registry.report(report(name="gis@unknown"), there_s=10)
    hive_up.redis.hset(keys.SHARES, "loan 99999 gis.dtm gis@studio", "2.5")  # a kind of a newer Hive
    accounts = read_accounts(hive_up.redis)
    assert accounts.unknown_runs == 0
    assert accounts.there_usd == {"gis@studio": 25.0}
    assert accounts.boot_usd == 60.0
    wait_until(lambda: [one["name"] for one in registry.workers()] == ["gis@unknown"], "it has left")


def test_a_reached_limit_is_told_over_http_and_in_python_too(hive, tmp_path):
    hive.environment |= {"HIVE_BUDGET_USD_PER_DAY": "0"}
    with hive.up(gateway=True):
        reply = Web(hive).ask("POST", "/task", json.dumps({"type": "test"}).encode())
        said = hive.python("import hive; from hive_workers.test.probe import probe; hive.submit(probe)", tmp_path)
        assert hive.json("jobs") == []
    assert (reply.status, reply.json()["error"]["kind"]) == (402, "budget")
    assert "BudgetError: The budget of the day, $0, is reached" in said.stderr

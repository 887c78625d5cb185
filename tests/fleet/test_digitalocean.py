"""Droplets: real commands and workers. Prism checks each request against a description of the API."""

import json
import signal
import subprocess
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from hive.home.users import identities
from tests.fleet.clouds import Answer, RentedMachines, forget_machines, line_to, open_hive, slow
from tests.support import DATA, end_tree, free_port, require_program, wait_until

pytestmark = pytest.mark.wire
DESCRIPTION = DATA / "digitalocean" / "openapi.yaml"


@pytest.fixture(scope="module")
def prism(tmp_path_factory):
    port, log = free_port(), tmp_path_factory.mktemp("prism") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [require_program("prism"), "mock", "--port", str(port), "--errors", str(DESCRIPTION)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or "is listening" in log.read_text(), "Prism answers", 90)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        end_tree(process)


class Account:
    """The droplets, keys and firewalls that there are: Prism checks what is asked, and remembers nothing."""

    def __init__(self, line):
        self.droplets, self.kept = {}, {"keys": [], "firewalls": []}
        line.after.append(self.answer)

    def answer(self, request, answer):
        if answer.status >= 300:
            return None
        path = urlsplit(request.path)
        what = path.path.split("/")[-1]
        if request.method == "DELETE":
            return answer if self.droplets.pop(int(what), None) else refusal(404, "not found")
        if request.action == "POST /v2/droplets":
            return made({"droplet": self.make(request.json)}, 202)
        if request.action == "GET /v2/droplets":
            [tag] = parse_qs(path.query)["tag_name"]
            return made({"droplets": [one for one in self.droplets.values() if tag in one["tags"]], "links": {}})
        if what not in self.kept:
            return None
        if request.method == "POST":
            self.kept[what].append(request.json | {"id": 7})
            return None
        return made({"ssh_keys" if what == "keys" else what: self.kept[what], "links": {}})

    def make(self, asked):
        number = 1001 + len(self.droplets)
        self.droplets[number] = {
            "id": number,
            "name": asked["name"],
            "status": "active",
            "size_slug": asked["size"],
            "region": {"slug": asked["region"]},
            "tags": asked["tags"],
            "networks": {"v4": [{"type": "public", "ip_address": "192.0.2.9"}]},
        }
        return self.droplets[number]


def made(document, status=200):
    return Answer(status, json.dumps(document).encode(), "application/json")


def refusal(status, words):
    return made({"id": "x", "message": words}, status)


@pytest.fixture(scope="module")
def line_to_prism(prism):
    with line_to(prism) as found:
        yield found


@pytest.fixture
def line(line_to_prism):
    line_to_prism.forget()
    return line_to_prism


@pytest.fixture
def account(line):
    return Account(line)


@pytest.fixture(scope="module")
def renter(tmp_path_factory, line_to_prism):
    with open_hive(
        tmp_path_factory.mktemp("renter"),
        HIVE_DO_URL=f"http://127.0.0.1:{line_to_prism.port}",
        HIVE_FLEET_PACKAGE_URL="https://example.org/hive-1.tar.gz",
        HIVE_FLEET_CAPABILITIES="test=1",
        HIVE_FLEET_GC_PAUSE_S="0.5",
        HIVE_FLEET_REPORT_S="40",
        DIGITALOCEAN_TOKEN="dop_v1_secret",
    ) as hive:
        yield hive


@pytest.fixture
def rented(renter, account):
    forget_machines(renter)
    return renter


@pytest.fixture
def ask_for(tmp_path):
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9Z you@mac\n")
    return [
        "fleet", "up", "digitalocean", "--size", "g-8vcpu-32gb", "--region", "nyc1",
        "--ssh-key", str(key), "--ssh-from", "192.0.2.7", "--yes",
    ]  # fmt: skip


def test_droplets_are_started_listed_and_destroyed(rented, line, account, ask_for, tmp_path, inside):
    with RentedMachines(rented, tmp_path):
        said = inside(rented, *ask_for, "--count", "2", "--budget", "5", "--json")
        assert "2 x g-8vcpu-32gb in nyc1 (8 vCPU, 32 GiB): $0.375 an hour each; at most $1.50 for 2 h" in said.err
        assert "A droplet that is switched off still costs money." in said.err
        started = json.loads(said.out)
        assert [str(one) for one in account.droplets] == [one["id"] for one in started]
        assert {one["state"] for one in inside.json(rented, "fleet", "ls")} == {"idle"}

        asked = line.asked("POST /v2/droplets")
        assert all(one.head["authorization"] == "Bearer dop_v1_secret" for one in line.requests)
        assert not any(b"dop_v1" in one.body for one in line.requests)
        hive_id = (rented.home / "fleet" / "id").read_text()
        for one, machine in zip(asked, started, strict=True):
            assert {f"hive:{hive_id}", f"hive-machine:{machine['name']}"} <= set(one.json["tags"])
            assert f"hive-expires:{machine['expires_at']}" in one.json["tags"]
            assert one.json["ssh_keys"] == [7 if one is asked[1] else 289794]
        [wall] = [one.json for one in line.asked("POST /v2/firewalls")]
        assert (wall["tags"], len(wall["inbound_rules"])) == ([f"hive:{hive_id}"], 1)
        assert wall["inbound_rules"][0]["sources"] == {"addresses": ["192.0.2.7/32"]}

        (rented.home / "fleet" / f"{started[0]['name']}.json").unlink()
        assert [one["id"] for one in inside.json(rented, "fleet", "gc")] == [started[0]["id"]]
        inside(rented, "fleet", "down", "--all")
    assert account.droplets == {}
    assert inside.json(rented, "access", "ls") == []


def test_what_the_api_does_not_take_would_be_noticed(line):
    import httpx

    head = {"Authorization": "Bearer x"}
    good = {"name": "a", "region": "nyc1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}
    ask = partial(httpx.post, f"http://127.0.0.1:{line.port}/v2/droplets", headers=head)
    assert ask(json=good).status_code == 202
    for wrong in ({"size": 1}, {"tags": "hive"}, {"tags": ["a tag"]}, {"sise": "x"}, {"user_data": "x" * 65_537}):
        assert ask(json=good | wrong).status_code == 422
    assert httpx.post(f"http://127.0.0.1:{line.port}/v2/droplets", json=good).status_code == 401


@pytest.mark.parametrize(
    ("call", "answer", "code", "words"),
    [
        ("GET /v2/sizes", refusal(401, "Unable to authenticate you"), 4, "DigitalOcean refuses the token. Correct"),
        ("POST /v2/droplets", refusal(403, "missing scope"), 4, "is not allowed to POST /v2/droplets: missing scope"),
        (
            "POST /v2/droplets",
            refusal(422, "this exceeds your droplet limit"),
            1,
            "The droplet limit of this account is reached",
        ),
        ("POST /v2/droplets", refusal(422, "size is unavailable"), 1, "Try another --region or --size, or later"),
        (
            "POST /v2/droplets",
            refusal(500, "Oops"),
            4,
            "does not answer to POST /v2/droplets, 5 times: it answered 500",
        ),
    ],
)
def test_what_is_refused_is_one_sentence_and_leaves_nothing(
    rented, line, account, ask_for, refused, monkeypatch, call, answer, code, words
):
    monkeypatch.setattr("hive.providers.digitalocean._PAUSE_S", 0.05)
    line.fail(call, answer)
    said = refused(rented, *ask_for, code=code)
    assert words in said
    assert "dop_v1" not in said
    assert (account.droplets, identities(rented.settings)) == ({}, [])


def test_a_droplet_whose_answer_was_lost_is_not_asked_for_twice(rented, line, account, ask_for, tmp_path, inside):
    lost = []

    def lose_first(request, answer):
        if request.action != "POST /v2/droplets" or lost:
            return None
        lost.append(request)
        return refusal(500, "lost")

    line.after.append(lose_first)
    with RentedMachines(rented, tmp_path):
        inside(rented, *ask_for)
        assert (len(line.asked("POST /v2/droplets")), len(account.droplets)) == (1, 1)
        inside(rented, "fleet", "down", "--all")
    assert account.droplets == {}


def test_ctrl_c_leaves_no_droplet(rented, line, account, ask_for):
    line.after.append(
        lambda request, answer: slow(2)(request, answer) if request.action == "POST /v2/droplets" else None
    )
    process = subprocess.Popen(
        rented.command(*ask_for), env=rented.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_until(lambda: account.droplets, "the droplet is there")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=40)[1]
    assert (process.returncode, account.droplets) == (130, {}), said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--size", "g-9"], "DigitalOcean has no size 'g-9' in nyc1. It has: g-8vcpu-32gb, s-1vcpu-1gb."),
        (["--region", "mars"], "DigitalOcean has no size 'g-8vcpu-32gb' in mars. It has: nothing there."),
    ],
)
def test_what_there_is_not_is_refused(rented, line, ask_for, refused, more, words):
    assert words in refused(rented, *ask_for, *more, code=2)
    assert line.asked("POST /v2/droplets") == []


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"DIGITALOCEAN_TOKEN": ""}, 4, "No DigitalOcean token found. Set DIGITALOCEAN_TOKEN, or write it to"),
        ({"HIVE_DO_URL": "http://api.example.org"}, 2, "the token would travel unencrypted"),
    ],
)
def test_a_token_is_needed_and_travels_protected(rented, line, ask_for, refused, environment, code, words):
    assert words in refused(rented, *ask_for, code=code, **environment)
    assert line.requests == []


def test_a_token_that_others_can_read_is_refused(rented, line, ask_for, refused):
    file = rented.home / "digitalocean.token"
    file.write_text("dop_v1_file\n")
    file.chmod(0o644)
    assert "Run: chmod 600" in refused(rented, *ask_for, code=2, DIGITALOCEAN_TOKEN="")
    file.chmod(0o600)
    refused(rented, *ask_for, "--dry-run", code=0, DIGITALOCEAN_TOKEN="")
    assert {one.head["authorization"] for one in line.requests} == {"Bearer dop_v1_file"}

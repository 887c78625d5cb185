"""The gateway's HTTP API and pages: what they answer, and to whom."""

import json
from http.client import HTTPConnection
from urllib.parse import urlencode

import psutil
import pytest

from hive.staging import digest_of
from tests.support import TILE, Hive, Web, wait_until

pytestmark = pytest.mark.wire
READS = ["/", "/openapi.json", "/workers", "/queue", "/status", "/task/abc", "/healthcheck", f"/blob/{'0' * 64}"]
READS += ["/flower/", "/flower/tasks", "/flower/metrics", "/flower/healthcheck", "/flower/static/css/flower.css"]
READS += [
    "/events",
    "/task",
    "/task/abc/why",
    "/task/abc/preview",
    "/page/main.js",
    "/page/index.html",
    "/page/hive.css/x",
]
READS += ["/flower/api/workers", "/metrics", "/nothing", "/../etc/passwd", "//", "/login/x"]
WRITES = ["/task", "/task/abc/cancel", "/task/abc/retry", "/blob/missing", "/logout", "/flower/api/worker/shutdown/x"]


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Mac side with a gateway and one worker; shared, so leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(gateway=True), hive.worker("gis", slots=2):
        yield hive


@pytest.mark.parametrize("token", [None, "", "wrong", "Bearer"])
@pytest.mark.parametrize(("method", "path"), [("GET", one) for one in READS] + [("POST", one) for one in WRITES])
def test_nothing_is_open_without_the_token(web, method, path, token):
    answer = web.ask(method, path, token=token)
    assert answer.status == 401 if token is None else answer.status in (401, 429)  # after ten wrong ones in a minute
    said = "A bearer token is required" if answer.status == 401 else "Too many wrong tokens"
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
def test_files_are_closed_without_the_token(web, method):
    assert web.ask(method, f"/blob/{'0' * 64}", b"x", token="wrong").status in (401, 429)
    assert web.ask(method, f"/blob/{'0' * 64}", b"x", token=None).status == 401


def test_a_browser_without_the_token_is_sent_to_the_page_that_asks_for_it(web):
    answer = web.ask("GET", "/flower/tasks", token=None, headers={"Accept": "text/html,*/*"})
    assert (answer.status, answer.headers["Location"]) == (302, "/login")
    page = web.ask("GET", "/login", token=None)
    assert page.status == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def log_in(web, token, **headers):
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return web.ask("POST", "/login", urlencode({"token": token}).encode(), token=None, headers=form)


def test_a_browser_logs_in_with_a_cookie_that_no_script_and_no_other_site_can_use(web):
    answer = log_in(web, web.token)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert web.token not in cookie
    shown = {"Cookie": cookie.partition(";")[0]}
    assert web.ask("GET", "/status", token=None, headers=shown).status == 200
    assert web.ask("GET", "/flower/", token=None, headers=shown).status == 200
    own = shown | {"Origin": f"http://127.0.0.1:{web.port}"}
    assert web.ask("POST", "/blob/missing", b'{"digests": []}', token=None, headers=own).status == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
def test_what_another_site_sends_with_our_cookie_is_refused(web, headers):
    cookie = log_in(web, web.token).headers["Set-Cookie"].partition(";")[0]
    answer = web.ask("POST", "/task", b'{"type": "test"}', token=None, headers={"Cookie": cookie, **headers})
    assert answer.status == 401


@pytest.mark.parametrize("cookie", ["hive=1.2", "hive=99999999999.abc", "hive=", "hive=\udcff"])
def test_a_made_up_cookie_opens_nothing(web, cookie):
    assert (
        web.ask("GET", "/status", token=None, headers={"Cookie": cookie.encode(errors="replace").decode()}).status
        == 401
    )


def test_guessing_the_token_is_slowed_down(hive):
    with hive.up(gateway=True):
        web = Web(hive)
        said = [log_in(web, f"guess {number}").status for number in range(11)]
        assert said == [401] * 10 + [429]
        assert log_in(web, web.token).status == 429  # for a minute, also the right one
        assert web.ask("GET", "/status").status == 200  # who is in stays in


def test_a_job_is_sent_followed_and_fetched_with_nothing_but_http(web, mac):
    digest = digest_of(TILE)
    assert web.ask("PUT", f"/blob/{digest}", TILE.read_bytes()).status in (200, 201)
    asked = {"type": "gis.dtm", "params": {"cloud": f"sha256:{digest}/tile.laz", "raster": "dtm.tif", "cell": "6ft"}}
    sent = web.ask("POST", "/task", json.dumps(asked).encode())
    assert sent.status == 202
    assert sent.json() | {"id": "", "url": ""} == {"id": "", "state": "queued", "url": "", "warnings": []}
    url = sent.json()["url"]
    job = wait_until(lambda: (one := web.ask("GET", url).json())["state"] == "succeeded" and one, "it succeeds")
    assert job == mac.json("show", job["id"])
    assert job["measures"]["points"] == 110_000
    assert job["parameters"]["cell"] == pytest.approx(1.8288)
    raster = web.ask("GET", "/blob/" + job["outputs"]["raster"].removeprefix("sha256:").partition("/")[0])
    assert raster.body[:4] == b"II*\0"
    assert raster.headers["Content-Disposition"] == "attachment"


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"type": "gis.dtm_tile"}, 404, "gis has no task 'dtm_tile'. It has: dtm"),
        ({"type": "gis.nothing"}, 404, "gis has no task 'nothing'. It has: dtm"),
        ({"type": "nothing"}, 404, "There is no capability 'nothing'. Known capabilities:"),
        ({"type": "test", "params": {"secnods": 1}}, 404, "no parameter 'secnods'"),
        ({"type": "test", "params": {"seconds": -1}}, 400, "seconds must be at least 0 s, not -1 s"),
        ({"type": "gis.dtm", "params": {}}, 400, "needs cloud"),
        ({"type": "gis.dtm", "params": {"cloud": "/etc/passwd.laz"}}, 400, "a file is a URL that workers can read"),
        ({"type": "gis.dtm", "params": {"cloud": "tile.laz"}}, 400, "a file is a URL that workers can read"),
        ({"type": "gis.dtm", "params": {"cloud": "http://h/a.laz"}}, 400, "no URL that workers read"),
        ({"type": "gis.dtm", "params": {"cloud": f"sha256:{'0' * 64}/a.laz"}}, 400, "is not in the store"),
        ({"type": "gis.dtm", "params": {"cloud": f"sha256:{'0' * 64}/../a.laz"}}, 400, "no slashes"),
        ({"type": "gis.dtm", "params": {"cloud": 1}}, 400, "the path of a point cloud"),
        ({"type": "gis.dtm", "params": {"cloud": "s3://b/a.laz", "raster": "../x.tif"}}, 400, "no slashes"),
        ({"type": "gis.dtm", "params": {"cloud": "s3://b/a.laz", "raster": "/x.tif"}}, 400, "no slashes"),
        ({"type": "test", "queue": "no such queue!"}, 404, "cannot be a queue's name"),
        ({"type": "test", "priority": "urgent"}, 400, "low, normal or high"),
        ({"type": "test", "budget_usd": -1}, 400, "The budget must be an amount of 0 US$ or more, not -1"),
        ({"type": "test", "budget_usd": True}, 400, "The budget must be an amount of 0 US$ or more, not True"),
        ({"type": "test", "colour": "red"}, 400, "Known fields are type, params, queue, priority, budget_usd"),
        ({"type": 1}, 400, "type must be text"),
        ({"type": "test", "params": []}, 400, "params must be an object"),
        ({"params": {}}, 400, "Name the type"),
        ({"type": "test", "shell": "rm"}, 400, "Known fields are type"),
        ([], 400, "must be a JSON object"),
    ],
)
def test_what_is_not_accepted_is_said_in_one_sentence_and_nothing_is_sent(web, mac, asked, status, words):
    before = len(mac.json("jobs", "--limit", "1000"))
    answer = web.ask("POST", "/task", json.dumps(asked).encode())
    assert answer.status == status
    assert words in answer.json()["error"]["message"]
    assert len(mac.json("jobs", "--limit", "1000")) == before


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"type": NaN', b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(web, body):
    assert web.ask("POST", "/task", body).status == 400


def test_a_body_beyond_a_megabyte_is_refused_without_being_read(web, mac):
    connection = HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.putrequest("POST", "/task")
    connection.putheader("Authorization", f"Bearer {web.token}")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_files_stand_for_the_first_parameter_that_reads_files(web):
    digest = digest_of(TILE)
    web.ask("PUT", f"/blob/{digest}", TILE.read_bytes())
    asked = {"type": "gis.dtm", "params": {"files": [f"sha256:{digest}/tile.laz"], "raster": "dtm.tif"}}
    job_id = web.ask("POST", "/task", json.dumps(asked).encode()).json()["id"]
    assert web.ask("GET", f"/task/{job_id}").json()["inputs"] == {"cloud": f"sha256:{digest}/tile.laz"}


def test_a_running_job_is_cancelled_over_http(web):
    job_id = web.ask("POST", "/task", b'{"type": "test", "params": {"seconds": 60}}').json()["id"]
    wait_until(lambda: web.ask("GET", f"/task/{job_id}").json()["state"] == "running", "it runs")
    answer = web.ask("POST", f"/task/{job_id[:10]}/cancel")
    assert (answer.status, answer.json()["state"]) == (202, "cancelled")
    again = web.ask("POST", f"/task/{job_id}/cancel")
    assert (again.status, again.json()["error"]["kind"]) == (409, "job-state")


def test_a_failed_job_is_run_again_over_http(web):
    job_id = web.ask("POST", "/task", b'{"type": "test", "params": {"fail": true, "seconds": 2}}').json()["id"]
    wait_until(lambda: web.ask("GET", f"/task/{job_id}").json()["state"] == "failed", "it fails")
    reason = web.ask("GET", f"/task/{job_id}/why").json()
    assert "because it was told to" in reason["why"]
    answer = web.ask("POST", f"/task/{job_id}/retry")
    assert (answer.status, answer.json()["error"]) == (202, None)
    wait_until(lambda: web.ask("GET", f"/task/{job_id}").json()["attempts"] == 2, "it runs again")


def test_jobs_are_listed_newest_first_and_page_by_page(web):
    sent = [
        web.ask("POST", "/task", json.dumps({"type": "test", "queue": "list"}).encode()).json()["id"] for _ in "abc"
    ]
    first = web.ask("GET", "/task?limit=2").json()
    rest = web.ask("GET", f"/task?limit=1&after={first['after']}").json()
    assert [one["id"] for one in first["jobs"] + rest["jobs"]] == sent[::-1]
    assert (
        web.ask("GET", f"/task?text={sent[0][:9].upper()}&state=queued&state=running").json()["jobs"][0]["id"]
        == sent[0]
    )
    assert web.ask("GET", f"/task?text={sent[0]}&state=failed").json() == {"jobs": [], "after": None}
    assert web.ask("GET", f"/task?text={sent[0]}&capability=gis").json() == {"jobs": [], "after": None}
    for job_id in sent:
        web.ask("POST", f"/task/{job_id}/cancel")


@pytest.mark.parametrize(
    ("asked", "status"),
    [("limit=0", 400), ("limit=1001", 400), ("limit=x", 400), ("state=gone", 400), ("after=zz", 404), ("since=", 400)],
)
def test_a_list_that_cannot_be_is_refused(web, asked, status):
    assert web.ask("GET", f"/task?{asked}").status == status


def test_a_preview_is_shown_and_nothing_else_that_a_job_has_written(web, mac):
    digest = digest_of(TILE)
    web.ask("PUT", f"/blob/{digest}", TILE.read_bytes())
    asked = {"type": "gis.dtm", "params": {"cloud": f"sha256:{digest}/tile.laz", "raster": "dtm.tif"}}
    job_id = web.ask("POST", "/task", json.dumps(asked).encode()).json()["id"]
    job = wait_until(lambda: (one := web.ask("GET", f"/task/{job_id}").json())["previews"] and one, "it has a preview")
    assert job["previews"] == ["preview"]
    assert (job["units"]["cell"], job["units"]["mean"]) == ("m", "m")
    shown = web.ask("GET", f"/task/{job_id}/preview")
    assert (shown.status, shown.headers["Content-Type"]) == (200, "image/png")
    assert shown.body.startswith(b"\x89PNG")
    again = web.ask("GET", f"/task/{job_id}/preview/preview", headers={"If-None-Match": shown.headers["Etag"]})
    assert again.status == 304
    assert web.ask("GET", f"/task/{job_id}/preview/raster").status == 404
    mac.redis.hset(f"hive:job:{job_id}", "outputs", json.dumps({"preview": f"sha256:{digest}/evil.png"}))
    assert "is not a PNG" in web.ask("GET", f"/task/{job_id}/preview").json()["error"]["message"]


def test_a_job_that_is_not_there_is_404(web):
    calls = [("GET", "/task/zzz"), ("GET", "/task/zzz/why"), ("GET", "/task/zzz/preview")]
    for method, path in (*calls, ("POST", "/task/zzz/cancel"), ("POST", "/task/zzz/retry")):
        answer = web.ask(method, path)
        assert (answer.status, answer.json()["error"]["kind"]) == (404, "not-found")


def test_workers_queues_and_status_are_those_of_the_command_line(web, mac):
    assert [one["name"] for one in web.ask("GET", "/workers").json()] == ["w1@test"]
    assert set(web.ask("GET", "/workers").json()[0]) == set(mac.json("workers")[0])
    assert {one["name"] for one in web.ask("GET", "/queue").json()} >= {"gis", "test"}
    status = web.ask("GET", "/status").json()
    assert (status["broker"]["state"], status["gateway"]["state"], status["workers"]) == ("up", "up", 1)
    assert status["orchestrator"]["memory_bytes"] > 10 << 20


def test_flower_shows_the_jobs_and_changes_nothing(web, mac):
    job_id = web.ask("POST", "/task", b'{"type": "test"}').json()["id"]
    page = wait_until(
        lambda: (one := web.ask("GET", f"/flower/task/{job_id}")).status == 200 and one, "Flower knows it"
    )
    assert b"test.probe" in page.body
    for path in ("/flower/api/worker/shutdown/w1@test", f"/flower/api/task/revoke/{job_id}"):
        assert web.ask("POST", path, b"").status in (401, 403)
    assert web.ask("POST", "/flower/api/task/send-task/test.probe", b"{}").status in (401, 403)
    assert len(mac.json("workers")) == 1


def test_the_gateway_outlasts_a_redis_that_is_away_and_says_so(hive):
    with hive.up(gateway=True):
        web = Web(hive)
        psutil.Process(int((hive.home / "redis" / "redis.pid").read_text())).kill()
        wait_until(lambda: web.ask("GET", "/queue").status == 503, "it notices")
        answer = web.ask("POST", "/task", b'{"type": "test"}')
        assert (answer.status, answer.json()["error"]["kind"]) == (503, "unreachable")
        hive.run("up")
        assert web.ask("POST", "/task", b'{"type": "test"}').status == 202
        assert len(hive.json("jobs")) == 1


def test_a_gateway_without_a_token_is_refused(hive):
    assert "needs a token" in hive.run("gateway", code=2).stderr


def test_the_log_of_a_job_is_read_over_http(web):
    asked = {"type": "test", "params": {"log_lines": 3}}
    job_id = web.ask("POST", "/task", json.dumps(asked).encode()).json()["id"]
    wait_until(lambda: web.ask("GET", f"/task/{job_id}").json()["state"] == "succeeded", "it succeeds")
    lines = web.ask("GET", f"/task/{job_id}/logs").json()
    assert [one["text"] for one in lines if one["level"] == "INFO"] == ["line 1 of 3", "line 2 of 3", "line 3 of 3"]
    assert {"time", "level", "attempt", "text"} == set(lines[0])
    assert web.ask("GET", f"/task/{job_id}/logs?follow=2").status == 400
    assert web.ask("GET", "/task/zzz/logs").status == 404


def test_the_log_of_a_running_job_is_followed_as_server_sent_events(web):
    asked = {"type": "test", "params": {"log_lines": 2, "seconds": 3}}
    job_id = web.ask("POST", "/task", json.dumps(asked).encode()).json()["id"]
    connection = HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.request("GET", f"/task/{job_id}/logs?follow=1", headers={"Authorization": f"Bearer {web.token}"})
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    events, states = [], []
    for line in answer:
        if line.startswith(b"data: ") and line != b"data: {}\n":
            events.append(json.loads(line[6:]))
            states.append(web.ask("GET", f"/task/{job_id}").json()["state"])
    connection.close()
    assert [one["text"] for one in events if one["level"] == "INFO"][:2] == ["line 1 of 2", "line 2 of 2"]
    assert states[0] == "running"  # it came while the job ran

"""Identities of workers: each serves its own queues, finds its own way, and goes when it is told to."""

import stat
import subprocess
import sys
import textwrap

import psutil
import pytest
import redis

from hive.home import redis_server, running_pid
from hive.home.redis_server import find_redis_server
from hive.home.users import identities
from hive.task import Limits
from hive.wire.job import Specification
from hive.wire.signing import Signer
from tests.faults.harness import kill_tree
from tests.support import TILE, Web, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture
def mac(hive):
    """A Mac side with a gateway and a short lease, and no worker."""
    hive.environment |= {"HIVE_LEASE_S": "3"}
    with hive.up(gateway=True):
        yield hive


def let_in(hive, name, capabilities="gis"):
    """Make an identity; returns the folder for its machine."""
    folder = hive.home.parent / f"home of {name}"
    hive.run("access", "add", name, "--capabilities", capabilities, "--out", folder)
    return folder


def worker(hive, name, folder, **more):
    return hive.worker("gis", slots=1, name=name, HIVE_HOME=str(folder), **more)


def test_a_worker_with_nothing_but_its_folder_does_the_main_job_in_parts(mac, tmp_path):
    folder = let_in(mac, "studio")
    with worker(mac, "studio", folder):
        words = ["gis", "dtm", TILE, tmp_path / "dtm.tif", "--cell", "2", "--tile", "100"]
        job = mac.json("submit", *words, timeout_s=240)
        probe = mac.json("submit", "test")
    assert job["measures"]["points"] == 110_000
    assert len(job["parts"]) > 1
    assert probe["state"] == "succeeded"
    assert not mac.redis.exists("hive:unacked:worker")
    log = (mac.home / "studio.log").read_text()
    assert "ermission" not in log, log


def test_what_a_machine_gets_is_closed_to_others_and_opens_files_only(mac):
    folder = let_in(mac, "studio")
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    token = (folder / "gateway.token").read_text()
    web = Web(mac)
    assert web.ask("POST", "/blob/missing", b'{"digests": []}', token=token).status == 200
    for path in ("/task/abc", "/workers", "/", "/flower/", "/blobs"):
        assert web.ask("GET", path, token=token).status == 401
    assert web.ask("POST", "/blob/missing", b'{"digests": []}', token=token.replace("studio", "other")).status == 401


def test_a_job_of_a_killed_identity_goes_on_under_another_one(mac):
    two = let_in(mac, "two")
    with worker(mac, "one", let_in(mac, "one")) as first:
        job_id = mac.submit("test", "--queue", "gis", "--seconds", "20")
        wait_until(lambda: mac.record(job_id)["state"] == "running", "it runs")
        with worker(mac, "two", two):
            kill_tree(first)
            wait_until(lambda: mac.record(job_id)["attempts"] == 2, "it is started again", 2 * 3 + 5)
            job = mac.record(job_id)
            mac.run("cancel", job_id)
    assert job["worker"] == "two@test"


def test_a_revoked_identity_is_out_at_once_and_stays_out(mac):
    folder = let_in(mac, "studio")
    token = (folder / "gateway.token").read_text()
    with worker(mac, "studio", folder) as process:
        mac.run("access", "remove", "studio")
        users = {one["user"] for one in mac.redis.client_list()}
        assert "studio" not in users
        assert Web(mac).ask("POST", "/blob/missing", b'{"digests": []}', token=token).status == 401
        job_id = mac.submit("test", "--queue", "gis")
        wait_until(lambda: "refuses" in log(mac) or "invalid username" in log(mac), "it is told why")
        assert mac.record(job_id)["state"] == "queued"
        kill_tree(process)
    mac.run("down")
    mac.run("up")
    assert mac.json("access", "ls") == []
    assert "studio" not in mac.redis.acl_users()


def log(hive):
    return (hive.home / "studio.log").read_text()


def test_identities_outlast_redis_and_are_listed(mac):
    let_in(mac, "studio", "gis,training")
    mac.run("down")
    mac.run("up")
    assert mac.json("access", "ls") == [{"name": "studio", "capabilities": ["gis", "training"]}]
    assert "studio" in mac.redis.acl_users()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "worker", "--capabilities", "gis"], 2, "cannot be an identity's name"),
        (["add", "../x", "--capabilities", "gis"], 2, "cannot be an identity's name"),
        (["add", "studio", "--capabilities", "gsi"], 2, "Did you mean 'gis'?"),
        (["remove", "studio"], 3, "There is no identity 'studio'. Identities: none."),
        (["remove", "../../x"], 3, "There is no identity"),
    ],
)
def test_what_cannot_be_is_said(hive, arguments, code, words):
    assert words in hive.run("access", *arguments, code=code).stderr
    assert hive.json("access", "ls") == []


def test_a_name_is_given_once(hive):
    hive.run("access", "add", "studio", "--capabilities", "gis")
    assert (
        "There is an identity studio already."
        in hive.run("access", "add", "studio", "--capabilities", "gis", code=2).stderr
    )


def test_identities_that_are_made_at_the_same_time_do_not_hinder_each_other(hive):
    """As `hive fleet up --count 4` makes them: the files that all of them write are the same."""
    script = """
        import sys
        from hive.home import access
        from hive.settings import load_settings
        sys.stdin.read()
        for number in range(30):
            access.add(load_settings(), f"{sys.argv[1]}{number}", ["gis"])
    """
    hive.home.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(script)]
    more = {"env": hive.environment, "stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, name], **more) for name in ("a", "b", "c")]
    for one in processes:
        one.stdin.close()
    assert [(one.stderr.read(), one.wait()) for one in processes] == [("", 0)] * 3
    for one in processes:
        one.stderr.close()
    assert len(identities(hive.settings)) == 90


def test_a_redis_of_an_earlier_hive_gets_its_users_from_up_and_keeps_its_jobs(hive, tmp_path):
    folder = hive.home / "redis"
    folder.mkdir(parents=True)
    (hive.home / "redis.password").write_text("old")
    options = ["--port", str(hive.port), "--requirepass", "old", "--dir", folder, "--daemonize", "yes"]
    redis_server.subprocess.run(
        [find_redis_server(), *map(str, options), "--pidfile", str(folder / "redis.pid")], check=True
    )
    old = redis.Redis(port=hive.port, password="old", decode_responses=True)
    wait_until(lambda: running_pid(hive.settings), "the old one runs")
    asked = Specification("test", "test.probe", "test", {}, {}, {}, Limits(attempts=3))
    asked = asked.signed("abc", Signer(hive.settings.signing_key))
    kept = {"specification": asked.to_json(), "state": "running", "queue": "test", "attempts": 1, "most_losses": 3}
    old.hset("hive:job:abc", mapping=kept | {"submitted_ms": 1, "worker": "w", "host": "h"})
    old.zadd("hive:ids", {"abc": 0})
    old.zadd("hive:leases", {"abc": 1})
    old.sadd("hive:queues", "test")
    try:
        assert hive.json("up", "--redis-only")["services"][0]["is_new"] is False
        with pytest.raises(redis.RedisError):  # closed, and not let in again
            old.get("anything")
        with hive.worker("gis"):
            assert hive.wait("abc", code=0)["attempts"] == 2
        assert not hive.redis.exists("hive:ids")  # what that one kept and this one does without
    finally:
        psutil.Process(running_pid(hive.settings)).kill()

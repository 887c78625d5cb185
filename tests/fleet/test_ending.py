"""A rented machine ends itself: a real worker, and a command in place of `systemctl poweroff` that leaves a file."""

import json
import os
import shlex
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from hive.errors import SettingError
from hive.settings import load_settings
from hive.worker.shutdown import MachineEnd
from tests.faults.test_spot import NOTICE, Metadata, metadata  # noqa: F401  a fixture
from tests.patience import patient
from tests.support import end_tree, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture
def machine(hive_up, tmp_path):
    """Starts `hive worker` as on a rented machine; `is_off` says whether it has ended itself."""
    mark, log, processes = tmp_path / "off", tmp_path / "log", []

    def start(capabilities="gis=1", **environment):
        command = shlex.join(["sh", "-c", 'date >"$1"', "end", str(mark)])
        with log.open("a") as output:
            process = subprocess.Popen(
                hive_up.command("worker", "--capabilities", capabilities, "--name", "rented"),
                env=hive_up.environment | {"HIVE_END_COMMAND": command, "HIVE_GRACE_S": "2", **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=hive_up.home,
            )
        processes.append(process)
        wait_until(lambda: len(workers(hive_up)) == len(capabilities.split(",")), "its nodes report")
        return process

    start.is_off = mark.exists
    start.log = log.read_text
    yield start
    for process in processes:
        end_tree(process)


def workers(hive):
    return hive.redis.keys("hive:worker:*@rented")


def in_seconds(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_machine_with_nothing_to_do_ends_itself_and_one_with_a_job_does_not(hive_up, machine):
    job = hive_up.submit("test", "--queue", "gis", "--seconds", "9")  # it waits: nobody idles before it is done
    process = machine("gis=1,test=1", HIVE_END_WHEN_IDLE_MIN="0.1")
    wait_until(lambda: hive_up.record(job)["state"] == "succeeded", "its job is done")
    assert not machine.is_off()  # 6 s have passed since its start, and it had something to do
    wait_until(machine.is_off, "it has ended itself")
    assert process.wait(timeout=10) == 0
    assert workers(hive_up) == []
    assert "this machine ends: it has had no job for 0.1 min" in machine.log()


def test_a_machine_past_its_expiry_gives_its_job_back_and_ends_itself(hive_up, machine):
    process = machine(HIVE_EXPIRES_AT=in_seconds(patient(8)))
    job = hive_up.submit("test", "--queue", "gis", "--seconds", "60")
    wait_until(machine.is_off, "it has ended itself", 60)
    assert process.wait(timeout=10) == 0
    assert (hive_up.record(job)["state"], workers(hive_up)) == ("queued", [])


def test_a_machine_ends_at_its_expiry_though_the_mac_sleeps(hive_up, machine):
    process = machine(HIVE_EXPIRES_AT=in_seconds(patient(9)))
    hive_up.run("down")
    wait_until(machine.is_off, "it has ended itself", 60)
    assert process.wait(timeout=20) == 0


def test_a_machine_with_a_notice_drains_and_ends(machine, metadata):  # noqa: F811  the fixture
    process = machine(HIVE_SPOT_NOTICE_URL=metadata)
    Metadata.notice = NOTICE
    wait_until(machine.is_off, "it has ended itself")
    assert process.wait(timeout=10) == 0
    assert "this machine will be taken away" in machine.log()


def test_a_worker_that_is_told_to_stop_leaves_its_machine_on(hive_up, machine):
    process = machine(HIVE_EXPIRES_AT=in_seconds(3600))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert not machine.is_off()


def end_of(folder, **environment):
    values = {"HIVE_HOME": str(folder), "HIVE_END_COMMAND": "true"} | environment
    return MachineEnd(load_settings({}, values), ["gis@here"])


def test_an_outcome_that_waits_for_the_mac_keeps_its_machine_on(tmp_path):
    end = end_of(tmp_path, HIVE_END_WHEN_IDLE_MIN="0.001")
    (tmp_path / "cache/outbox").mkdir(parents=True)
    (tmp_path / "cache/outbox/job.json").write_text(json.dumps({}))
    time.sleep(0.1)
    assert end.reason() == ""
    (tmp_path / "cache/outbox/job.json").unlink()
    assert end.reason() == "it has had no job for 0.001 min"


def test_a_machine_ends_when_it_has_cost_its_budget_also_after_a_restart(tmp_path):
    values = {"HIVE_PRICE_USD_PER_H": "3.6", "HIVE_MACHINE_BUDGET_USD": "2"}
    assert end_of(tmp_path, **values).reason() == ""
    half_an_hour_ago = time.time() - 1801
    os.utime(tmp_path / "cache/first-start", (half_an_hour_ago, half_an_hour_ago))
    assert end_of(tmp_path, **values).reason() == ""
    assert end_of(tmp_path, **values | {"HIVE_MACHINE_BUDGET_USD": "1.8"}).reason() == "it has cost its budget of $1.80"


def test_without_a_command_nothing_ends(tmp_path):
    assert end_of(tmp_path, HIVE_END_COMMAND="", HIVE_EXPIRES_AT="2020-01-01T00:00:00Z").reason() == ""


def test_a_command_that_fails_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hive.worker.shutdown._PAUSE_S", 0.0)
    assert end_of(tmp_path, HIVE_END_COMMAND="false").carry_out() == 1
    assert "this machine could not be ended: false failed" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-26T20:00:00"])
def test_an_expiry_that_is_no_moment_is_refused(tmp_path, text):
    with pytest.raises(SettingError, match="HIVE_EXPIRES_AT cannot be"):
        end_of(tmp_path, HIVE_EXPIRES_AT=text)

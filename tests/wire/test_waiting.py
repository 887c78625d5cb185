"""Waiting as a person does it: no worker yet, Ctrl-C, coming back; and what the terminal shows meanwhile."""

import re
import signal
import subprocess

import pexpect
import pytest

from tests.support import wait_until

pytestmark = pytest.mark.wire


def terminal(hive, *arguments):
    """Run `hive` on a real terminal of 110 columns."""
    program, *rest = hive.command(*arguments)
    return pexpect.spawn(program, rest, env=hive.environment, dimensions=(40, 110), encoding="utf-8", timeout=30)


def test_without_a_worker_it_says_so_and_waits(hive_up):
    waiting = subprocess.Popen(
        hive_up.command("submit", "test", "--queue", "gis"), env=hive_up.environment, stderr=subprocess.PIPE, text=True
    )
    lines = iter(waiting.stderr.readline, "")
    said = next(line for line in lines if "No worker serves" in line)
    assert said == (
        "No worker serves 'gis'; the job waits. Start one: hive worker --capabilities gis=2. "
        "Ctrl-C leaves the job in the queue.\n"
    )
    with hive_up.worker("gis"):
        assert waiting.wait(timeout=30) == 0
    waiting.stderr.close()


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(hive_up):
    waiting = subprocess.Popen(
        hive_up.command("submit", "test", "--message", "later"),
        env=hive_up.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "No worker serves" in waiting.stderr.readline(), "it waits")
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    job_id = re.search(r"The job (\w+) stays queued. Come back to it: hive wait \1\n", errors).group(1)
    assert "Traceback" not in errors
    with hive_up.worker("gis"):
        assert hive_up.wait(job_id, code=0)["measures"]["message"] == "later"


def test_ctrl_c_leaves_a_running_job_running(farm):
    job_id = farm.submit("test", "--seconds", "0.1", "--gate", "ctrl-c")
    wait_until(lambda: farm.record(job_id)["state"] == "running", "it runs")
    waiting = terminal(farm, "wait", job_id)
    waiting.expect("working")
    waiting.sendintr()
    waiting.expect("stays running")
    waiting.expect(pexpect.EOF)
    waiting.close()
    assert waiting.exitstatus == 130
    farm.open_gate("ctrl-c")
    assert farm.wait(job_id, code=0)["attempts"] == 1


def test_a_terminal_shows_a_moving_bar_and_is_left_clean(farm):
    running = terminal(farm, "submit", "test", "--seconds", "1.5", "--gate", "bar")
    running.expect("running on w1@test")
    running.expect(r"1\.\d of 1\.5 s")
    farm.open_gate("bar")
    running.expect("succeeded in")
    running.expect(pexpect.EOF)
    running.close()
    assert running.exitstatus == 0


def test_no_color_is_honoured_and_a_pipe_gets_plain_lines(farm):
    ended = farm.run("submit", "test", "--seconds", "0.3")
    assert "\x1b" not in ended.stdout + ended.stderr
    shown = terminal_with(farm, {"NO_COLOR": "1"}, "jobs")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


def terminal_with(hive, more, *arguments):
    program, *rest = hive.command(*arguments)
    running = pexpect.spawn(
        program, rest, env=hive.environment | more, dimensions=(40, 110), encoding="utf-8", timeout=30
    )
    return running.read()


def test_waiting_no_longer_than_asked_is_exit_code_1_and_the_job_goes_on(farm):
    job_id = farm.submit("test", "--gate", "no-longer")
    assert "is still" in farm.run("wait", job_id, "--timeout", "0.2", code=1).stderr
    farm.open_gate("no-longer")
    assert farm.wait(job_id, code=0)["attempts"] == 1


def test_fetching_before_the_end_says_to_wait(farm, tmp_path):
    job_id = farm.submit("test", tmp_path / "out.bin", "--gate", "fetch")
    assert f"Wait for it: hive wait {job_id[:8]}" in farm.run("fetch", job_id, code=1).stderr
    farm.open_gate("fetch")
    farm.wait(job_id)

"""What the launcher starts is a process as `subprocess` starts it."""

import os
import signal
import subprocess

import pytest

from tests.patience import patient, slowness
from tests.support import launcher, start, wait_until

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("words", [["--version"], ["submit", "nothing"], ["config", "--show-origin"], ["jobs"]])
def test_a_command_says_and_ends_as_a_process_of_its_own_does(hive, tmp_path, words):
    own = subprocess.run(
        hive.command(*words), env=hive.environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    started = hive.run(*words, code=None, cwd=tmp_path)
    assert (started.returncode, started.stdout, started.stderr) == (own.returncode, own.stdout, own.stderr)


def test_a_worker_is_a_session_of_its_own_and_ends_by_signals(hive_up):
    with (hive_up.home / "log").open("w") as log:
        command = [hive_up.command()[0].replace("/hive", "/celery"), "-A", "hive", "worker", "-Q", "gis", "-c", "1"]
        command += ["--loglevel", "INFO"]
        worker = start(command, hive_up.environment, log, hive_up.home)
    try:
        wait_until(lambda: "ready" in (hive_up.home / "log").read_text(), "it is ready")
        assert os.getsid(worker.pid) == worker.pid != os.getsid(0)
        assert worker.poll() is None
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
    assert worker.wait(timeout=20) == -signal.SIGKILL


def test_what_acts_before_any_import_is_not_for_the_launcher(hive, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("")
    assert launcher().can_start(hive.environment)
    assert launcher().can_start(hive.environment | {"PYTHONPATH": "/nowhere"})
    assert not launcher().can_start(hive.environment | {"PYTHONPATH": str(tmp_path)})
    assert not launcher().can_start(hive.environment | {"PYTHONDEVMODE": "1"})


def test_a_deadline_is_never_shorter_than_on_a_quiet_machine():
    assert slowness() >= 1
    assert patient(10) >= 10

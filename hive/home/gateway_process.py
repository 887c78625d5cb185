"""Start and stop the gateway of this Hive: a process of its own that outlives the command that starts it."""

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from hive.errors import ServiceError
from hive.home.service import HOST, Service, has_ended, refuse_taken_port
from hive.settings import Settings, secret

_START_S = 30.0
_STOP_S = 10.0


def _folder(settings: Settings) -> Path:
    return settings.home / "gateway"


def log_file(settings: Settings) -> Path:
    """Where the gateway writes its own log."""
    return _folder(settings) / "gateway.log"


def start(settings: Settings) -> Service:
    """Start the gateway, if it does not run yet.

    Raises
    ------
    ServiceError
        Its port is taken, or it does not come up.
    """
    address = f"{HOST}:{settings.gateway_port}"
    running = running_pid(settings)
    if running is not None:
        return Service("gateway", address, running, is_new=False)
    refuse_taken_port(settings.gateway_port, "--gateway-port")
    token = secret(settings.token_file)
    _folder(settings).mkdir(parents=True, exist_ok=True, mode=0o700)
    with log_file(settings).open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hive", "gateway"],
            env=os.environ | settings.flags_as_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_folder(settings),
            start_new_session=True,
        )
    _pid_file(settings).write_text(str(process.pid))
    if not _answers(process, settings.gateway_port, token):
        process.kill()
        _pid_file(settings).unlink(missing_ok=True)
        raise ServiceError(f"The gateway did not start. See its log: {log_file(settings)}.")
    process.returncode = 0  # it outlives this command, which need not wait for it
    return Service("gateway", address, process.pid, is_new=True)


def stop(settings: Settings) -> int | None:
    """Stop the gateway; returns its former pid, None if it did not run.

    Raises
    ------
    ServiceError
        It does not end.
    """
    pid = running_pid(settings)
    if pid is not None:
        process = psutil.Process(pid)
        process.terminate()
        if not has_ended(process, _STOP_S):
            raise ServiceError(f"The gateway (process {pid}) does not end; see {log_file(settings)}.")
    _pid_file(settings).unlink(missing_ok=True)
    return pid


def running_pid(settings: Settings) -> int | None:
    """The process of this Hive's gateway; None if it does not run, or the pid file is stale."""
    try:
        pid = int(_pid_file(settings).read_text())
        process = psutil.Process(pid)
        command = process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    is_ours = command[-3:] == ["-m", "hive", "gateway"] and process.status() != psutil.STATUS_ZOMBIE
    return pid if is_ours else None


def _pid_file(settings: Settings) -> Path:
    return _folder(settings) / "gateway.pid"


def _answers(process: subprocess.Popen[bytes], port: int, token: str) -> bool:
    """Wait for the gateway to answer."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        try:
            connection.request("GET", "/healthcheck", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status == http.client.OK
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    return False

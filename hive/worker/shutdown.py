"""How a worker comes to an end: its jobs get the grace period, then are queued again."""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hive.settings import Settings, load_settings
from hive.worker.slots import slots_in

if TYPE_CHECKING:  # celery: `hive worker` needs the end of the machine only
    from hive.celery_adapter.worker import RunningWorker

logger = logging.getLogger(__name__)
# Amazon EC2 User Guide, "Spot Instance interruption notices": look every 5 s; 404 means that there is no notice.
_LOOK_EVERY_S = 5.0
_TOKEN_PATH = "/latest/api/token"  # noqa: S105  a path, not a secret
_NOTICE_PATH = "/latest/meta-data/spot/instance-action"


class Shutdown:
    """Lets SIGTERM begin the grace period, and sends it when the provider will take the machine away."""

    def __init__(self, worker: "RunningWorker") -> None:
        self._worker = worker
        self._over = threading.Event()

    def start(self) -> None:
        """Handle SIGTERM, and begin to look for a notice."""
        with contextlib.suppress(ValueError):  # not in the main thread: a worker inside another program
            self._worker.stop_softly_on_sigterm()
        address = load_settings().spot_notice
        if address:
            threading.Thread(target=self._watch, args=(address,), daemon=True, name="spot-notice").start()

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()

    def _watch(self, address: str) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            notice = read_notice(address)
            if notice:
                logger.warning("this machine will be taken away: %s", notice)
                os.kill(os.getpid(), signal.SIGTERM)
                return


def read_notice(address: str) -> str:
    """Ask the metadata service whether this machine will be taken away; empty where not, or where it is silent."""
    try:
        request = urllib.request.Request(  # noqa: S310  the address is the owner's setting
            address + _TOKEN_PATH, method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with urllib.request.urlopen(request, timeout=2) as response:  # noqa: S310
            token = response.read().decode()
        request = urllib.request.Request(address + _NOTICE_PATH, headers={"X-aws-ec2-metadata-token": token})  # noqa: S310
        with urllib.request.urlopen(request, timeout=2) as response:  # noqa: S310
            notice: str = response.read().decode()
            return notice
    except (urllib.error.URLError, OSError):
        return ""


_TRIES, _PAUSE_S = 3, 5.0


class MachineEnd:
    """Whether this machine must end now, and how, without asking anybody: the laptop and Redis may be away."""

    def __init__(self, settings: Settings, workers: Sequence[str]) -> None:
        self._settings = settings
        self._running = [settings.cache / "running" / worker for worker in workers]
        self._began = time.time()

    def reason(self) -> str:
        """Why the machine must end now; empty while it need not, and where no command is set that ends it."""
        if not self._settings.end_command:
            return ""
        return self._expiry() or self._spent() or self._idle()

    def notice(self) -> str:
        """The provider's notice that the machine will be taken away; empty where there is none."""
        return read_notice(self._settings.spot_notice) if self._settings.spot_notice else ""

    def carry_out(self) -> int:
        """End the machine; returns 0 where the command says that it does."""
        command = shlex.split(self._settings.end_command)
        for _ in range(_TRIES if command else 0):
            try:
                if subprocess.run(command, check=False, timeout=300).returncode == 0:  # noqa: S603  the owner's setting
                    return 0
            except (OSError, subprocess.TimeoutExpired) as error:
                sys.stderr.write(f"hive worker: {error}\n")
            time.sleep(_PAUSE_S)
        if command:
            sys.stderr.write(f"hive worker: this machine could not be ended: {' '.join(command)} failed\n")
        return 1 if command else 0

    def _expiry(self) -> str:
        expires = self._settings.expires_at
        return "it has expired" if expires is not None and datetime.now(UTC) >= expires else ""

    def _spent(self) -> str:
        budget, price = self._settings.machine_budget_usd, self._settings.price_usd_per_h
        if not (budget and price):
            return ""
        spent = price * (time.time() - self._first_start()) / 3600
        return f"it has cost its budget of ${budget:.2f}" if spent >= budget else ""

    def _first_start(self) -> float:
        """When a worker was first started on this machine [s since 1970]; a worker that starts again knows it too."""
        file = self._settings.cache / "first-start"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return file.stat().st_mtime

    def _idle(self) -> str:
        limit_min = self._settings.end_when_idle_min
        if not limit_min or self._is_busy():
            return ""
        # An attempt's file comes and goes in its worker's folder, which keeps the time of that.
        last = max([self._began, *(folder.stat().st_mtime for folder in self._running if folder.exists())])
        return f"it has had no job for {limit_min:g} min" if time.time() - last >= 60 * limit_min else ""

    def _is_busy(self) -> bool:
        """Whether an attempt runs, or the outcome of one waits here because Redis is away."""
        waits = any(Path(self._settings.cache / "outbox").glob("*"))
        return waits or any(slot.is_alive for folder in self._running for slot in slots_in(folder))

"""A rented machine ends itself: when it has nothing to do, has expired, or has cost what it may."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hive.settings import Settings

_TRIES, _PAUSE_S = 3, 5.0


class MachineEnd:
    """Whether this machine must end now, and how. It asks nobody: the laptop and Redis may be away."""

    def __init__(self, settings: Settings, workers: Sequence[str]) -> None:
        self._settings = settings
        self._running = [settings.cache / "running" / worker for worker in workers]
        self._began = time.time()

    def reason(self) -> str:
        """Why the machine must end now; empty while it need not, and where nobody said how it would."""
        if not self._settings.end_command:
            return ""
        return self._expiry() or self._spent() or self._idle()

    def notice(self) -> str:
        """The provider's notice that the machine will be taken away; empty where there is none."""
        if not self._settings.spot_notice:
            return ""
        from hive.worker.stops import read_notice  # noqa: PLC0415  brings Celery, which this process does not need

        return read_notice(self._settings.spot_notice)

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
        last = max([self._began, *(one.stat().st_mtime for one in self._running if one.exists())])
        return f"it has had no job for {limit_min:g} min" if time.time() - last >= 60 * limit_min else ""

    def _is_busy(self) -> bool:
        """Whether an attempt runs, or the outcome of one waits here because Redis is away."""
        from hive.worker.slots import shown_in  # noqa: PLC0415  only on machines that end themselves

        waits = any(Path(self._settings.cache / "outbox").glob("*"))
        return waits or any(slot.is_alive for folder in self._running for slot in shown_in(folder))

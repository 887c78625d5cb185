"""How long tests wait: what a quiet machine needs, times how slow this one is now."""

import functools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.launcher import Started

# Start a Python and add half a million numbers: what two quiet cores of a cloud machine take. Only ratios to it count.
_WORK = "sum(i * i for i in range(500_000))"
_QUIET_S = 0.09
_MOST = 20.0  # beyond this nobody waits any more
_FRESH_S = 20.0

_measured: tuple[float, float] | None = None  # when, and how slow


def slowness() -> float:
    """How many times longer than on a quiet machine a small computation takes here; 1 or more."""
    global _measured
    now = time.monotonic()
    if _measured is None or now - _measured[0] > _FRESH_S:
        subprocess.run([sys.executable, "-I", "-S", "-c", _WORK], check=True)
        took_s = time.monotonic() - now
        _measured = (time.monotonic(), min(max(took_s / _QUIET_S, 1.0), _MOST))
    return _measured[1]


def make_subprocesses_patient() -> None:
    """Let every wait for a process last as long as this machine needs, wherever a test names its time."""
    for kind, name in ((subprocess.Popen, "wait"), (subprocess.Popen, "communicate"), (Started, "wait")):
        setattr(kind, name, _scaled(getattr(kind, name)))


def _scaled(wait: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(wait)
    def wait_longer(process: Any, *arguments: Any, **named: Any) -> Any:
        if (named.get("timeout") or 0) >= 1:
            named["timeout"] = patient(named["timeout"])
        return wait(process, *arguments, **named)

    return wait_longer


def patient(seconds: float) -> float:
    """A deadline for this machine, from one for a quiet one."""
    return seconds * slowness()

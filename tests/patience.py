"""How long tests wait: what a quiet machine needs, times how slow this one is now."""

import subprocess
import sys
import time

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


def patient(seconds: float) -> float:
    """A deadline for this machine, from one for a quiet one."""
    return seconds * slowness()

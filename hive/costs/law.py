"""How the time of a task grows with what it reads: a straight line that a few odd jobs do not bend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from hive.costs.history import Past

# Of three jobs, two are within the error that is said.
_WITHIN = 2 / 3
_FEWEST = 3


@dataclass(frozen=True)
class Law:
    """`seconds = base_s + s_per_byte * bytes`, from so many jobs that read up to `largest_bytes`.

    Two of three of these were within `error` of it (0.1 is ±10 %); None where they are too few to say.
    """

    base_s: float
    s_per_byte: float
    jobs: int
    error: float | None
    largest_bytes: int

    def seconds(self, size_bytes: float) -> float:
        """Time of a job that reads so much."""
        return self.base_s + self.s_per_byte * size_bytes


def fit(history: Sequence[Past]) -> Law | None:
    """Fit the line; None where there is no job.

    The slope is the median of those through every two jobs, so that a third of them may be odd. A task does not take
    less time for more bytes, nor less than none for nothing: where the line says so, a simpler one is taken.

    References
    ----------
    Theil (1950), A rank-invariant method of linear and polynomial regression analysis; Sen (1968), JASA 63, 1379-1389.
    """
    if not history:
        return None
    slopes = [
        (one.seconds - other.seconds) / (one.size_bytes - other.size_bytes)
        for one, other in combinations(history, 2)
        if one.size_bytes != other.size_bytes
    ]
    slope = max(0.0, median(slopes)) if slopes else 0.0
    base = median(one.seconds - slope * one.size_bytes for one in history)
    if base < 0:
        base, slope = 0.0, median(one.seconds / one.size_bytes for one in history if one.size_bytes)
    largest = max(one.size_bytes for one in history)
    law = Law(base, slope, len(history), None, largest)
    return replace(law, error=_error(law, history))


def _error(law: Law, history: Sequence[Past]) -> float | None:
    """What two of three jobs are within; two jobs lie on their line whatever they took."""
    if len(history) < _FEWEST:
        return None
    off = sorted(abs(one.seconds / law.seconds(one.size_bytes) - 1) for one in history if law.seconds(one.size_bytes))
    return off[math.ceil(len(off) * _WITHIN) - 1] if off else None

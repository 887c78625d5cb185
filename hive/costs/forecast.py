"""What jobs will cost, from what such jobs have cost, with an error."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from hive.errors import UnreadableRecordError
from hive.store import keys
from hive.wire.job import Specification

if TYPE_CHECKING:
    import redis

# The newest jobs say best how long the next one takes.
_MOST = 200
_MOST_LOOKED_AT = 5_000
_AT_ONCE = 500
_FIELDS = ("state", "specification", "started_ms", "finished_ms", "input_bytes", "host", "plans")


@dataclass(frozen=True)
class Past:
    """A job that has succeeded: the bytes that it read, how long its last attempt ran [s], and on which host."""

    size_bytes: int
    seconds: float
    host: str


def read_history(client: "redis.Redis", task: str, queue: str) -> list[Past]:
    """Read the newest jobs of a task that have succeeded; one that was divided into parts says nothing of its size."""
    found: list[Past] = []
    for kept in _records(client, queue):
        if (past := _past(task, dict(zip(_FIELDS, kept, strict=True)))) is not None:
            found.append(past)
        if len(found) == _MOST:
            break
    return found


def _records(client: "redis.Redis", queue: str) -> Iterator[list[str | None]]:
    for first in range(0, _MOST_LOOKED_AT, _AT_ONCE):
        ids = cast(list[str], client.zrange(keys.finished(queue), first, first + _AT_ONCE - 1, desc=True))
        pipeline = client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(keys.job(job_id), *_FIELDS)
        yield from pipeline.execute()
        if len(ids) < _AT_ONCE:
            return


def _past(task: str, kept: dict[str, str | None]) -> Past | None:
    started, finished, size = kept["started_ms"], kept["finished_ms"], kept["input_bytes"] or 0
    if kept["state"] != "succeeded" or kept["plans"] or not (started and finished and kept["specification"]):
        return None
    try:
        if Specification.from_json(kept["specification"]).task != task:
            return None
    except UnreadableRecordError:
        return None
    return Past(int(size), (float(finished) - float(started)) / 1000, kept["host"] or "")


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


@dataclass(frozen=True)
class Workers:
    """Workers that jobs may go to: how many, their slots together, and what a slot costs [US$/h], or None."""

    count: int
    slots: int
    slot_usd_per_h: float | None


@dataclass(frozen=True)
class Forecast:
    """What some jobs will take: on one slot of this machine and on workers [s], and what they cost there [US$].

    None is what nobody knows. `law` is that of the workers, `own_law` that of this machine. `is_beyond` says that a job
    is larger than any of the history.
    """

    jobs: int
    own_s: float | None
    workers_s: float | None
    run_s: float
    usd: float | None
    law: Law
    own_law: Law | None
    is_beyond: bool


def workers_of(found: Sequence[Mapping[str, Any]], queue: str, count: int | None = None) -> Workers:
    """Those of the workers that serve a queue, or so many of their kind.

    Where none serves it, that is one of one slot and of unknown price.
    """
    serving = [one for one in found if queue in one["capabilities"]]
    slots = sum(one["slots"] for one in serving)
    prices = [one["price_usd_per_h"] for one in serving]
    price = sum(prices) / slots if slots and None not in prices else None
    if count is None:
        return Workers(len(serving), slots, price)
    return Workers(count, round(count * slots / len(serving)) if serving else count, price)


def forecast(history: Sequence[Past], sizes: Sequence[int], workers: Workers, host: str) -> Forecast | None:
    """Predict jobs that read so many bytes each; None where there is no history.

    Jobs of this host and of others are told apart: a laptop says little about a server. Where only one of them has a
    history, it stands for both on the side of the workers, and nothing is said of this machine.
    """
    own_law = fit([one for one in history if one.host == host])
    law = fit([one for one in history if one.host != host]) or own_law
    if law is None:
        return None
    times = [law.seconds(size) for size in sizes]
    return Forecast(
        jobs=len(sizes),
        own_s=sum(own_law.seconds(size) for size in sizes) if own_law else None,
        workers_s=_together(times, workers.slots) if workers.slots else None,
        run_s=sum(times),
        usd=None if workers.slot_usd_per_h is None else sum(times) / 3600 * workers.slot_usd_per_h,
        law=law,
        own_law=own_law,
        is_beyond=max(sizes, default=0) > law.largest_bytes,
    )


def planned(
    client: "redis.Redis", workers: Sequence[Mapping[str, Any]], task: str, queue: str, sizes: Sequence[int], host: str
) -> Forecast | None:
    """Predict jobs on the workers that are there."""
    return forecast(read_history(client, task, queue), sizes, workers_of(workers, queue), host)


def _together(times: Sequence[float], slots: int) -> float:
    """When the last of many jobs ends: each is taken by the slot that is free first, long ones before short ones."""
    free = [0.0] * min(slots, max(len(times), 1))
    for time_s in sorted(times, reverse=True):
        heapq.heapreplace(free, free[0] + time_s)
    return max(free)

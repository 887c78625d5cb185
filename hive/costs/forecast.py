"""Forecasts of time and cost, with an error, from earlier jobs of the same task."""

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

# The newest jobs predict best how long the next one takes.
_MAX_JOBS = 200
_MAX_READ = 5_000
_BATCH = 500
_FIELDS = ("state", "specification", "started_ms", "finished_ms", "input_bytes", "host", "plans")


@dataclass(frozen=True)
class Past:
    """A job that has succeeded: the bytes that it read, how long its last attempt ran [s], and on which host."""

    size_bytes: int
    seconds: float
    host: str


def read_history(client: "redis.Redis", task: str, queue: str) -> list[Past]:
    """Read the newest succeeded jobs of a task, without those that were divided into parts."""
    history: list[Past] = []
    for values in _records(client, queue):
        if (past := _past(task, dict(zip(_FIELDS, values, strict=True)))) is not None:
            history.append(past)
        if len(history) == _MAX_JOBS:
            break
    return history


def _records(client: "redis.Redis", queue: str) -> Iterator[list[str | None]]:
    for first in range(0, _MAX_READ, _BATCH):
        ids = cast(list[str], client.zrange(keys.finished(queue), first, first + _BATCH - 1, desc=True))
        pipeline = client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(keys.job(job_id), *_FIELDS)
        yield from pipeline.execute()
        if len(ids) < _BATCH:
            return


def _past(task: str, record: dict[str, str | None]) -> Past | None:
    started, finished, size = record["started_ms"], record["finished_ms"], record["input_bytes"] or 0
    if record["state"] != "succeeded" or record["plans"] or not (started and finished and record["specification"]):
        return None
    try:
        if Specification.from_json(record["specification"]).task != task:
            return None
    except UnreadableRecordError:
        return None
    return Past(int(size), (float(finished) - float(started)) / 1000, record["host"] or "")


# The error that two of three jobs are within.
_WITHIN = 2 / 3
_MIN_JOBS = 3


@dataclass(frozen=True)
class Law:
    """`seconds = base_s + s_per_byte * bytes`, from so many jobs that read up to `largest_bytes`.

    Two of three of these were within `error` of it (0.1 is ±10 %); None if they are too few.
    """

    base_s: float
    s_per_byte: float
    jobs: int
    error: float | None
    largest_bytes: int

    def seconds(self, size_bytes: float) -> float:
        """Run time of a job that reads so many bytes [s]."""
        return self.base_s + self.s_per_byte * size_bytes


def fit(history: Sequence[Past]) -> Law | None:
    """Fit the line; None if there is no job.

    The slope is the median of those through all pairs of jobs, so that up to 29 % of them may be outliers. Neither
    slope nor intercept is negative: if the fit is, a simpler line replaces it.

    References
    ----------
    Theil (1950), A rank-invariant method of linear and polynomial regression analysis; Sen (1968), JASA 63, 1379-1389.
    """
    if not history:
        return None
    slopes = [
        (first.seconds - second.seconds) / (first.size_bytes - second.size_bytes)
        for first, second in combinations(history, 2)
        if first.size_bytes != second.size_bytes
    ]
    slope = max(0.0, median(slopes)) if slopes else 0.0
    base = median(job.seconds - slope * job.size_bytes for job in history)
    if base < 0:
        base, slope = 0.0, median(job.seconds / job.size_bytes for job in history if job.size_bytes)
    largest = max(job.size_bytes for job in history)
    law = Law(base, slope, len(history), None, largest)
    return replace(law, error=_error(law, history))


def _error(law: Law, history: Sequence[Past]) -> float | None:
    """The relative error that two of three jobs are within; None for two jobs, which always lie on their line."""
    if len(history) < _MIN_JOBS:
        return None
    errors = sorted(
        abs(job.seconds / law.seconds(job.size_bytes) - 1) for job in history if law.seconds(job.size_bytes)
    )
    return errors[math.ceil(len(errors) * _WITHIN) - 1] if errors else None


@dataclass(frozen=True)
class Workers:
    """Workers that jobs may go to: number, total slots, and the price of a slot [US$/h], None if unknown."""

    count: int
    slots: int
    slot_usd_per_h: float | None


@dataclass(frozen=True)
class Forecast:
    """The time of some jobs, on one slot of this machine and on workers [s], and their cost there [US$].

    None is unknown. `law` is that of the workers, `own_law` that of this machine. `is_beyond` means that a job is
    larger than any of the history.
    """

    jobs: int
    own_s: float | None
    workers_s: float | None
    run_s: float
    usd: float | None
    law: Law
    own_law: Law | None
    is_beyond: bool


def workers_of(workers: Sequence[Mapping[str, Any]], queue: str, count: int | None = None) -> Workers:
    """The workers that serve a queue, or so many of their kind.

    If none serves it, workers of one slot and of unknown price stand for them.
    """
    serving = [worker for worker in workers if queue in worker["capabilities"]]
    slots = sum(worker["slots"] for worker in serving)
    prices = [worker["price_usd_per_h"] for worker in serving]
    price = sum(prices) / slots if slots and None not in prices else None
    if count is None:
        return Workers(len(serving), slots, price)
    return Workers(count, round(count * slots / len(serving)) if serving else count, price)


def forecast(history: Sequence[Past], sizes: Sequence[int], workers: Workers, host: str) -> Forecast | None:
    """Predict jobs that read so many bytes each; None if there is no history.

    Jobs of this host and of others are fitted separately: a laptop predicts little about a server. If only this host
    has a history, it stands for the workers too; if only others have, nothing is predicted for this machine.
    """
    own_law = fit([job for job in history if job.host == host])
    law = fit([job for job in history if job.host != host]) or own_law
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
    """Predict jobs on the present workers."""
    return forecast(read_history(client, task, queue), sizes, workers_of(workers, queue), host)


def _together(times: Sequence[float], slots: int) -> float:
    """When the last job ends [s]: the first free slot takes the longest job left."""
    free = [0.0] * min(slots, max(len(times), 1))
    for time_s in sorted(times, reverse=True):
        heapq.heapreplace(free, free[0] + time_s)
    return max(free)

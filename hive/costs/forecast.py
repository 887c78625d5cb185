"""What jobs will take and cost, from the history of their task and the prices of the workers."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hive.costs.history import Past, read_history
from hive.costs.law import Law, fit

if TYPE_CHECKING:
    import redis


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

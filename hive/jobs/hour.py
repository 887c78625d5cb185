"""The last hour, minute by minute: how many jobs ended, and how many waited.

Nothing is written down for it: it is read from the times that Redis keeps anyway, when somebody looks.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from hive.jobs.record import from_milliseconds, rfc3339
from hive.jobs.store import JobStore

if TYPE_CHECKING:
    import redis

MINUTES = 60
_MINUTE_MS = 60_000
# Of more jobs that ended within the hour every n-th is read, and stands for n.
_MOST_READ = 2_000


class Hour:
    """The picture of the last hour, and how it goes on."""

    def __init__(self, client: "redis.Redis", jobs: JobStore) -> None:
        self._redis = client
        self._jobs = jobs

    def read(self, queues: Sequence[str]) -> list[dict[str, Any]]:
        """Give one entry for each of the last 60 minutes, the present one last.

        `waiting` is counted at the end of each minute. A job that ran more than once counts as waiting until its last
        start.
        """
        now_ms = self._jobs.now_ms()
        starts = [(int(now_ms) // _MINUTE_MS - back) * _MINUTE_MS for back in reversed(range(MINUTES))]
        ends = [*starts[1:], now_ms]
        finished, still = self._counts(starts, ends, queues)
        done = self._spans(starts[0], queues)
        return [_entry(starts[number], finished[number], still[number] + done[number]) for number in range(len(starts))]

    def now(self, queues: Sequence[str], waiting: int) -> dict[str, Any]:
        """Give the entry of the present minute."""
        start = int(self._jobs.now_ms()) // _MINUTE_MS * _MINUTE_MS
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zcount(f"hive:finished:{queue}", start, "+inf")
        return _entry(start, sum(pipeline.execute()), waiting)

    def _counts(self, starts: list[int], ends: list[float], queues: Sequence[str]) -> tuple[list[int], list[int]]:
        """How many jobs ended within each minute, and how many of those that wait now waited at its end already."""
        pipeline = self._redis.pipeline(transaction=False)
        for start, end in zip(starts, ends, strict=True):
            for queue in queues:
                pipeline.zcount(f"hive:finished:{queue}", start, f"({end}")
                pipeline.zcount(f"hive:waiting:{queue}", "-inf", end)
        counts, step = pipeline.execute(), 2 * len(queues)
        minutes = [counts[number * step : (number + 1) * step] for number in range(len(starts))]
        return [sum(one[::2]) for one in minutes], [sum(one[1::2]) for one in minutes]

    def _spans(self, since_ms: float, queues: Sequence[str]) -> list[int]:
        """How many of the jobs that run or ended within the hour waited at the end of each minute."""
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zrange(f"hive:finished:{queue}", since_ms, "+inf", byscore=True)
            pipeline.zrange(f"hive:running:{queue}", 0, -1)
        lists = pipeline.execute()
        ended, running = [one for ids in lists[::2] for one in ids], lists[1::2]
        every = max(1, -(-len(ended) // _MOST_READ))
        spans = self._waits(ended[::every], every) + self._waits([one for ids in running for one in ids], 1)
        ends = [since_ms + _MINUTE_MS * number for number in range(1, MINUTES + 1)]
        waiting = [0] * MINUTES
        for begin, end, weight in spans:
            for number in range(bisect_left(ends, begin), bisect_left(ends, end)):
                waiting[number] += weight
        return waiting

    def _waits(self, ids: Sequence[str], weight: int) -> list[tuple[float, float, int]]:
        """From when until when each job waited [ms]."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(f"hive:job:{job_id}", "submitted_ms", "started_ms", "finished_ms")
        kept = cast(list[list[str | None]], pipeline.execute())
        return [
            (float(submitted), float(started or finished or submitted), weight)
            for submitted, started, finished in kept
            if submitted is not None
        ]


def _entry(start_ms: int, finished: int, waiting: int) -> dict[str, Any]:
    return {"at": rfc3339(from_milliseconds(start_ms)), "finished": finished, "waiting": waiting}

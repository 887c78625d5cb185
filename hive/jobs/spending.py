"""What jobs have cost so far, as far as that is known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import redis

_READ_AT_ONCE = 5_000


class Spending:
    """What the jobs that have ended have cost, as far as that is known.

    Each is read once; a look reads some thousand at most, so that the sum is there after a few looks.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._known: dict[str, float] = {}
        self._since_ms: dict[str, float] = {}

    def look(self, queues: Sequence[str]) -> dict[str, Any]:
        """Sum up.

        `usd` is None where nothing is known, `unknown` is the number of jobs whose cost nobody knows, and `is_counted`
        says whether all jobs have been read.
        """
        counted = [self._read(queue) for queue in queues]
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zcard(f"hive:finished:{queue}")
        return {
            "usd": round(sum(self._known.values()), 4) if self._known else None,
            "unknown": max(0, sum(pipeline.execute()) - len(self._known)),
            "is_counted": all(counted),
        }

    def _read(self, queue: str) -> bool:
        """Read what the next jobs of a queue have cost; returns whether these were all."""
        since_ms = self._since_ms.get(queue, 0.0)
        now_ms, ended = self._ended(queue, since_ms)
        pipeline = self._redis.pipeline(transaction=False)
        for job_id, _ in ended:
            pipeline.hget(f"hive:job:{job_id}", "cost_usd")
        for (job_id, _), cost in zip(ended, pipeline.execute(), strict=True):
            if cost not in (None, "null"):
                self._known[job_id] = float(cost)
        is_counted = len(ended) < _READ_AT_ONCE
        # Where all of a page ended in one millisecond, the next page begins behind it, or it would never end.
        self._since_ms[queue] = now_ms if is_counted else max(ended[-1][1], since_ms + 1)
        return is_counted

    def _ended(self, queue: str, since_ms: float) -> tuple[float, list[tuple[str, float]]]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(
            f"hive:finished:{queue}", since_ms, "+inf", byscore=True, offset=0, num=_READ_AT_ONCE, withscores=True
        )
        (seconds, micros), ended = pipeline.execute()
        return seconds * 1000 + micros // 1000, cast(list[tuple[str, float]], ended)

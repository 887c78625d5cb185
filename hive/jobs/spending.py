"""What jobs have cost so far, as far as that is known."""

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
        self._since_ms = 0.0
        self._is_counted = False

    def look(self) -> dict[str, Any]:
        """Sum up.

        `usd` is None where nothing is known, `unknown` is the number of jobs whose cost nobody knows, and `is_counted`
        says whether all jobs have been read.
        """
        now_ms, ended = self._ended()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcard("hive:finished")
        for job_id, _ in ended:
            pipeline.hget(f"hive:job:{job_id}", "cost_usd")
        total, *costs = pipeline.execute()
        for (job_id, _), cost in zip(ended, costs, strict=True):
            if cost not in (None, "null"):
                self._known[job_id] = float(cost)
        self._is_counted = len(ended) < _READ_AT_ONCE
        # Where all of a page ended in one millisecond, the next page begins behind it, or it would never end.
        self._since_ms = now_ms if self._is_counted else max(ended[-1][1], self._since_ms + 1)
        return {
            "usd": round(sum(self._known.values()), 4) if self._known else None,
            "unknown": max(0, total - len(self._known)),
            "is_counted": self._is_counted,
        }

    def _ended(self) -> tuple[float, list[tuple[str, float]]]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(
            "hive:finished", self._since_ms, "+inf", byscore=True, offset=0, num=_READ_AT_ONCE, withscores=True
        )
        (seconds, micros), ended = pipeline.execute()
        return seconds * 1000 + micros // 1000, cast(list[tuple[str, float]], ended)

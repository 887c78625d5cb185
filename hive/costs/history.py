"""The history of a task: how long its jobs ran, and how much they read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

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
        ids = cast(list[str], client.zrange(f"hive:finished:{queue}", first, first + _AT_ONCE - 1, desc=True))
        pipeline = client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(f"hive:job:{job_id}", *_FIELDS)
        yield from pipeline.execute()
        if len(ids) < _AT_ONCE:
            return


def _past(task: str, kept: dict[str, str | None]) -> Past | None:
    started, finished, size = kept["started_ms"], kept["finished_ms"], kept["input_bytes"] or 0
    if kept["state"] != "succeeded" or kept["plans"] or not (started and finished and kept["specification"]):
        return None
    if json.loads(kept["specification"])["task"] != task:
        return None
    return Past(int(size), (float(finished) - float(started)) / 1000, kept["host"] or "")

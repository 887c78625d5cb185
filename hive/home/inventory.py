"""What the Redis of a home holds, in numbers that must be the same before and after a move.

`python -m hive.home.inventory` is what `hive home` asks on the other machine, in its HIVE_HOME:

    can          whether a redis-server is there that is new enough
    count        the numbers, as JSON
    count SECONDS    the same, and nobody may write for so long
"""

import json
import sys
from contextlib import closing
from typing import Any, cast

import redis

from hive.celery_adapter import queue_lists
from hive.client import gateway
from hive.errors import HiveError
from hive.home import redis_server
from hive.settings import Settings, load_settings
from hive.store import keys

_BLOCK = 1000


def count(settings: Settings, pause_s: float = 0.0) -> dict[str, int]:
    """Jobs, their records and logs, and messages that wait; with a pause nobody changes them for so long."""
    with closing(redis_server.admin(settings)) as client:
        if pause_s:
            client.client_pause(int(pause_s * 1000), all=False)
        queues = cast(set[bytes], client.smembers(keys.QUEUES))
        lengths: list[int] = [client.llen(name) for queue in queues for name in queue_lists(queue.decode())]
        return {
            "jobs": client.zcard(keys.JOBS),
            "records": _lasting(client, keys.job("*")),
            "messages": sum(lengths),
        }


def resume(settings: Settings) -> None:
    """Let everybody write again."""
    with closing(redis_server.admin(settings)) as client:
        client.client_unpause()


def _lasting(client: redis.Redis, pattern: str) -> int:
    """How many keys there are of those that do not expire."""
    total = cursor = 0
    while True:
        cursor, names = cast(tuple[int, list[bytes]], client.scan(cursor, pattern, _BLOCK))
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.pttl(name)
        total += pipeline.execute().count(-1)
        if cursor == 0:
            return total


def _answer(words: list[str]) -> dict[str, Any]:
    if words == ["can"]:
        return {"redis": redis_server.find_redis_server()}
    settings = load_settings()
    numbers = count(settings, float(words[1]) if len(words) > 1 else 0.0)
    return numbers | {"gateway": int(gateway.state(settings) == "up")}


def main() -> int:
    """Answer in JSON, or say in one sentence why not."""
    try:
        sys.stdout.write(json.dumps(_answer(sys.argv[1:])) + "\n")
    except (HiveError, redis.RedisError) as error:
        sys.stderr.write(f"install: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

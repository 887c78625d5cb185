"""The sweeper: finds jobs that nobody works on and no queue holds, and sends them again.

Every worker has one; a lock lets one at a time sweep. What a sweep costs does not grow with the queue: it looks at the
oldest waiting jobs and at the end of the queue where these must be.
"""

import json
import logging
import time
from collections.abc import Iterable
from typing import Any, cast

from celery import Celery

from hive.broker import connect
from hive.jobs import JobStore
from hive.jobs.scripts import EXPIRE
from hive.messages import queue_lists, send
from hive.messages.transport import overdue, put_back_overdue
from hive.settings import Settings

logger = logging.getLogger(__name__)
# How many of the oldest waiting jobs of a queue are looked for in each sweep, and how many of its oldest messages
# are searched for them. Messages that were put back lie in front of the others, so the search goes further.
_OLDEST = 200
_MESSAGES = 3 * _OLDEST
_SUSPECTS = "hive:suspects"
_DAY_MS = 86_400_000
_FORGET_EVERY_S = 60.0


class Sweeper:
    """What a worker does for all jobs of its Hive."""

    def __init__(self, settings: Settings, application: Celery, worker: str) -> None:
        self._settings = settings
        self._application = application
        self._worker = worker
        self._redis = connect(settings)
        self._expire = self._redis.register_script(EXPIRE)
        self._store = JobStore(self._redis)
        self._pause_ms = int(settings.lease_s / 5 * 1000)
        self._next_forgetting = 0.0

    def sweep(self) -> None:
        """Take back what died, send again what was lost, forget what is old; unless another worker just did."""
        if not self._redis.set("hive:sweeper", self._worker, nx=True, px=int(self._pause_ms * 0.9)):
            return
        for job_id in cast(list[str], self._expire(keys=[], args=[int(self._settings.lease_s * 1000), _OLDEST])):
            logger.warning("job %s: its worker vanished", job_id)
        if overdue(self._redis, self._settings.lease_s):
            put_back_overdue(self._application)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.get("hive:away_until")
        pipeline.smembers("hive:queues")
        (seconds, micros), away_until, queues = pipeline.execute()
        now_ms = seconds * 1000 + micros / 1000
        if now_ms >= float(away_until or 0):
            self._send_lost_of(queues, now_ms)
        if time.monotonic() >= self._next_forgetting:
            has_more = self._forget_old(now_ms)
            self._next_forgetting = time.monotonic() + (0 if has_more else _FORGET_EVERY_S)

    def _send_lost_of(self, queues: Iterable[str], now_ms: float) -> None:
        """Look at every queue at once; mostly nothing waits, and that costs one round trip."""
        old = int(now_ms - self._pause_ms)
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zrange(f"hive:waiting:{queue}", 0, old, byscore=True, offset=0, num=_OLDEST)
            pipeline.smembers(f"{_SUSPECTS}:{queue}")
        answers = pipeline.execute()
        for queue, waiting, known in zip(queues, answers[::2], answers[1::2], strict=True):
            if waiting or known:
                self._send_lost(queue, waiting, known)

    def _send_lost(self, queue: str, waiting: list[str], known: set[str]) -> None:
        """Send again the jobs that wait by their record, but have no message; two sweeps in turn must find them so."""
        lost = set(waiting) - self._jobs_with_message(queue) if waiting else set()
        suspects = f"{_SUSPECTS}:{queue}"
        for job_id in lost & known:
            logger.warning("job %s has no message; it is sent again", job_id)
            send(self._settings, self._application, job_id, self._store.get(job_id).specification)
        pipeline = self._redis.pipeline()
        pipeline.delete(suspects)
        if lost - known:
            pipeline.sadd(suspects, *(lost - known))
        pipeline.execute()

    def _jobs_with_message(self, queue: str) -> set[str]:
        """Jobs among the oldest messages of a queue, and among those that a worker holds."""
        pipeline = self._redis.pipeline(transaction=True)
        for name in queue_lists(queue):
            pipeline.lrange(name, -_MESSAGES, -1)
        pipeline.hvals("unacked")
        *lists, held = pipeline.execute()
        return _ids(message for one in lists for message in map(json.loads, one)) | _ids(
            json.loads(delivery)[0] for delivery in held
        )

    def _forget_old(self, now_ms: float) -> bool:
        """Forget jobs that ended long ago; returns whether there may be more of them."""
        oldest = now_ms - self._settings.keep_days * _DAY_MS
        old = cast(list[str], self._redis.zrange("hive:finished", 0, int(oldest), byscore=True, offset=0, num=_OLDEST))
        for job_id in old:
            self._store.forget(job_id)
        return len(old) == _OLDEST


def _ids(messages: Iterable[dict[str, Any]]) -> set[str]:
    return {str(message["headers"].get("id")) for message in messages}

"""The sweeper: finds jobs that nobody works on and no queue holds, and sends them again.

Every worker has one, for the queues that it serves. One worker at a time sweeps a queue, for as long as it comes back;
the others look from time to time whether it still does, the less often the more of them there are. What a sweep costs
does not grow with the queue: it looks at the oldest waiting jobs and at the end of the queue where these must be.
"""

import json
import logging
import random
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from hive.celery_adapter import Application, queue_lists, send
from hive.celery_adapter.messages import requeue_overdue
from hive.celery_adapter.transport import overdue
from hive.settings import Settings
from hive.store import JobStore, keys
from hive.store.connection import connect, held_keys
from hive.store.registry import GONE_AT_LAST_S
from hive.store.scripts import load_script
from hive.wire.job import State

logger = logging.getLogger(__name__)
# How many of the oldest waiting jobs of a queue are looked for in each sweep, and how many of its oldest messages
# are searched for them. Messages that were put back lie in front of the others, so the search goes further.
_OLDEST = 200
_MESSAGES = 3 * _OLDEST
_DAY_MS = 86_400_000
_FORGET_EVERY_S = 60.0
# Who sweeps has so many pauses to come back before another worker takes over.
_PAUSES_HELD = 2
# Up to so many workers, each looks after every pause; more of them look so much less often, but not less than that.
_LOOK_ALWAYS, _LOOK_SELDOM = 3, 30


class Sweeper:
    """What a worker does for all jobs of its queues."""

    def __init__(self, settings: Settings, application: Application, worker: str, queues: Sequence[str]) -> None:
        self._settings = settings
        self._application = application
        self._sweeper = f"{worker} {secrets.token_hex(4)}"
        self._queues = queues
        self._lists = [name for queue in queues for name in queue_lists(queue)]
        self.waiting = 0  # messages in its queues, as of its last look
        self._redis = connect(settings)
        self._held = held_keys(settings)
        self._claim = self._redis.register_script(load_script("claim"))
        self._expire = self._redis.register_script(load_script("expire"))
        self._store = JobStore(self._redis)
        self._pause_ms = int(settings.lease_s / 5 * 1000)
        self._next_look = self._next_forgetting = 0.0

    def sweep(self) -> None:
        """Sweep every queue that is this worker's to sweep."""
        if time.monotonic() >= self._next_look and (own := self._own()):
            self._sweep(own)

    def _own(self) -> list[str]:
        """The queues that this worker sweeps; where it has none, its next look is later the more workers there are."""
        sweepers = [keys.sweeper(queue) for queue in self._queues]
        lease_ms, gone_ms = int(self._settings.lease_s * 1000), int(GONE_AT_LAST_S * 1000)
        arguments: list[str | int] = [self._sweeper, _PAUSES_HELD * self._pause_ms, lease_ms, gone_ms, *self._lists]
        self.waiting = 0  # nobody is deaf to a Redis that is away
        workers, self.waiting, *are_mine = cast(list[int], self._claim(keys=sweepers, args=arguments))
        own = [queue for queue, is_mine in zip(self._queues, are_mine, strict=True) if is_mine]
        if not own and workers > _LOOK_ALWAYS:
            in_turn = random.uniform(0.75, 1.25)  # noqa: S311  no secret
            pauses = in_turn * min(workers, _LOOK_SELDOM) / _LOOK_ALWAYS
            self._next_look = time.monotonic() + pauses * self._pause_ms / 1000
        return own

    def _sweep(self, queues: Sequence[str]) -> None:
        """Take back what died, send again what was lost, forget what is old."""
        expired = {queue: self._expired(queue) for queue in queues}
        if overdue(self._redis, self._held["unacked_index_key"], self._settings.lease_s):
            requeue_overdue(self._application)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.get(keys.AWAY_UNTIL)
        (seconds, micros), away_until = pipeline.execute()
        now_ms = seconds * 1000 + micros / 1000
        if now_ms >= float(away_until or 0):
            for queue, jobs in expired.items():
                self._send_expired(queue, jobs)
            self._send_lost_of(queues, now_ms)
        if time.monotonic() >= self._next_forgetting:
            with_more = [queue for queue in queues if self._forget_old(queue, now_ms)]
            self._next_forgetting = time.monotonic() + (0 if with_more else _FORGET_EVERY_S)

    def _expired(self, queue: str) -> list[str]:
        """Take back the jobs of a queue whose lease has ended."""
        arguments = [int(self._settings.lease_s * 1000), _OLDEST]
        expired = cast(list[str], self._expire(keys=[keys.leases(queue)], args=arguments))
        for job_id in expired:
            logger.warning("job %s: its worker vanished", job_id)
        return expired

    def _send_expired(self, queue: str, expired: list[str]) -> None:
        """Send jobs again whose message a worker of another identity held, which nobody else can put back."""
        if expired:
            gone = set(expired) - self._jobs_with_message(queue)
            for job in self._store.get_many(list(gone)):
                if job is not None and job.state is State.QUEUED:
                    send(self._settings, self._application, job.id, job.specification)

    def _send_lost_of(self, queues: Iterable[str], now_ms: float) -> None:
        """Look at every queue at once; mostly nothing waits, and that costs one round trip."""
        old = int(now_ms - self._pause_ms)
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zrange(keys.waiting(queue), 0, old, byscore=True, offset=0, num=_OLDEST)
            pipeline.smembers(keys.suspects(queue))
        answers = pipeline.execute()
        for queue, waiting, suspects in zip(queues, answers[::2], answers[1::2], strict=True):
            if waiting or suspects:
                self._send_lost(queue, waiting, suspects)

    def _send_lost(self, queue: str, waiting: list[str], suspects: set[str]) -> None:
        """Send again the jobs that wait by their record, but have no message; two sweeps in turn must find them so."""
        lost = set(waiting) - self._jobs_with_message(queue) if waiting else set()
        for job in self._store.get_many(list(lost & suspects)):
            if job is not None:
                logger.warning("job %s has no message; it is sent again", job.id)
                send(self._settings, self._application, job.id, job.specification)
        pipeline = self._redis.pipeline()
        pipeline.delete(keys.suspects(queue))
        if lost - suspects:
            pipeline.sadd(keys.suspects(queue), *(lost - suspects))
        pipeline.execute()

    def _jobs_with_message(self, queue: str) -> set[str]:
        """Jobs among the oldest messages of a queue, and among those that a worker holds."""
        pipeline = self._redis.pipeline(transaction=True)
        for name in queue_lists(queue):
            pipeline.lrange(name, -_MESSAGES, -1)
        pipeline.hvals(self._held["unacked_key"])
        *lists, held = pipeline.execute()
        return _ids(message for texts in lists for message in map(json.loads, texts)) | _ids(
            json.loads(delivery)[0] for delivery in held
        )

    def _forget_old(self, queue: str, now_ms: float) -> bool:
        """Forget jobs that ended long ago; returns whether there may be more of them."""
        oldest = int(now_ms - self._settings.keep_days * _DAY_MS)
        finished = keys.finished(queue)
        old = cast(list[str], self._redis.zrange(finished, 0, oldest, byscore=True, offset=0, num=_OLDEST))
        for job_id in old:
            self._store.forget(job_id)
        return len(old) == _OLDEST


def _ids(messages: Iterable[dict[str, Any]]) -> set[str]:
    return {str(message["headers"].get("id")) for message in messages}

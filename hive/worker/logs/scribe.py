"""The scribe: a thread of each worker that carries what its attempts log and print to Redis, a few times a second.

It works in the worker's main process, so that lines come out of a task that is busy in C, and of one that has died.
"""

import contextlib
import threading
import time
from pathlib import Path

import redis

from hive.store import LogStore
from hive.worker.logs.drain import Drain
from hive.worker.logs.spool import Spool, spools_in
from hive.worker.slots import Slots

EVERY_S = 0.2
_PAUSE_S = 2.0


class Scribe:
    """Carries the logs of one worker's attempts."""

    def __init__(self, folder: Path, slots: Slots, logs: LogStore, burst: int) -> None:
        self._folder, self._slots, self._logs, self._burst = folder, slots, logs, burst
        self._drains: dict[str, Drain] = {}
        self._lock = threading.Lock()
        self._next = 0.0

    def look(self) -> None:
        """Carry what is new; of attempts that are over, what is left."""
        if time.monotonic() >= self._next:
            self.look_now()

    def look_now(self) -> bool:
        """Carry what is new, also where Redis was away a moment ago. Where it still is, everything goes on waiting.

        Returns whether Redis is there.
        """
        with self._lock:
            try:
                for name in self._names():
                    self._carry(name, is_over=not self._slots.is_running(name))
            except redis.RedisError as error:
                self._next = time.monotonic() + _PAUSE_S
                for name, drain in self._drains.items():
                    if self._slots.is_running(name):
                        drain.mark()
                return not isinstance(error, (redis.ConnectionError, redis.TimeoutError))
            return True

    def finish(self, name: str) -> None:
        """Carry the last words of an attempt that is over.

        Raises
        ------
        redis.RedisError
            Redis is away; they go on waiting, and come with a later look.
        """
        with self._lock:
            self._carry(name, is_over=True)

    def hurry(self, name: str) -> None:
        """Carry what an attempt has written so far, where Redis is there."""
        with self._lock, contextlib.suppress(redis.RedisError):
            self._carry(name, is_over=False)

    def _names(self) -> list[str]:
        names = spools_in(self._folder)
        self._drains = {name: self._drains[name] for name in names if name in self._drains}
        return names

    def _carry(self, name: str, *, is_over: bool) -> None:
        spool = Spool(self._folder, name)
        drain = self._drains.get(name) or self._drains.setdefault(name, self._drain(spool, name))
        with contextlib.suppress(FileNotFoundError):  # it ended just now, and has sent everything itself
            drain.run(is_last=is_over)
        if is_over:
            spool.remove()
            del self._drains[name]

    def _drain(self, spool: Spool, name: str) -> Drain:
        job, _, attempt = name.rpartition(".")
        return Drain(spool, self._logs, job, int(attempt), self._burst)

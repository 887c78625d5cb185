"""Waiting for a job: its changes, its log lines, until it has ended."""

import time
from collections.abc import Callable, Iterator

import redis

from hive.client.observer import Observer
from hive.client.session import Session
from hive.errors import NotFoundError
from hive.store import LogEntry
from hive.store.connection import reachable
from hive.store.logs import BEGINNING
from hive.wire.job import JobRecord, State

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
# A refused password is a ConnectionError to redis-py as well, but no outage: waiting does not help.
REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
AWAY = (redis.ConnectionError, redis.TimeoutError)


def watch(session: Session, job_id: str, watcher: Observer | None = None, timeout_s: float | None = None) -> JobRecord:
    """Wait until a job is finished or the time [s] is over; returns its newest record.

    A broker that is away is waited for. A job of this machine that it has lost is sent again.

    Raises
    ------
    NotFoundError
        There is no such job.
    UnreachableError
        The broker refuses access, or it was away for the whole time.
    """
    try:
        return session.note_if_over(_Watch(session, job_id, watcher or Observer(), timeout_s).run())
    except redis.RedisError:
        with reachable(session.settings):
            raise


class _Watch:
    """One wait for one job."""

    def __init__(self, session: Session, job_id: str, watcher: Observer, timeout_s: float | None) -> None:
        self._session = session
        self._job_id = job_id
        self._watcher = watcher
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._last: JobRecord | None = None
        self._warned = False

    def run(self) -> JobRecord:
        """Follow the job through all outages."""
        while True:
            try:
                if self._follow():
                    break
            except REFUSED:
                raise
            except AWAY:
                if not outlast(self._session, self._watcher, self._left_s):
                    if self._last is None:
                        raise
                    break
        assert self._last is not None  # noqa: S101  a record that was followed to its end was seen
        return self._last

    def _follow(self) -> bool:
        """Follow the record until the job or the time is over; False where the record had to be brought back."""
        try:
            for job in self._session.jobs.watch(self._job_id, self._left_s()):
                self._tell(job)
        except NotFoundError:
            if not self._session.send_again(self._job_id):
                raise
            return False
        return True

    def _tell(self, job: JobRecord) -> None:
        self._last = job
        self._watcher.changed(job)
        queue = job.specification.queue
        if job.state is State.QUEUED and not self._warned and not self._session.registry.serving(queue):
            self._watcher.unserved(queue)
            self._warned = True

    def _left_s(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def outlast(session: Session, watcher: Observer, left_s: Callable[[], float | None] = lambda: None) -> bool:
    """Wait until a broker that is away answers; False where the time [s] that is left is over before."""
    pause = _FIRST_PAUSE_S
    time.sleep(pause)
    if _answers(session):
        return True  # only the connection had broken
    watcher.away()
    while (left := left_s()) is None or left > 0:
        time.sleep(pause if left is None else min(pause, left))
        if _answers(session):
            watcher.back()
            return True
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return False


def _answers(session: Session) -> bool:
    try:
        return bool(session.broker.ping())
    except REFUSED:
        raise
    except AWAY:
        return False


def follow(session: Session, job_id: str, watcher: Observer, attempt: int | None = None) -> Iterator[LogEntry]:
    """Yield every line of a job's log, past and new, until the job has ended.

    A broker that is away is waited for; each line is given once.

    Raises
    ------
    NotFoundError
        There is no such job.
    UnreachableError
        The broker refuses access.
    """
    after, is_over = BEGINNING, False
    while not is_over:
        try:
            for entry in session.logs.follow(job_id, after):
                after = entry.id
                if attempt in (None, entry.attempt):
                    yield entry
            is_over = True
        except REFUSED:
            with reachable(session.settings):
                raise
        except AWAY:
            with reachable(session.settings):
                outlast(session, watcher)

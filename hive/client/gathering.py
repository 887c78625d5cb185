"""Waiting for many jobs at once: two commands a second for all of them, and their files brought back as they end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from hive.broker import reachable
from hive.client.downloads import Downloads
from hive.client.mapping import Mapped
from hive.client.observer import Counts, MapObserver, Observer
from hive.client.restore import is_over, send_missing
from hive.client.watching import AWAY, REFUSED, outlast
from hive.errors import HiveError, LedgerError, UnreachableError
from hive.jobs import Job, State

if TYPE_CHECKING:
    from hive.client.session import Session

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
# Every job is asked for its state this often; a job that Redis has lost is seen only so.
_LOOK_AT_ALL_S = 30.0
# What ended so long before the last look is looked at again: entries of one moment need not be seen at once.
_OVERLAP_MS = 1000.0
_FETCHES = 4


@dataclass(frozen=True)
class Outcome:
    """How one job of a map ended: its record, where its files are now, and what went wrong, if anything did.

    `job` is None where nobody has its record any more.
    """

    mapped: Mapped
    job: Job | None
    files: Mapping[str, Path]
    error: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The job's fields, its name, where its files are here, and the error, also one of bringing them back."""
        record = self.job.to_json() if self.job is not None else {"id": self.mapped.id, "state": None}
        files = {name: str(path) for name, path in self.files.items()}
        return record | {"name": self.mapped.name, "files": files, "error": self.error}


def gather(
    session: "Session",
    mapped: Sequence[Mapped],
    watcher: MapObserver | None = None,
    *,
    force: bool = False,
    timeout_s: float | None = None,
) -> Iterator[Outcome]:
    """Give each job's outcome as it ends, until all have ended or the time [s] is over.

    A broker that is away is waited for; jobs of this machine that it has lost are sent again. Whoever stops in between
    leaves the jobs alone.

    Raises
    ------
    UnreachableError
        The broker refuses access.
    """
    try:
        yield from _Gathering(session, mapped, watcher or MapObserver(), force, timeout_s).run()
    except redis.RedisError:
        with reachable(session.settings):
            raise


class _Gathering:
    """One wait for many jobs."""

    def __init__(
        self, session: "Session", mapped: Sequence[Mapped], watcher: MapObserver, force: bool, timeout_s: float | None
    ) -> None:
        self._session = session
        self._watcher = watcher
        self._force = force
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._open = {one.id: one for one in mapped}
        self._queues = sorted({one.queue for one in mapped})
        self._total = len(self._open)
        self._done = self._failed = self._running = 0
        self._since_ms = 0.0
        self._look_at_all = 0.0
        self._warned = False

    def run(self) -> Iterator[Outcome]:
        """Look, bring back, tell, wait; again until nothing is left."""
        _ = self._session.blobs  # made here and not in several threads at once
        fetching: set[Future[Outcome]] = set()
        pause_s = _FIRST_PAUSE_S
        pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="hive-fetch")
        try:
            while self._open or fetching:
                again = time.monotonic() + pause_s
                for one, job in self._ended():
                    fetching.add(pool.submit(self._bring, one, job))
                ready, fetching = wait(fetching, timeout=pause_s)
                yield from self._tell([future.result() for future in ready])
                if self._left_s() == 0:
                    return
                if self._open:
                    time.sleep(max(0.0, min(again - time.monotonic(), self._left_s() or pause_s)))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            pool.shutdown(cancel_futures=True)

    def _left_s(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _ended(self) -> list[tuple[Mapped, Job | None]]:
        """The jobs that have ended since the last look, through everything that may happen to the broker."""
        while self._open:
            try:
                return self._look()
            except REFUSED:
                raise
            except AWAY:
                self._look_at_all = 0.0
                if not outlast(self._session, self._watcher, self._left_s):
                    return []
        return []

    def _look(self) -> list[tuple[Mapped, Job | None]]:
        """Ask Redis what has ended and what runs; every now and then, ask for every job."""
        if time.monotonic() >= self._look_at_all:
            ended = self._look_at_each()
            self._look_at_all = time.monotonic() + _LOOK_AT_ALL_S
        else:
            times, running = self._session.jobs.changes(self._since_ms - _OVERLAP_MS, self._queues)
            self._since_ms = max([self._since_ms, *times.values()])
            ended = [job_id for job_id in times if job_id in self._open]
            self._running = len(running & self._open.keys())
        records = self._session.jobs.get_many(ended)
        if not self._warned and not self._running and len(ended) < len(self._open):
            self._warn()
        return [(self._open.pop(job_id), job) for job_id, job in zip(ended, records, strict=True)]

    def _look_at_each(self) -> list[str]:
        """The jobs that have ended, by their records. Those that Redis has lost are sent again, if that can be."""
        jobs = self._session.jobs
        self._since_ms = jobs.now_ms()
        ids = list(self._open)
        found = dict(zip(ids, jobs.states(ids), strict=True))
        if None in found.values():
            with suppress(LedgerError, UnreachableError):  # the next question finds out that the broker is away
                send_missing(self._session)
            found = dict(zip(ids, jobs.states(ids), strict=True))
        self._running = sum(state is State.RUNNING for state in found.values())
        return [job_id for job_id, state in found.items() if state is None or state.is_final]

    def _warn(self) -> None:
        for queue in self._queues:
            if not self._session.registry.serving(queue):
                self._watcher.unserved(queue)
        self._warned = True

    def _bring(self, one: Mapped, job: Job | None) -> Outcome:
        """Bring a job's files to their places; whatever goes wrong is this job's outcome and stops no other."""
        if job is None:
            words = f"The job {one.id[:8]} is not known any more. Give the same command again."
            return Outcome(one, None, {}, {"kind": "not-found", "message": words})
        if job.state is not State.SUCCEEDED:
            return Outcome(one, job, {}, job.error or {"kind": str(job.state), "message": f"It is {job.state}."})
        places = {name: path for name, path in one.destinations.items() if name in job.outputs}
        try:
            Downloads(self._session.blobs, Observer(), force=self._force).bring(job, places)
        except HiveError as error:
            return Outcome(one, job, {}, {"kind": error.kind, "message": str(error)})
        return Outcome(one, job, places)

    def _tell(self, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
        """Note what has ended in one step, tell of it, and give it."""
        over = [one for one in outcomes if one.job is not None and (one.error is None or _is_over(one.job))]
        with suppress(LedgerError):  # a ledger that cannot be written is no reason to stop here
            self._session.ledger.finish_many([one.mapped.id for one in over])
        for one in outcomes:
            self._done += one.error is None
            self._failed += one.error is not None
            self._watcher.ended(one.mapped.name, one.error["message"] if one.error else None)
        queued = len(self._open) - self._running
        self._watcher.counted(Counts(self._total, self._done, self._failed, self._running, max(0, queued)))
        yield from outcomes


def _is_over(job: Job) -> bool:
    return is_over(job.state, job.specification)

"""One job for each of many files: send what is missing, gather what has ended.

A batch at a time is staged, noted in the ledger, and sent, so that the first jobs run while later files still travel.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from hive.client.ledger import Entry, is_over
from hive.client.observer import Counts, MapObserver, Observer
from hive.client.plan import Item
from hive.client.session import Session
from hive.client.transfer import Downloads
from hive.client.wait import AWAY, REFUSED, outlast
from hive.errors import HiveError, LedgerError, UnreachableError
from hive.staging import Reference
from hive.store import new_id
from hive.store.connection import reachable
from hive.task.values import Json
from hive.versions import code_version
from hive.wire.job import JobRecord, Specification, State

# A batch has at most so many bytes of files, so that large ones do not keep the workers waiting.
_BATCH_BYTES = 1 << 30
_BATCH_JOBS = 1_000
_ENDED_BADLY = (State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Mapped:
    """One job of a map: the name of its input for people, its id, its queue, and where its output files belong."""

    name: str
    id: str
    queue: str
    destinations: Mapping[str, Path]


def send_items(
    session: Session, items: Sequence[Item], watcher: MapObserver | None = None, *, again: bool = False
) -> list[Mapped]:
    """Send the jobs of a map that an earlier run has not sent; returns all of them, in the order of the items.

    Parameters
    ----------
    session : the Hive to send to
    items : the jobs, already checked
    watcher : told how far the sending is
    again : send everything anew, whatever was done before

    Raises
    ------
    UnreachableError
        Broker or store do not answer. The text says how many jobs are sent; the same call again sends the rest.
    StagingError
        A file changed or vanished on its way; as above.
    LedgerError
        The list of what was submitted from here cannot be written; as above.
    """
    session.check()
    return _Sending(session, items, watcher or MapObserver(), again).run()


@dataclass(frozen=True)
class _Ready:
    """A batch whose files are in the store: all its jobs, those to be sent, and those that had failed."""

    mapped: list[Mapped]
    missing: list[tuple[str, Specification]]
    failed: list[str]


@dataclass
class _Sending:
    """One pass over the items of a map."""

    session: Session
    items: Sequence[Item]
    watcher: MapObserver
    again: bool
    mapped: list[Mapped] = field(default_factory=list)
    counts: Counter[State | None] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    last: tuple[Specification | None, str] = (None, "")

    def run(self) -> list[Mapped]:
        _ = self.session.sender  # made here and not in two threads at once
        try:
            with self.session.ledger.held(), ThreadPoolExecutor(1, thread_name_prefix="hive-send") as other:
                self._send_all(other)
        except HiveError as error:
            raise type(error)(f"{error}{self._so_far()}") from error
        done, waiting = self.counts[State.SUCCEEDED], self.counts[State.QUEUED] + self.counts[State.RUNNING]
        self.watcher.resumed(done, waiting, sum(self.counts[state] for state in _ENDED_BADLY), len(self.items))
        return self.mapped

    def _send_all(self, other: Executor) -> None:
        """Send batch after batch, each in another thread: Ctrl-C then never cuts one.

        One after the other all the same: two threads that both make JSON take a fifth longer than one.
        """
        for batch in _batches(self.items):
            sending = other.submit(self._send, self._prepare(batch))
            try:
                wait([sending])
            finally:
                self.mapped += sending.result()
                self.watcher.sent(len(self.mapped), len(self.items))

    def _so_far(self) -> str:
        if not self.mapped:
            return ""
        return (
            f" At least {len(self.mapped):,} of {len(self.items):,} jobs are sent. "
            f"Give the same command again{without_again(self.again)}: it sends the rest and waits for all."
        )

    def _prepare(self, batch: Sequence[Item]) -> _Ready:
        """Stage a batch and note it. The ledger comes first: a second try of what breaks off then uses the same ids."""
        ledger, broker = self.session.ledger, self.session.broker_name
        specifications = _specify(self.session, batch, self.watcher)
        requests = self._digests(batch, specifications)
        earlier = {} if self.again else ledger.requested(requests, broker)
        states = self._states(list(earlier.values()))
        entries = [
            Entry(earlier.get(request) or new_id(), specification, item.request.destinations, request)
            for item, specification, request in zip(batch, specifications, requests, strict=True)
        ]
        missing = [entry for entry in entries if states.get(entry.id) is None]
        failed = [entry for entry in entries if states.get(entry.id) in _ENDED_BADLY]
        ledger.note_many([*missing, *failed], broker)
        self.counts.update(states.get(entry.id) for entry in entries)
        mapped = [
            Mapped(item.name, entry.id, entry.specification.queue, entry.destinations)
            for item, entry in zip(batch, entries, strict=True)
        ]
        return _Ready(mapped, [(entry.id, entry.specification) for entry in missing], [entry.id for entry in failed])

    def _send(self, ready: _Ready) -> list[Mapped]:
        self.session.sender.send_many(ready.missing)
        self._retry(ready.failed)
        return ready.mapped

    def _states(self, job_ids: Sequence[str]) -> dict[str, State | None]:
        with reachable(self.session.settings):
            return dict(zip(job_ids, self.session.jobs.states(job_ids), strict=True))

    def _retry(self, job_ids: Sequence[str]) -> None:
        """Give jobs that had failed a new series of attempts, on the queue that they were first sent to."""
        if job_ids:
            with reachable(self.session.settings):
                again = self.session.jobs.get_many(self.session.jobs.retry_many(job_ids))
            self.session.sender.send_messages([(job.id, job.specification) for job in again if job is not None])

    def _digests(self, batch: Sequence[Item], specifications: Sequence[Specification]) -> list[str]:
        """Digests that identify jobs across runs; equal jobs of one map are numbered."""
        digests: list[str] = []
        for item, specification in zip(batch, specifications, strict=True):
            if specification is not self.last[0]:  # a request that is repeated is the same object
                self.last = (specification, request_digest(specification, item.request.destinations))
            digest = self.last[1]
            self.seen[digest] += 1
            digests.append(f"{digest}.{self.seen[digest]}")
        return digests


def without_again(again: bool) -> str:
    """What to add to the advice to repeat a command: a second `--again` would send everything twice."""
    return " without --again" if again else ""


def request_digest(specification: Specification, destinations: Mapping[str, Path]) -> str:
    """Digest of task, code, parameters, contents of the inputs, and the places of the results."""
    what = [
        specification.task,
        code_version(specification.capability),
        specification.parameters,
        {name: _contents(value) for name, value in specification.inputs.items()},
        {name: str(path.absolute()) for name, path in destinations.items()},
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _contents(named: Json) -> Json:
    """The digests of a parameter's files, whatever they are called; one that is read from a URL counts as unchanged."""
    if isinstance(named, list):
        return [_contents(name) for name in named]
    text = str(named)
    return Reference.parse(text).digest if Reference.matches(text) else text


def _specify(session: Session, batch: Sequence[Item], watcher: Observer) -> list[Specification]:
    """Send the files of a batch to the store, and specify its jobs; a request that is repeated is looked at once."""
    requests = {id(item.request): item.request for item in batch}
    made = dict(zip(requests, session.specify(list(requests.values()), watcher), strict=True))
    return [made[id(item.request)] for item in batch]


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut the items into batches of at most so many jobs and bytes."""
    batch: list[Item] = []
    batch_bytes = 0
    for item in items:
        size_bytes = _size_bytes(item)
        if batch and (len(batch) == _BATCH_JOBS or batch_bytes + size_bytes > _BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += size_bytes
    if batch:
        yield batch


def _size_bytes(item: Item) -> int:
    size_bytes = 0
    for path in item.request.paths:
        with suppress(OSError):  # one that has vanished is told when it is read
            size_bytes += path.stat().st_size
    return size_bytes


_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
# The state of every job is read this often; a job that Redis has lost is seen only so.
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
    job: JobRecord | None
    files: Mapping[str, Path]
    error: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The job's fields, its name, where its files are here, and the error, also one of bringing them back."""
        record = self.job.to_json() if self.job is not None else {"id": self.mapped.id, "state": None}
        files = {name: str(path) for name, path in self.files.items()}
        return record | {"name": self.mapped.name, "files": files, "error": self.error}


def gather(
    session: Session,
    mapped: Sequence[Mapped],
    watcher: MapObserver | None = None,
    *,
    force: bool = False,
    timeout_s: float | None = None,
) -> Iterator[Outcome]:
    """Yield each job's outcome as it ends, until all have ended or the time [s] is over.

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
        self, session: Session, mapped: Sequence[Mapped], watcher: MapObserver, force: bool, timeout_s: float | None
    ) -> None:
        self._session = session
        self._watcher = watcher
        self._force = force
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._open = {job.id: job for job in mapped}
        self._queues = sorted({job.queue for job in mapped})
        self._total = len(self._open)
        self._done = self._failed = self._running = 0
        self._since_ms = 0.0
        self._look_at_all = 0.0
        self._warned = False

    def run(self) -> Iterator[Outcome]:
        """Look, fetch, report, wait; repeat until nothing is left."""
        _ = self._session.blobs  # made here and not in several threads at once
        fetching: set[Future[Outcome]] = set()
        pause_s = _FIRST_PAUSE_S
        pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="hive-fetch")
        try:
            while self._open or fetching:
                again = time.monotonic() + pause_s
                for mapped, job in self._ended():
                    fetching.add(pool.submit(self._fetch, mapped, job))
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

    def _ended(self) -> list[tuple[Mapped, JobRecord | None]]:
        """The jobs that have ended since the last look; outlasts a broker that is unreachable."""
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

    def _look(self) -> list[tuple[Mapped, JobRecord | None]]:
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
        states = dict(zip(ids, jobs.states(ids), strict=True))
        if None in states.values():
            with suppress(LedgerError, UnreachableError):  # the next question finds out that the broker is away
                self._session.send_missing()
            states = dict(zip(ids, jobs.states(ids), strict=True))
        self._running = sum(state is State.RUNNING for state in states.values())
        return [job_id for job_id, state in states.items() if state is None or state.is_final]

    def _warn(self) -> None:
        for queue in self._queues:
            if not self._session.registry.serving(queue):
                self._watcher.unserved(queue)
        self._warned = True

    def _fetch(self, mapped: Mapped, job: JobRecord | None) -> Outcome:
        """Fetch a job's files; an error is the outcome of this job and stops no other."""
        if job is None:
            words = f"The job {mapped.id[:8]} does not exist any more. Give the same command again."
            return Outcome(mapped, None, {}, {"kind": "not-found", "message": words})
        if job.state is not State.SUCCEEDED:
            return Outcome(mapped, job, {}, job.error or {"kind": str(job.state), "message": f"It is {job.state}."})
        places = {name: path for name, path in mapped.destinations.items() if name in job.outputs}
        try:
            Downloads(self._session.blobs, Observer(), force=self._force).download(job, places)
        except HiveError as error:
            return Outcome(mapped, job, {}, {"kind": error.kind, "message": str(error)})
        return Outcome(mapped, job, places)

    def _tell(self, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
        """Mark jobs as finished in one step, report them, and yield them."""
        over = [
            outcome.mapped.id
            for outcome in outcomes
            if outcome.job is not None and (outcome.error is None or _is_over(outcome.job))
        ]
        with suppress(LedgerError):  # a ledger that cannot be written is no reason to stop here
            self._session.ledger.finish_many(over)
        for outcome in outcomes:
            self._done += outcome.error is None
            self._failed += outcome.error is not None
            self._watcher.ended(outcome.mapped.name, outcome.error["message"] if outcome.error else None)
        queued = len(self._open) - self._running
        self._watcher.counted(Counts(self._total, self._done, self._failed, self._running, max(0, queued)))
        yield from outcomes


def _is_over(job: JobRecord) -> bool:
    return is_over(job.state, job.specification)

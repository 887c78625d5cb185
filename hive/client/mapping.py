"""Sending the jobs of a map: what an earlier run has done or sent is found by its digest and not sent again.

A batch at a time is staged, noted in the ledger, and sent, so that the first jobs run while later files still travel.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hive.broker import reachable
from hive.client.ledger import Entry
from hive.client.observer import MapObserver, Observer
from hive.client.planning import Item
from hive.errors import HiveError
from hive.jobs import Specification, State, new_id
from hive.staging import Reference
from hive.task.values import Json
from hive.version import code_version

if TYPE_CHECKING:
    from hive.client.session import Session

# A batch has at most so many bytes of files, so that large ones do not keep the workers waiting.
_BATCH_BYTES = 1 << 30
_BATCH_JOBS = 1_000
_ENDED_BADLY = (State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Mapped:
    """One job of a map: the name of its input for people, its id, its queue, and where its files are wanted."""

    name: str
    id: str
    queue: str
    destinations: Mapping[str, Path]


def send_items(
    session: "Session", items: Sequence[Item], watcher: MapObserver | None = None, *, again: bool = False
) -> list[Mapped]:
    """Send the jobs of a map that an earlier run has not sent; returns all of them, in the order of the items.

    Parameters
    ----------
    session : the Hive to send to
    items : what is asked, already checked
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

    session: "Session"
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
        self.watcher.found(done, waiting, sum(self.counts[state] for state in _ENDED_BADLY), len(self.items))
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
        asked = _specify(self.session, batch, self.watcher)
        requests = self._digests(batch, asked)
        known = {} if self.again else ledger.requested(requests, broker)
        states = self._states(list(known.values()))
        entries = [
            Entry(known.get(request) or new_id(), one, item.request.destinations, request)
            for item, one, request in zip(batch, asked, requests, strict=True)
        ]
        missing = [entry for entry in entries if states.get(entry.id) is None]
        failed = [entry for entry in entries if states.get(entry.id) in _ENDED_BADLY]
        ledger.note_many([*missing, *failed], broker)
        self.counts.update(states.get(entry.id) for entry in entries)
        mapped = [
            Mapped(item.name, entry.id, entry.asked.queue, entry.destinations)
            for item, entry in zip(batch, entries, strict=True)
        ]
        return _Ready(mapped, [(entry.id, entry.asked) for entry in missing], [entry.id for entry in failed])

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

    def _digests(self, batch: Sequence[Item], asked: Sequence[Specification]) -> list[str]:
        """What makes jobs the same as those of an earlier run; equal ones of one map are told apart by a number."""
        found: list[str] = []
        for item, one in zip(batch, asked, strict=True):
            if one is not self.last[0]:  # a request that is repeated is the same object
                self.last = (one, request_digest(one, item.request.destinations))
            digest = self.last[1]
            self.seen[digest] += 1
            found.append(f"{digest}.{self.seen[digest]}")
        return found


def without_again(again: bool) -> str:
    """What else to say to whoever shall give a command again: a second `--again` would send everything twice."""
    return " without --again" if again else ""


def request_digest(asked: Specification, destinations: Mapping[str, Path]) -> str:
    """Digest of task, code, parameters, contents of the inputs, and the places of the results."""
    what = [
        asked.task,
        code_version(asked.capability),
        asked.parameters,
        {name: _contents(value) for name, value in asked.inputs.items()},
        {name: str(path.absolute()) for name, path in destinations.items()},
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _contents(named: Json) -> Json:
    """The digests of a parameter's files, whatever they are called; one that is read from a URL counts as unchanged."""
    if isinstance(named, list):
        return [_contents(one) for one in named]
    text = str(named)
    return Reference.parse(text).digest if Reference.matches(text) else text


def _specify(session: "Session", batch: Sequence[Item], watcher: Observer) -> list[Specification]:
    """Send the files of a batch to the store and say what is asked; a request that is repeated is looked at once."""
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

"""Lists of jobs: page by page, by what has changed since the last look, and by the minute.

Nothing is written down for it: it is read from the times that Redis keeps anyway, when somebody looks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from hive.errors import NotFoundError
from hive.store import keys
from hive.store.jobs import BATCH, JobStore
from hive.task.values import Json
from hive.wire.job import JobRecord, State, rfc3339

if TYPE_CHECKING:
    import redis

# Jobs that one page looks at: so a rare word among a million jobs costs a fraction of a second, not a minute.
_MOST_LOOKED_AT = 20_000


@dataclass(frozen=True)
class JobFilter:
    """A filter of jobs: by state, capability, task, time of submission, and text in what names them."""

    states: frozenset[State] = frozenset()
    capability: str = ""
    text: str = ""
    task: str = ""
    since: datetime | None = None

    def admits(self, job: JobRecord) -> bool:
        """Whether a job is one of these.

        The text is looked for, in capitals or not, in the id, the task, the worker, its host, the names of the files
        and the sentence that says why it failed.
        """
        return (
            (not self.states or job.state in self.states)
            and self.capability in ("", job.specification.capability)
            and self.task in ("", job.specification.task)
            and (self.since is None or job.submitted_at >= self.since)
            and (not self.text or any(self.text.lower() in word.lower() for word in _words(job)))
        )


@dataclass(frozen=True)
class Page:
    """Some jobs, and the id after which the next page goes on; empty at the end."""

    jobs: list[JobRecord]
    after: str = ""


class Listing:
    """The list of all jobs, newest first; parts of other jobs are not in it."""

    def __init__(self, client: "redis.Redis", jobs: JobStore) -> None:
        self._redis = client
        self._jobs = jobs

    def page(self, filters: JobFilter, limit: int, after: str = "") -> Page:
        """List up to `limit` jobs that match.

        There may be fewer, and still a next page, where many had to be looked at.

        Raises
        ------
        NotFoundError
            There is no such job to go on after.
        """
        matches: list[JobRecord] = []
        last = after
        for ids in self._batches(after, BATCH if filters != JobFilter() else limit):
            for job in self._read(ids, filters):
                matches.append(job)
                if len(matches) == limit:
                    return Page(matches, job.id)
            last = ids[-1]
            if filters.since is not None and self._is_older(last, filters.since):
                return Page(matches)
        return Page(matches, last if self._is_before_the_end(last) else "")

    def _batches(self, after: str, size: int) -> Iterator[list[str]]:
        start = self._rank(after) + 1 if after else 0
        for first in range(start, start + _MOST_LOOKED_AT, size):
            ids = cast(list[str], self._redis.zrange(keys.JOBS, first, first + size - 1, desc=True))
            if ids:
                yield ids
            if len(ids) < size:
                return

    def _read(self, ids: Sequence[str], filters: JobFilter) -> Iterator[JobRecord]:
        """Read the jobs that match; with a filter of states, records in other states are not read."""
        if filters.states:
            states = self._jobs.states(ids)
            ids = [job_id for job_id, state in zip(ids, states, strict=True) if state in filters.states]
        return (job for job in self._jobs.get_many(ids) if job is not None and filters.admits(job))

    def all(self, filters: JobFilter, limit: int) -> list[JobRecord]:
        """List up to `limit` jobs that match, however many must be looked at."""
        matches: list[JobRecord] = []
        after = ""
        while len(matches) < limit:
            page = self.page(filters, min(limit - len(matches), _MOST_LOOKED_AT), after)
            matches += page.jobs
            after = page.after
            if not after:
                break
        return matches

    def _is_older(self, job_id: str, since: datetime) -> bool:
        submitted_ms = self._redis.zscore(keys.JOBS, job_id)
        return submitted_ms is None or submitted_ms < since.timestamp() * 1000

    def _rank(self, job_id: str) -> int:
        rank = cast(int | None, self._redis.zrevrank(keys.JOBS, job_id))
        if rank is None:
            raise NotFoundError(f"There is no job {job_id!r} to go on after. List them: hive jobs.")
        return rank

    def _is_before_the_end(self, last: str) -> bool:
        return last not in ("", *cast(list[str], self._redis.zrange(keys.JOBS, 0, 0)))


def _words(job: JobRecord) -> Iterator[str]:
    """What people may look for."""
    specification = job.specification
    yield from (job.id, specification.task, job.worker or "", job.host or "", (job.error or {}).get("message", ""))
    for value in (*specification.inputs.values(), *specification.outputs.values()):
        yield from _names(value)


def _names(value: Json) -> Iterator[str]:
    """Names of files, without the digests of references."""
    for name in map(str, value if isinstance(value, list) else [value]):
        yield name.partition("/")[2] if name.startswith("sha256:") else name


# Of more changes in one look only the newest are told one by one.
MOST_TOLD = 200
_MARKS = ("state", "attempts", "progress", "divided")


@dataclass(frozen=True)
class ChangeSet:
    """Jobs to which something happened since the last look; `is_all` says that no others were left out."""

    jobs: list[JobRecord] = field(default_factory=list)
    is_all: bool = True


class Changes:
    """Looks again and again; a look costs by what happens and by how many jobs run, not by how many there are.

    Not to be used by two threads at the same time.
    """

    def __init__(self, client: "redis.Redis", jobs: JobStore) -> None:
        self._redis = client
        self._jobs = jobs
        self._since_ms = 0.0
        self._active: dict[str, tuple[Any, ...]] = {}

    def begin(self, queues: Sequence[str]) -> None:
        """Take everything that has happened until now as known."""
        self._active = {}
        self._since_ms = self._jobs.now_ms()
        self.look(queues)

    def look(self, queues: Sequence[str]) -> ChangeSet:
        """Give the jobs that were sent, started, got further, ended or wait again since the last look."""
        ended, waiting, running = self._moved(queues)
        touched = [*ended, *waiting, *self._advanced({*running, *self._active})]
        ids = list(dict.fromkeys(touched))
        jobs = self._read(ids[:MOST_TOLD])
        # A job that waits for its parts is in no list of running jobs; it gets further when one of them ends.
        wholes = {job.specification.parent for job in jobs} - {"", *ids}
        return ChangeSet(jobs + self._read(wholes), len(ids) <= MOST_TOLD)

    def _moved(self, queues: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
        """Jobs that have ended or been queued since the last look, newest first, and all that run."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        for queue in queues:
            finished = keys.finished(queue)
            pipeline.zrevrangebyscore(finished, "+inf", self._since_ms, start=0, num=MOST_TOLD + 1, withscores=True)
            pipeline.zrevrangebyscore(keys.waiting(queue), "+inf", self._since_ms, start=0, num=MOST_TOLD + 1)
            pipeline.zrange(keys.running(queue), 0, -1)
        (seconds, micros), *lists = pipeline.execute()
        self._since_ms = seconds * 1000 + micros // 1000
        ended = sorted((pair for pairs in lists[::3] for pair in pairs), key=lambda pair: -pair[1])
        waiting, running = ([job_id for ids in lists[start::3] for job_id in ids] for start in (1, 2))
        return [job_id for job_id, _ in ended], waiting, running

    def _advanced(self, ids: Iterable[str]) -> list[str]:
        """Which of these jobs are not as they were; from now on those are looked at that run."""
        looked_at = list(ids)
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in looked_at:
            pipeline.hmget(keys.job(job_id), _MARKS)
        marks = dict(zip(looked_at, map(tuple, pipeline.execute()), strict=True))
        advanced = [job_id for job_id, mark in marks.items() if mark != self._active.get(job_id)]
        self._active = {job_id: mark for job_id, mark in marks.items() if mark[0] == State.RUNNING}
        return advanced

    def _read(self, ids: Iterable[str]) -> list[JobRecord]:
        return [job for job in self._jobs.get_many(list(ids)) if job is not None]


MINUTES = 60
_MINUTE_MS = 60_000
# Of more jobs that ended within the hour every n-th is read, and stands for n.
_MOST_READ = 2_000


@dataclass(frozen=True)
class Minute:
    """A minute of the picture: when it began (RFC 3339), jobs that ended within it, jobs that waited at its end."""

    at: str
    finished: int
    waiting: int


class Hour:
    """The picture of the last hour, and how it goes on."""

    def __init__(self, client: "redis.Redis", jobs: JobStore) -> None:
        self._redis = client
        self._jobs = jobs

    def read(self, queues: Sequence[str]) -> list[Minute]:
        """Give one entry for each of the last 60 minutes, the present one last.

        `waiting` is counted at the end of each minute. A job that ran more than once counts as waiting until its last
        start.
        """
        now_ms = self._jobs.now_ms()
        starts = [(int(now_ms) // _MINUTE_MS - back) * _MINUTE_MS for back in reversed(range(MINUTES))]
        ends = [*starts[1:], now_ms]
        finished, still = self._counts(starts, ends, queues)
        done = self._spans(starts[0], queues)
        return [_entry(starts[number], finished[number], still[number] + done[number]) for number in range(len(starts))]

    def now(self, queues: Sequence[str], waiting: int) -> Minute:
        """Give the entry of the present minute."""
        start = int(self._jobs.now_ms()) // _MINUTE_MS * _MINUTE_MS
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zcount(keys.finished(queue), start, "+inf")
        return _entry(start, sum(pipeline.execute()), waiting)

    def _counts(self, starts: list[int], ends: list[float], queues: Sequence[str]) -> tuple[list[int], list[int]]:
        """How many jobs ended within each minute, and how many of those that wait now waited at its end already."""
        pipeline = self._redis.pipeline(transaction=False)
        for start, end in zip(starts, ends, strict=True):
            for queue in queues:
                pipeline.zcount(keys.finished(queue), start, f"({end}")
                pipeline.zcount(keys.waiting(queue), "-inf", end)
        counts, step = pipeline.execute(), 2 * len(queues)
        minutes = [counts[number * step : (number + 1) * step] for number in range(len(starts))]
        return [sum(minute[::2]) for minute in minutes], [sum(minute[1::2]) for minute in minutes]

    def _spans(self, since_ms: float, queues: Sequence[str]) -> list[int]:
        """How many of the jobs that run or ended within the hour waited at the end of each minute."""
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zrange(keys.finished(queue), since_ms, "+inf", byscore=True)
            pipeline.zrange(keys.running(queue), 0, -1)
        lists = pipeline.execute()
        ended, running = list(chain.from_iterable(lists[::2])), lists[1::2]
        every = max(1, -(-len(ended) // _MOST_READ))
        spans = self._waits(ended[::every], every) + self._waits(list(chain.from_iterable(running)), 1)
        ends = [since_ms + _MINUTE_MS * number for number in range(1, MINUTES + 1)]
        waiting = [0] * MINUTES
        for begin, end, weight in spans:
            for number in range(bisect_left(ends, begin), bisect_left(ends, end)):
                waiting[number] += weight
        return waiting

    def _waits(self, ids: Sequence[str], weight: int) -> list[tuple[float, float, int]]:
        """From when until when each job waited [ms]."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(keys.job(job_id), "submitted_ms", "started_ms", "finished_ms")
        rows = cast(list[list[str | None]], pipeline.execute())
        return [
            (float(submitted), float(started or finished or submitted), weight)
            for submitted, started, finished in rows
            if submitted is not None
        ]


def _entry(start_ms: int, finished: int, waiting: int) -> Minute:
    return Minute(rfc3339(datetime.fromtimestamp(start_ms / 1000, UTC)), finished, waiting)

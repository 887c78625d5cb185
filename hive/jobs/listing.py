"""Lists of jobs: the newest first, those that somebody looks for, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hive.errors import NotFoundError
from hive.jobs.record import Job, State
from hive.jobs.store import BATCH, JobStore
from hive.task.values import Json

if TYPE_CHECKING:
    import redis

# Jobs that one page looks at: so a rare word among a million jobs costs a fraction of a second, not a minute.
_MOST_LOOKED_AT = 20_000


@dataclass(frozen=True)
class Wanted:
    """What is looked for: jobs in one of some states, of a capability, with a text in what names them."""

    states: frozenset[State] = frozenset()
    capability: str = ""
    text: str = ""

    def admits(self, job: Job) -> bool:
        """Whether a job is one of these.

        The text is looked for, in capitals or not, in the id, the task, the worker, its host, the names of the files
        and the sentence that says why it failed.
        """
        return (
            (not self.states or job.state in self.states)
            and self.capability in ("", job.specification.capability)
            and (not self.text or any(self.text.lower() in one.lower() for one in _words(job)))
        )


@dataclass(frozen=True)
class Page:
    """Some jobs, and the id after which the next page goes on; empty at the end."""

    jobs: list[Job]
    after: str = ""


class Listing:
    """The list of all jobs, newest first; parts of other jobs are not in it."""

    def __init__(self, client: "redis.Redis", jobs: JobStore) -> None:
        self._redis = client
        self._jobs = jobs

    def page(self, wanted: Wanted, limit: int, after: str = "") -> Page:
        """Give as many of the jobs that are wanted.

        There may be fewer, and still a next page, where many had to be looked at.

        Raises
        ------
        NotFoundError
            There is no such job to go on after.
        """
        found: list[Job] = []
        last = after
        for ids in self._batches(after, BATCH if wanted != Wanted() else limit):
            for job in self._read(ids, wanted):
                found.append(job)
                if len(found) == limit:
                    return Page(found, job.id)
            last = ids[-1]
        return Page(found, last if self._is_before_the_end(last) else "")

    def _batches(self, after: str, size: int) -> Iterator[list[str]]:
        start = self._rank(after) + 1 if after else 0
        for first in range(start, start + _MOST_LOOKED_AT, size):
            ids = cast(list[str], self._redis.zrange("hive:jobs", first, first + size - 1, desc=True))
            if ids:
                yield ids
            if len(ids) < size:
                return

    def _read(self, ids: Sequence[str], wanted: Wanted) -> Iterator[Job]:
        """Read the jobs that are wanted; where states are, the others are not read at all."""
        if wanted.states:
            states = self._jobs.states(ids)
            ids = [job_id for job_id, state in zip(ids, states, strict=True) if state in wanted.states]
        return (job for job in self._jobs.get_many(ids) if job is not None and wanted.admits(job))

    def _rank(self, job_id: str) -> int:
        rank = cast(int | None, self._redis.zrevrank("hive:jobs", job_id))
        if rank is None:
            raise NotFoundError(f"There is no job {job_id!r} to go on after. List them: hive jobs.")
        return rank

    def _is_before_the_end(self, last: str) -> bool:
        return last not in ("", *cast(list[str], self._redis.zrange("hive:jobs", 0, 0)))


def _words(job: Job) -> Iterator[str]:
    """What people may look for."""
    asked = job.specification
    yield from (job.id, asked.task, job.worker or "", job.host or "", (job.error or {}).get("message", ""))
    for value in (*asked.inputs.values(), *asked.outputs.values()):
        yield from _names(value)


def _names(value: Json) -> Iterator[str]:
    """Names of files, without the digests of references."""
    for one in value if isinstance(value, list) else [value]:
        yield str(one).partition("/")[2] if str(one).startswith("sha256:") else str(one)

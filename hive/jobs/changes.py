"""What happens to jobs, look by look, without reading those that nothing happens to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.jobs.record import Job, State
from hive.jobs.store import JobStore

if TYPE_CHECKING:
    import redis

# Of more changes in one look only the newest are told one by one.
MOST_TOLD = 200
_MARKS = ("state", "attempts", "progress", "divided")


@dataclass(frozen=True)
class Happened:
    """Jobs to which something happened since the last look; `is_all` says that no others were left out."""

    jobs: list[Job] = field(default_factory=list)
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

    def look(self, queues: Sequence[str]) -> Happened:
        """Give the jobs that were sent, started, got further, ended or wait again since the last look."""
        ended, waiting, running = self._moved(queues)
        touched = [*ended, *waiting, *self._advanced({*running, *self._active})]
        ids = list(dict.fromkeys(touched))
        jobs = self._read(ids[:MOST_TOLD])
        # A whole that waits for its parts is in no list of running jobs; it gets further when one of them ends.
        wholes = {job.specification.parent for job in jobs} - {"", *ids}
        return Happened(jobs + self._read(wholes), len(ids) <= MOST_TOLD)

    def _moved(self, queues: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
        """Jobs that have ended or begun to wait since the last look, newest first, and all that run."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        for queue in queues:
            finished = f"hive:finished:{queue}"
            pipeline.zrevrangebyscore(finished, "+inf", self._since_ms, start=0, num=MOST_TOLD + 1, withscores=True)
            pipeline.zrevrangebyscore(f"hive:waiting:{queue}", "+inf", self._since_ms, start=0, num=MOST_TOLD + 1)
            pipeline.zrange(f"hive:running:{queue}", 0, -1)
        (seconds, micros), *lists = pipeline.execute()
        self._since_ms = seconds * 1000 + micros // 1000
        ended = sorted((one for pairs in lists[::3] for one in pairs), key=lambda one: -one[1])
        waiting, running = ([job_id for ids in lists[start::3] for job_id in ids] for start in (1, 2))
        return [job_id for job_id, _ in ended], waiting, running

    def _advanced(self, ids: Iterable[str]) -> list[str]:
        """Which of these jobs are not as they were; from now on those are looked at that run."""
        looked_at = list(ids)
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in looked_at:
            pipeline.hmget(f"hive:job:{job_id}", _MARKS)
        marks = dict(zip(looked_at, map(tuple, pipeline.execute()), strict=True))
        advanced = [job_id for job_id, mark in marks.items() if mark != self._active.get(job_id)]
        self._active = {job_id: mark for job_id, mark in marks.items() if mark[0] == State.RUNNING}
        return advanced

    def _read(self, ids: Iterable[str]) -> list[Job]:
        return [job for job in self._jobs.get_many(list(ids)) if job is not None]

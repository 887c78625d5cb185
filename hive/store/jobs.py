"""Job records in Redis: create, start, finish, look up, watch."""

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar, cast

from hive.errors import BadParameterError, NotFoundError, UnreadableRecordError
from hive.store import keys
from hive.store.scripts import load_script
from hive.task.values import Json
from hive.wire.job import JobRecord, Specification, State, job_from_hash
from hive.wire.record import Unreadable

if TYPE_CHECKING:
    import redis
    from redis.commands.core import Script

# A watcher looks at the record this often even where no message came: a message can be lost with its connection.
_LOOK_AGAIN_S = 5.0
_ID_BYTES = 8
_AT_ONCE = 1000
# What may be the beginning of an id, and holds no mark that Redis would take for a pattern.
_IS_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_SCANNED = 5_000
_NAMED = 5
# Jobs that are created by one script: others wait for Redis no longer than some 20 ms.
BATCH = 500
T = TypeVar("T")


def new_id() -> str:
    """Make an id: random, so that a short prefix already tells jobs apart."""
    return secrets.token_hex(_ID_BYTES)


def in_batches(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a list into batches of as many jobs as are sent at once."""
    for start in range(0, len(many), BATCH):
        yield many[start : start + BATCH]


def _by_queue(
    jobs: Sequence[tuple[str, Specification]],
) -> dict[tuple[str, int], list[tuple[str, Specification]]]:
    """Jobs by their queue and by the starts that each may have; mostly all are alike."""
    groups: dict[tuple[str, int], list[tuple[str, Specification]]] = {}
    for job in jobs:
        groups.setdefault((job[1].queue, job[1].limits.attempts or 1), []).append(job)
    return groups


def _compact(values: Mapping[str, Json]) -> str:
    return json.dumps(values, separators=(",", ":"))


class JobStore:
    """The records of all jobs of one Hive."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self.unreadable = Unreadable()
        self._create = client.register_script(load_script("create"))
        self._forget = client.register_script(load_script("forget"))
        self._start = client.register_script(load_script("start"))
        self._checkpoint = client.register_script(load_script("checkpoint"))
        self._finish = client.register_script(load_script("finish"))
        self._lose = client.register_script(load_script("lose"))
        self._release = client.register_script(load_script("release"))
        self._divide = client.register_script(load_script("divide"))
        self._cancel = client.register_script(load_script("cancel"))
        self._retry = client.register_script(load_script("retry"))

    def create(self, job_id: str, specification: Specification) -> None:
        """Write the record of a new job; this comes before its message is sent.

        Raises
        ------
        BadParameterError
            The id is taken.
        """
        if not self.create_many([(job_id, specification)]):
            raise BadParameterError(f"There is a job {job_id} already.")

    def create_many(self, jobs: Sequence[tuple[str, Specification]]) -> list[str]:
        """Write the records of new jobs, in order. Returns the ids that were free; the others stay as they are."""
        created: list[str] = []
        for batch in in_batches(jobs):
            for (queue, attempts), alike in _by_queue(batch).items():
                arguments = [part for job_id, specification in alike for part in (job_id, specification.to_json())]
                records = [keys.job(job_id) for job_id, _ in alike]
                created += self._create(keys=records, args=[queue, attempts, *arguments])
        return created

    def forget(self, *job_ids: str) -> None:
        """Remove the records of jobs whose messages could not be sent."""
        self._in_pipeline(self._forget, job_ids)

    def _in_pipeline(self, script: "Script", job_ids: Sequence[str]) -> list[int]:
        """Run a script on each of many jobs; returns its answers."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            script(keys=[keys.job(job_id)], args=[job_id], client=pipeline)
        return [int(answer) for answer in pipeline.execute()]

    def start(self, job_id: str, worker: str, host: str, lease_s: float, slot_usd_per_h: float | None = None) -> int:
        """Begin an attempt on a slot of that price. Returns its number, or 0 where there is nothing to do.

        That is so where the job is finished, unknown or being worked on.
        """
        price = "" if slot_usd_per_h is None else f"{slot_usd_per_h:.12g}"
        return int(self._start(keys=[keys.job(job_id)], args=[job_id, worker, host, int(lease_s * 1000), price]))

    def finish(
        self,
        job_id: str,
        attempt: int,
        state: State,
        outputs: Mapping[str, Json] | None = None,
        measures: Mapping[str, Json] | None = None,
        error: Mapping[str, str] | None = None,
        input_bytes: int | None = None,
    ) -> bool:
        """End an attempt. Returns False where a newer attempt has taken over and this result is dropped."""
        result = (_compact(outputs or {}), _compact(measures or {}), json.dumps(error) if error else "")
        size = "" if input_bytes is None else input_bytes
        return bool(self._finish(keys=[keys.job(job_id)], args=[job_id, attempt, str(state), *result, size]))

    def keep_checkpoint(self, job_id: str, attempt: int, checkpoint: Mapping[str, str]) -> bool:
        """Keep where an attempt's checkpoint files are, for the attempt that may follow."""
        return bool(self._checkpoint(keys=[keys.job(job_id)], args=[attempt, json.dumps(checkpoint)]))

    def checkpoint(self, job_id: str) -> dict[str, str]:
        """Where the checkpoint files of the last attempt are; empty where there are none."""
        text = cast(str | None, self._redis.hget(keys.job(job_id), "checkpoint"))
        return dict(json.loads(text)) if text else {}

    def lose(self, job_id: str, attempt: int, reason: str) -> bool:
        """End an attempt that died; the job waits again, or is failed where that was its last one."""
        return bool(self._lose(keys=[keys.job(job_id)], args=[job_id, attempt, reason]))

    def release(self, job_id: str, attempt: int, reason: str) -> bool:
        """End an attempt that was stopped on purpose; it does not count."""
        return bool(self._release(keys=[keys.job(job_id)], args=[job_id, attempt, reason]))

    def divide(self, job_id: str, attempt: int, plans: Sequence[Sequence[str]]) -> bool:
        """End an attempt that has planned parts: the job waits for those of its last plan without holding a slot."""
        return bool(self._divide(keys=[keys.job(job_id)], args=[job_id, attempt, json.dumps(plans), *plans[-1]]))

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that waits or runs. Returns False where it had ended before."""
        return bool(self._cancel(keys=[keys.job(job_id)], args=[job_id]))

    def retry(self, job_id: str) -> bool:
        """Let a failed or cancelled job wait again. Returns False where it is neither."""
        return bool(self.retry_many([job_id]))

    def retry_many(self, job_ids: Sequence[str]) -> list[str]:
        """Let failed or cancelled jobs wait again. Returns those that do; the others are neither."""
        answers = self._in_pipeline(self._retry, job_ids)
        return [job_id for job_id, answer in zip(job_ids, answers, strict=True) if answer]

    def get(self, job_id: str) -> JobRecord:
        """Look up a job by its whole id, with its story.

        Raises
        ------
        NotFoundError
            There is no such job.
        UnreadableRecordError
            Its record is damaged, or was written by a newer Hive.
        """
        fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        if not fields:
            raise NotFoundError(f"There is no job {job_id!r}. List them: hive jobs.")
        return job_from_hash(job_id, fields, with_story=True)

    def get_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Look up many jobs by their whole ids, without their stories; None where there is no record to be read."""
        jobs: list[JobRecord | None] = []
        for batch in in_batches(job_ids):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in batch:
                pipeline.hgetall(keys.job(job_id))
            jobs += [self._read(job_id, fields) for job_id, fields in zip(batch, pipeline.execute(), strict=True)]
        return jobs

    def _read(self, job_id: str, fields: Mapping[str, str]) -> JobRecord | None:
        try:
            return job_from_hash(job_id, fields) if fields else None
        except UnreadableRecordError as error:
            self.unreadable.warn(job_id, error)
            return None

    def now_ms(self) -> float:
        """The time by Redis' clock, which all times of a record are of [ms since 1970]."""
        seconds, micros = self._redis.time()
        return seconds * 1000 + micros / 1000

    def changes(self, since_ms: float, queues: Sequence[str]) -> tuple[dict[str, float], set[str]]:
        """All jobs of some queues that have ended since a time, with the times of their ends, and all that run there.

        One round trip, which costs by what happens and not by how many jobs there are.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zrange(keys.finished(queue), since_ms, "+inf", byscore=True, withscores=True)
            pipeline.zrange(keys.running(queue), 0, -1)
        answers = pipeline.execute()
        return dict(chain.from_iterable(answers[::2])), set(chain.from_iterable(answers[1::2]))

    def states(self, job_ids: Sequence[str]) -> list[State | None]:
        """Where many jobs stand, in the order of their ids; None for a job that has no record."""
        states: list[str | None] = []
        for start in range(0, len(job_ids), _AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids[start : start + _AT_ONCE]:
                pipeline.hget(keys.job(job_id), "state")
            states += pipeline.execute()
        return [None if state is None else State(state) for state in states]

    def find(self, prefix: str) -> JobRecord:
        """Look up a job by any unique beginning of its id.

        Raises
        ------
        NotFoundError
            No job or more than one job has such an id.
        """
        matches = self._beginning_with(prefix)
        if not matches:
            raise NotFoundError(f"There is no job {prefix!r}. List them: hive jobs.")
        if len(matches) > 1 and prefix not in matches:
            several = ", ".join(sorted(matches)[:_NAMED])
            raise NotFoundError(f"{prefix!r} begins the ids of several jobs: {several}. Write more of it.")
        return self.get(prefix if prefix in matches else matches.pop())

    def _beginning_with(self, prefix: str) -> set[str]:
        """The ids that begin so; an index for this would take a tenth of all memory that Redis needs for a job."""
        if not _IS_ID.fullmatch(prefix):
            return set()
        if self._redis.exists(keys.job(prefix)):
            return {prefix}
        matches = self._among(keys.JOBS, prefix)
        if not matches:  # parts are listed with their queue only
            queues = cast(set[str], self._redis.smembers(keys.QUEUES))
            sets = [key(queue) for queue in queues for key in (keys.finished, keys.waiting, keys.running)]
            matches = set().union(*(self._among(key, prefix) for key in sets))
        return matches

    def _among(self, key: str, prefix: str) -> set[str]:
        members = self._redis.zscan_iter(key, match=f"{prefix}*", count=_SCANNED)
        return {job_id for job_id, _ in members}

    def recent(self, limit: int) -> list[JobRecord]:
        """List the newest jobs, newest first."""
        ids = cast(list[str], self._redis.zrange(keys.JOBS, 0, limit - 1, desc=True))
        return [job for job in self.get_many(ids) if job is not None]

    def watch(self, job_id: str, timeout_s: float | None = None) -> Iterator[JobRecord]:
        """Give the job now and after every change, until it is finished or the time is over.

        Nothing is polled: Redis tells of changes, and every few seconds the record is read all the same.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]  # redis-py
            subscription.subscribe(keys.job(job_id))
            subscription.get_message(timeout=_LOOK_AGAIN_S)  # from the confirmation on, no change is missed
            while True:
                job = self.get(job_id)
                yield job
                if job.state.is_final or (deadline is not None and time.monotonic() >= deadline):
                    return
                left = _LOOK_AGAIN_S if deadline is None else min(_LOOK_AGAIN_S, deadline - time.monotonic())
                wake = time.monotonic() + max(left, 0.0)
                while (pause := wake - time.monotonic()) > 0 and not subscription.get_message(timeout=pause):
                    pass

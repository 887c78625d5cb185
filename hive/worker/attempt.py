"""One attempt of a job: fetch its files, run its task, bring its results back."""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from hive.errors import DividedError, HiveError, StagingError, StoppedError
from hive.settings import Settings
from hive.staging import BlobStore, Cache, Reference
from hive.store import JobStore
from hive.task import Attempt, Progress, Task
from hive.task.context import running
from hive.task.parameter import Parameter
from hive.task.values import Json, to_measures
from hive.wire.job import State
from hive.wire.signing import Signer, Trust
from hive.worker.checkpoints import Checkpoints
from hive.worker.division import Division
from hive.worker.files import fetch, output_path, size_bytes, store
from hive.worker.logs.capture import captured
from hive.worker.logs.scribe import Scribe
from hive.worker.logs.spool import Spool, Writer
from hive.worker.outbox import Outbox, Outcome
from hive.worker.slots import Slots, this_process

# It is written down at most this often; the last one of an attempt always is.
_EVERY_S = 0.2


class Reporter:
    """Takes progress as often as the task calls, and writes it down as often as anybody can read it."""

    def __init__(self, writer: Writer | None) -> None:
        self._writer = writer
        self._next = 0.0
        self._held: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Write the progress down now if it is time, otherwise hold it."""
        self._held = progress
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write down what is held."""
        if self._held is not None and self._writer is not None:
            with contextlib.suppress(OSError):  # the disk is full; a task does not fail for its progress
                self._writer.progress(self._held)
        self._held, self._next = None, time.monotonic() + _EVERY_S


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where attempts run: this worker's name, its folders and its connections.

    `logs` is the folder in which the attempts' logs wait; `scribe` carries them to Redis. `patient` waits for a Redis
    that is away, `prompt` gives up at once; `resend` sends the messages of jobs that wait. `trust` says whose jobs are
    run, `signer` signs the parts that they plan. `slot_usd_per_h` is what a slot costs, where that is known.
    """

    settings: Settings
    patient: JobStore
    prompt: JobStore
    outbox: Outbox
    slots: Slots
    scribe: Scribe
    logs: Path
    blobs: BlobStore
    cache: Cache
    worker: str
    host: str
    worker_pid: int
    slot_usd_per_h: float | None
    resend: Callable[[Sequence[str]], None]
    trust: Trust
    signer: Signer


def run_attempt(place: Place, task: Task[Any, Any], job_id: str, asked: Mapping[str, Any]) -> None:
    """Run a job once and keep what came of it in its record.

    Does nothing where the job is finished or somebody works on it already. Never raises for what the task does: a
    failed job is a kept result, not a failed message.
    """
    number = place.patient.start(
        job_id, place.worker, place.host, place.settings.lease_s, slot_usd_per_h=place.slot_usd_per_h
    )
    if not number:
        logger.info("job %s needs no further attempt", job_id)
        return
    limits = asked["limits"]
    with place.slots.occupy(this_process(job_id, number, limits["time_s"], limits["memory_bytes"])):
        with _logged(place, task, job_id, number) as writer:
            outcome = _outcome(place, task, job_id, number, asked, Reporter(writer))
        place.outbox.send(outcome)
    # Where this fails, the next sweep finds jobs that have no message, and sends them.
    with contextlib.suppress(HiveError, redis.RedisError):
        place.resend(_to_ring_for(place, outcome, asked))


def _to_ring_for(place: Place, outcome: Outcome, asked: Mapping[str, Any]) -> list[str]:
    """Jobs that wait and have no message: this one after a stop, its parts, or what it was the last part of."""
    if outcome.plans:
        return list(outcome.plans[-1])
    if outcome.state is None:
        return [outcome.job]
    whole = [asked["parent"]] if "parent" in asked else []
    return [job_id for job_id, state in zip(whole, place.prompt.states(whole), strict=True) if state is State.QUEUED]


@contextlib.contextmanager
def _logged(place: Place, task: Task[Any, Any], job_id: str, number: int) -> Iterator[Writer | None]:
    """Keep what the block logs and prints; when it ends, all of it is in Redis, where that is there."""
    name = f"{job_id}.{number}"
    owns_process = place.worker_pid != os.getpid()
    try:
        with captured(Spool(place.logs, name), task.function.__module__, owns_process=owns_process) as writer:
            yield writer
    finally:
        with contextlib.suppress(redis.RedisError):
            place.scribe.finish(name)


def _outcome(
    place: Place, task: Task[Any, Any], job_id: str, number: int, asked: Mapping[str, Any], reporter: Reporter
) -> Outcome:
    """Run the task; whatever it does becomes an outcome."""
    try:
        with place.cache.scratch(f"{job_id}.{number}") as scratch:
            attempt = _attempt(place, job_id, number, scratch, reporter)
            outputs, measures, input_bytes = _run(place, task, attempt, asked, scratch)
    except StoppedError:
        return Outcome(job_id, number, None)
    except DividedError as error:
        return Outcome(job_id, number, None, plans=error.plans)
    except Exception as error:
        logger.warning("job %s attempt %d failed:\n%s", job_id, number, traceback.format_exc())
        return Outcome(job_id, number, State.FAILED, error=describe(error))
    return Outcome(job_id, number, State.SUCCEEDED, outputs, measures, input_bytes=input_bytes)


def _attempt(place: Place, job_id: str, number: int, scratch: Path, reporter: Reporter) -> Attempt:
    return Attempt(
        job=job_id,
        number=number,
        worker=place.worker,
        host=place.host,
        worker_pid=place.worker_pid,
        trace_folder=place.settings.trace_dir,
        stop_flag=place.slots.stop_flag,
        report=reporter,
        checkpoints=Checkpoints(
            job_id, number, scratch / "checkpoint", place.prompt, place.blobs.area(f"checkpoint/{job_id}")
        ),
        cache_folder=place.settings.cache / "tasks",
        allows_scripts=place.settings.allow_scripts,
        divide=Division(job_id, place.patient, place.blobs, place.settings.max_attempts, place.signer),
    )


def _run(
    place: Place, task: Task[Any, Any], attempt: Attempt, asked: Mapping[str, Any], scratch: Path
) -> tuple[dict[str, Json], dict[str, Json], int]:
    """Run the task on its files; returns the references of what it wrote, its measures, and the bytes that it read."""
    files = {parameter.name: parameter for parameter in (*task.reads, *task.writes)}
    inputs = {name: fetch(place.cache, scratch, files[name], wanted) for name, wanted in asked["inputs"].items()}
    input_bytes = size_bytes(inputs.values())
    values = {**asked["parameters"], **inputs}
    written = {name: output_path(scratch, files[name], wanted) for name, wanted in asked["outputs"].items()}
    try:
        with running(attempt):
            result = task.function(**task.arguments(task.check(values | written)))
    except BaseException:
        attempt.checkpoints.close()
        raise
    finally:
        attempt.report.flush()
    outputs: dict[str, Json] = {name: str(_store(place, task, files[name], path)) for name, path in written.items()}
    attempt.checkpoints.close()
    attempt.checkpoints.discard()
    return outputs, to_measures(result), input_bytes


def _store(place: Place, task: Task[Any, Any], parameter: Parameter, path: Path) -> Reference:
    if not (path.is_dir() if parameter.is_folder else path.is_file()):
        raise StagingError(
            f"{task.wire_name} ended well but did not write its {parameter.name}. This is a mistake in the task."
        )
    return store(place.blobs, path)


def describe(error: BaseException) -> dict[str, str]:
    """Kind and sentence of an error, as a record keeps them."""
    if isinstance(error, HiveError):
        return {"kind": error.kind, "message": str(error)}
    if isinstance(error, MemoryError):
        return {"kind": "out-of-memory", "message": "The task asked for more memory than the worker has."}
    if isinstance(error, OSError) and error.errno is not None:
        return {"kind": "os-error", "message": f"{type(error).__name__}: {error}"}
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return {"kind": "task-error", "message": f"{type(error).__name__}: {error} (in {place})"}

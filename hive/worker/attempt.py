"""One attempt of a job: fetch its files, run its task, bring its results back."""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from hive.errors import DividedError, HiveError, StagingError, StoppedError
from hive.staging import Reference
from hive.task import Attempt, Progress, Task
from hive.task.context import running
from hive.task.parameter import Parameter
from hive.task.values import Json, to_measures
from hive.wire.job import JobMessage, State
from hive.worker.checkpoints import Checkpoints
from hive.worker.context import WorkerContext
from hive.worker.division import Division
from hive.worker.files import fetch, output_path, size_bytes, store
from hive.worker.logs.capture import captured
from hive.worker.logs.spool import Spool, Writer
from hive.worker.outbox import Outcome
from hive.worker.slots import this_process

# Progress is written at most this often; the last one of an attempt always is.
_WRITE_EVERY_S = 0.2


class Reporter:
    """Accepts progress as often as the task calls, and writes it as often as anybody can read it."""

    def __init__(self, writer: Writer | None) -> None:
        self._writer = writer
        self._next = 0.0
        self._held: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Write the progress now if it is time, otherwise hold it."""
        self._held = progress
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write the progress that is held."""
        if self._held is not None and self._writer is not None:
            with contextlib.suppress(OSError):  # the disk is full; a task does not fail for its progress
                self._writer.progress(self._held)
        self._held, self._next = None, time.monotonic() + _WRITE_EVERY_S


logger = logging.getLogger(__name__)


def run_attempt(context: WorkerContext, task: Task[Any, Any], job_id: str, message: JobMessage) -> None:
    """Run a job once and keep the outcome in its record.

    Does nothing where the job is finished or somebody works on it already. Never raises for what the task does: a
    failed job is a kept result, not a failed message.
    """
    number = context.patient.start(
        job_id, context.worker, context.host, context.settings.lease_s, slot_usd_per_h=context.slot_usd_per_h
    )
    if not number:
        logger.info("job %s needs no further attempt", job_id)
        return
    with context.slots.occupy(this_process(job_id, number, message.limits.time_s, message.limits.memory_bytes)):
        with _logged(context, task, job_id, number) as writer:
            outcome = _outcome(context, task, job_id, number, message, Reporter(writer))
        context.outbox.send(outcome)
    # Where this fails, the next sweep finds jobs that have no message, and sends them.
    with contextlib.suppress(HiveError, redis.RedisError):
        context.resend(_jobs_to_resend(context, outcome, message))


def _jobs_to_resend(context: WorkerContext, outcome: Outcome, message: JobMessage) -> list[str]:
    """Jobs that wait and have no message: this one after a stop, its parts, or what it was the last part of."""
    if outcome.plans:
        return list(outcome.plans[-1])
    if outcome.state is None:
        return [outcome.job]
    whole = [message.parent] if message.parent else []
    return [job_id for job_id, state in zip(whole, context.prompt.states(whole), strict=True) if state is State.QUEUED]


@contextlib.contextmanager
def _logged(context: WorkerContext, task: Task[Any, Any], job_id: str, number: int) -> Iterator[Writer | None]:
    """Keep what the block logs and prints; when it ends, all of it is in Redis, where that is there."""
    name = f"{job_id}.{number}"
    owns_process = context.worker_pid != os.getpid()
    try:
        with captured(Spool(context.logs, name), task.function.__module__, owns_process=owns_process) as writer:
            yield writer
    finally:
        with contextlib.suppress(redis.RedisError):
            context.scribe.finish(name)


def _outcome(
    context: WorkerContext,
    task: Task[Any, Any],
    job_id: str,
    number: int,
    message: JobMessage,
    reporter: Reporter,
) -> Outcome:
    """Run the task; whatever it does becomes an outcome."""
    try:
        with context.cache.scratch(f"{job_id}.{number}") as scratch:
            attempt = _attempt(context, job_id, number, scratch, reporter)
            outputs, measures, input_bytes = _run(context, task, attempt, message, scratch)
    except StoppedError:
        return Outcome(job_id, number, None)
    except DividedError as error:
        return Outcome(job_id, number, None, plans=error.plans)
    except Exception as error:
        logger.warning("job %s attempt %d failed:\n%s", job_id, number, traceback.format_exc())
        return Outcome(job_id, number, State.FAILED, error=describe(error))
    return Outcome(job_id, number, State.SUCCEEDED, outputs, measures, input_bytes=input_bytes)


def _attempt(context: WorkerContext, job_id: str, number: int, scratch: Path, reporter: Reporter) -> Attempt:
    return Attempt(
        job=job_id,
        number=number,
        worker=context.worker,
        host=context.host,
        worker_pid=context.worker_pid,
        trace_folder=context.settings.trace_dir,
        stop_flag=context.slots.stop_flag,
        report=reporter,
        checkpoints=Checkpoints(
            job_id, number, scratch / "checkpoint", context.prompt, context.blobs.area(f"checkpoint/{job_id}")
        ),
        cache_folder=context.settings.cache / "tasks",
        allows_scripts=context.settings.allow_scripts,
        divide=Division(job_id, context.patient, context.blobs, context.settings.max_attempts, context.signer),
    )


def _run(
    context: WorkerContext, task: Task[Any, Any], attempt: Attempt, message: JobMessage, scratch: Path
) -> tuple[dict[str, Json], dict[str, Json], int]:
    """Run the task on its files; returns the references of what it wrote, its measures, and the bytes that it read."""
    files = {parameter.name: parameter for parameter in (*task.reads, *task.writes)}
    inputs = {name: fetch(context.cache, scratch, files[name], source) for name, source in message.inputs.items()}
    input_bytes = size_bytes(inputs.values())
    values: dict[str, Any] = {**message.parameters, **inputs}
    paths = {name: output_path(scratch, files[name], file_name) for name, file_name in message.outputs.items()}
    try:
        with running(attempt):
            result = task.function(**task.arguments(task.check(values | paths)))
    except BaseException:
        attempt.checkpoints.close()
        raise
    finally:
        attempt.report.flush()
    outputs: dict[str, Json] = {name: str(_store(context, task, files[name], path)) for name, path in paths.items()}
    attempt.checkpoints.close()
    attempt.checkpoints.discard()
    return outputs, to_measures(result), input_bytes


def _store(context: WorkerContext, task: Task[Any, Any], parameter: Parameter, path: Path) -> Reference:
    if not (path.is_dir() if parameter.is_folder else path.is_file()):
        raise StagingError(
            f"{task.wire_name} ended without an error but wrote no {parameter.name}. This is a bug in the task."
        )
    return store(context.blobs, path)


def describe(error: BaseException) -> dict[str, str]:
    """Kind and sentence of an error, as a record keeps them."""
    if isinstance(error, HiveError):
        return {"kind": error.kind, "message": str(error)}
    if isinstance(error, MemoryError):
        return {"kind": "out-of-memory", "message": "The task asked for more memory than the worker has."}
    if isinstance(error, OSError) and error.errno is not None:
        return {"kind": "os-error", "message": f"{type(error).__name__}: {error}"}
    where = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{Path(where.filename).name}:{where.lineno}"
    return {"kind": "task-error", "message": f"{type(error).__name__}: {error} (in {line})"}

"""One attempt at a job: fetch its files, run the task, bring back what it wrote."""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive.errors import HiveError, StagingError
from hive.jobs import JobStore, State
from hive.settings import Settings
from hive.staging import BlobStore, Cache, Reference, digest_of, safe_name
from hive.task import Attempt, Progress, Task
from hive.task.context import running
from hive.task.results import to_measures
from hive.task.values import Json

logger = logging.getLogger(__name__)
# Progress goes to Redis at most this often; the last one of an attempt always does.
_PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True)
class Place:
    """Where attempts run: this worker's name, and its connections."""

    settings: Settings
    store: JobStore
    blobs: BlobStore
    cache: Cache
    worker: str
    host: str
    worker_pid: int


def run_attempt(place: Place, task: Task[Any, Any], job_id: str, asked: Mapping[str, Any]) -> None:
    """Run a job once and keep what came of it in its record.

    Does nothing where the job is finished or has used up its attempts. Never raises for what the task does: a failed
    job is a kept result, not a failed message.
    """
    number = place.store.start(job_id, place.worker, place.host, place.settings.max_attempts)
    if not number:
        logger.info("job %s needs no further attempt", job_id)
        return
    reporter = _Reporter(lambda progress: place.store.report(job_id, number, progress))
    attempt = Attempt(
        job=job_id,
        number=number,
        worker=place.worker,
        host=place.host,
        worker_pid=place.worker_pid,
        trace_folder=place.settings.trace_dir,
        report=reporter,
    )
    try:
        outputs, measures = _run(place, task, attempt, asked)
    except Exception as error:
        logger.warning("job %s attempt %d failed:\n%s", job_id, number, traceback.format_exc())
        kept = place.store.finish(job_id, number, State.FAILED, error=_describe(error))
    else:
        reporter.flush()
        kept = place.store.finish(job_id, number, State.SUCCEEDED, outputs=outputs, measures=measures)
    if not kept:
        logger.warning("job %s attempt %d came too late: a newer attempt has taken over", job_id, number)


def _run(
    place: Place, task: Task[Any, Any], attempt: Attempt, asked: Mapping[str, Any]
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Returns the references of the written files, and the measures."""
    with place.cache.scratch(attempt.job) as scratch:
        values = dict(asked["parameters"])
        values |= {name: _fetch(place, scratch, name, wanted) for name, wanted in asked["inputs"].items()}
        written = {name: _output_path(scratch, name, wanted) for name, wanted in asked["outputs"].items()}
        with running(attempt):
            result = task.function(**task.check(values | written))
        return {name: str(_store(place, task, name, path)) for name, path in written.items()}, to_measures(result)


def _fetch(place: Place, scratch: Path, name: str, wanted: Json) -> Path | list[Path]:
    """Put the file or files of one parameter into a folder of their own, so that equal names do not meet."""
    if isinstance(wanted, list):
        return [path for number, one in enumerate(wanted) for path in _fetched(place, scratch, f"{name}.{number}", one)]
    return _fetched(place, scratch, name, wanted)[0]


def _fetched(place: Place, scratch: Path, label: str, wanted: Json) -> list[Path]:
    folder = scratch / "in" / label
    folder.mkdir(parents=True)
    return [place.cache.place(Reference.parse(str(wanted)), folder)]


def _output_path(scratch: Path, name: str, wanted: str) -> Path:
    folder = scratch / "out" / safe_name(name)
    folder.mkdir(parents=True)
    return folder / safe_name(wanted)


def _store(place: Place, task: Task[Any, Any], name: str, path: Path) -> Reference:
    if not path.is_file():
        raise StagingError(f"{task.wire_name} ended well but did not write its {name}. This is a mistake in the task.")
    reference = Reference(digest_of(path), path.name)
    if not place.blobs.has(reference.digest):
        place.blobs.put(path, reference)
    return reference


def _describe(error: BaseException) -> dict[str, str]:
    if isinstance(error, HiveError):
        return {"kind": error.kind, "message": str(error)}
    if isinstance(error, MemoryError):
        return {"kind": "out-of-memory", "message": "The task asked for more memory than the worker has."}
    if isinstance(error, OSError) and error.errno is not None:
        return {"kind": "os-error", "message": f"{type(error).__name__}: {error}"}
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return {"kind": "task-error", "message": f"{type(error).__name__}: {error} (in {place})"}


class _Reporter:
    """Sends progress on, but not more often than anybody can read it."""

    def __init__(self, send: Callable[[Progress], object]) -> None:
        self._send = send
        self._next = 0.0
        self._held: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Send the progress now if it is time, otherwise hold it."""
        self._held = progress
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held is not None:
            self._send(self._held)
            self._held = None
            self._next = time.monotonic() + _PROGRESS_EVERY_S

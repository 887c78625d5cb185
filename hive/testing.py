"""A Hive in this process, for tests and notebooks: no Redis, no worker, no network.

import hive.testing
from hive_workers.test.probe import probe

with hive.testing.local() as here:
    print(here.submit(probe, message="hello").result().message)
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hive.client import Client
from hive.client.job import failure_of
from hive.client.map import Mapped, Outcome
from hive.client.observer import Observer
from hive.client.plan import Item
from hive.client.request import Request
from hive.client.session import check_folder, has_ended, has_not_failed, make_specification
from hive.client.transfer import Downloads, Uploads
from hive.errors import BadFileError, HiveError, JobStateError, NotFoundError, StagingError, StoppedError
from hive.settings import host_name, load_settings
from hive.staging import Cache, Reference, Remote, open_store
from hive.staging.contents import Digests
from hive.store import JobFilter, LogEntry, Page, new_id
from hive.task import Attempt, Progress
from hive.task.context import running
from hive.task.values import to_measures
from hive.wire.job import JobRecord, Specification, State, rfc3339
from hive.worker.attempt import describe
from hive.worker.files import fetch, output_path, store

_WORKER = "local"
_FAILED = (State.FAILED, State.CANCELLED)
_INFORMATION = logging.INFO


def local(*, slots: int = 1) -> Client:
    """Make a client whose tasks run in this process, `slots` at a time; its files are removed when it is closed.

    A job that runs is cancelled when its task next reports progress or asks whether to stop. Parts run in the job that
    plans them, one after the other.
    """
    return Client.on(_Local(slots))


@dataclass
class _Entry:
    """A job: its request, its record and its log."""

    request: Request
    record: JobRecord
    lines: list[LogEntry] = field(default_factory=list)


class _Local:
    """Carries out jobs in threads of this process; the methods are those of `hive.client.backend.Backend`."""

    def __init__(self, slots: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hive-local-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name)
        self.settings = load_settings({"home": self._path / "home"}, {})
        self._blobs = open_store(self.settings)
        self._cache = Cache(self._path / "cache", self._blobs, self.settings.cache_max_bytes)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="hive-local")
        self._changed = threading.Condition()
        self._jobs: dict[str, _Entry] = {}
        self._requested: dict[Hashable, str] = {}

    def submit(self, request: Request) -> str:
        """Copy the job's files into the store, and let it wait for a slot."""
        return self._start(request, self._specify(request))

    def _specify(self, request: Request) -> Specification:
        _refuse_urls(request)
        [inputs] = Uploads(self._blobs, Digests(self.settings.home)).stage([request], Observer())
        return make_specification(request, inputs, self.settings.max_attempts)

    def _start(self, request: Request, specification: Specification) -> str:
        job_id, now = new_id(), datetime.now(UTC)
        record = JobRecord(
            job_id, specification, State.QUEUED, now, story=({"at": rfc3339(now), "event": "submitted"},)
        )
        with self._changed:
            self._jobs[job_id] = _Entry(request, record)
        self._pool.submit(self._run, job_id)
        return job_id

    def _retry_failed(self, job_id: str) -> None:
        job = self._jobs[job_id].record
        if job.state in _FAILED:
            self.retry(job)

    def submit_all(self, items: Sequence[Item], *, again: bool) -> list[Mapped]:
        """Submit what an earlier call of this client has not done; what had failed is tried again."""
        seen: Counter[Hashable] = Counter()
        ids = []
        for item in items:
            specification = self._specify(item.request)
            # The function and not its name: a notebook may have defined it anew.
            what = (id(item.request.task.function), specification.to_json(), tuple(item.request.destinations.items()))
            seen[what] += 1
            key = (*what, seen[what])
            if again or key not in self._requested:
                self._requested[key] = self._start(item.request, specification)
            else:
                self._retry_failed(self._requested[key])
            ids.append(self._requested[key])
        return [
            Mapped(item.name, job_id, item.request.queue, item.request.destinations)
            for item, job_id in zip(items, ids, strict=True)
        ]

    def gather(self, mapped: Sequence[Mapped], timeout_s: float | None) -> Iterator[Outcome]:
        """Give each job's outcome as it ends."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        left = {job.id: job for job in mapped}
        while left:
            with self._changed:
                left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._changed.wait_for(lambda: any(self._is_over(job_id) for job_id in left), left_s)
                ended = [job_id for job_id in left if self._is_over(job_id)]
            if not ended:
                return
            for job_id in ended:
                yield self._outcome(left.pop(job_id))

    def _is_over(self, job_id: str) -> bool:
        return self._jobs[job_id].record.state.is_final

    def _outcome(self, mapped: Mapped) -> Outcome:
        job = self._jobs[mapped.id].record
        if job.state is not State.SUCCEEDED:
            return Outcome(mapped, job, {}, {"kind": str(job.state), **(job.error or {"message": failure_of(job)})})
        try:
            return Outcome(mapped, job, self.fetch(job, None, force=False))
        except HiveError as error:
            return Outcome(mapped, job, {}, {"kind": error.kind, "message": str(error)})

    def find(self, prefix: str) -> JobRecord:
        """Look up a job of this client."""
        ids = [job_id for job_id in list(self._jobs) if prefix and job_id.startswith(prefix)]
        if len(ids) != 1:
            words = f"{prefix!r} begins the ids of several jobs" if ids else f"There is no job {prefix!r}"
            raise NotFoundError(f"{words}. List them: here.jobs().")
        return self._jobs[ids[0]].record

    def page(self, filters: JobFilter, limit: int, after: str) -> Page:
        """List the jobs of this client, newest first."""
        ids = list(self._jobs)[::-1]
        rest = ids[ids.index(after) + 1 :] if after else ids
        records = [job for job_id in rest if filters.admits(job := self._jobs[job_id].record)]
        return Page(records[:limit], records[limit - 1].id if len(records) > limit else "")

    def states(self, job_ids: Sequence[str]) -> list[State | None]:
        """Where jobs stand."""
        return [self._jobs[job_id].record.state if job_id in self._jobs else None for job_id in job_ids]

    def watch(self, job_id: str, timeout_s: float | None) -> JobRecord:
        """Wait until a job has ended or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(job_id), timeout_s)
            return self._jobs[job_id].record

    def logs(self, job_id: str, *, follow: bool) -> Iterator[LogEntry]:
        """Give the lines that are there; with `follow`, also those that come."""
        lines = self._jobs[job_id].lines
        if not follow:
            return iter(list(lines))
        return self._follow(job_id, lines)

    def _follow(self, job_id: str, lines: list[LogEntry]) -> Iterator[LogEntry]:
        number = 0
        while (line := self._line(job_id, lines, number)) is not None:
            yield line
            number += 1

    def _line(self, job_id: str, lines: Sequence[LogEntry], number: int) -> LogEntry | None:
        """Wait for a line; None where the job has ended without it."""
        with self._changed:
            self._changed.wait_for(lambda: len(lines) > number or self._is_over(job_id))
            return lines[number] if len(lines) > number else None

    def cancel(self, job: JobRecord) -> None:
        """Cancel a job; one that runs ends when it next reports progress."""
        error = {"kind": "cancelled", "message": "It was cancelled."}
        with self._changed:
            job = self._jobs[job.id].record
            if job.state.is_final:
                raise has_ended(job)
            self._change(job.id, "cancelled", state=State.CANCELLED, error=error, finished_at=datetime.now(UTC))
        self._stop_flag(job.id, job.attempts).touch()

    def retry(self, job: JobRecord) -> None:
        """Let a failed or cancelled job wait again."""
        with self._changed:
            job = self._jobs[job.id].record
            if job.state not in _FAILED:
                raise has_not_failed(job)
            self._change(job.id, "retried", state=State.QUEUED, error=None, finished_at=None, progress=None)
        self._pool.submit(self._run, job.id)

    def destinations(self, job_id: str) -> dict[str, Path]:
        """Where the written files shall go, as was said at the submission."""
        return dict(self._jobs[job_id].request.destinations)

    def places(self, job: JobRecord) -> dict[str, Path]:
        """The same for those files that were written."""
        destinations = self.destinations(job.id)
        return {name: destinations[name] for name in job.outputs}

    def fetch(self, job: JobRecord, folder: Path | None, *, force: bool) -> dict[str, Path]:
        """Copy the written files out of the store."""
        check_folder(folder)
        names = {name: Reference.parse(text).name for name, text in job.outputs.items()}
        places = self.places(job) if folder is None else {name: folder / file for name, file in names.items()}
        Downloads(self._blobs, Observer(), force=force).download(job, places)
        return places

    def close(self) -> None:
        """Cancel what waits or runs, and remove all files."""
        for entry in list(self._jobs.values()):
            with contextlib.suppress(JobStateError):
                self.cancel(entry.record)
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def _change(self, job_id: str, event: str = "", **values: Any) -> None:  # noqa: ANN401  fields of a record
        """Change a job's record, and tell all that wait."""
        with self._changed:
            entry = self._jobs[job_id]
            events = ({"at": rfc3339(datetime.now(UTC)), "event": event},) if event else ()
            entry.record = replace(entry.record, **values, story=(*entry.record.story, *events))
            self._changed.notify_all()

    def _run(self, job_id: str) -> None:
        """Run a job, unless it was cancelled or is run already."""
        with self._changed:
            job = self._jobs[job_id].record
            if job.state is not State.QUEUED:
                return
            number = job.attempts + 1
            where = {"worker": _WORKER, "host": host_name(), "started_at": datetime.now(UTC)}
            self._change(job_id, "started", state=State.RUNNING, attempts=number, **where)
        try:
            ended = {"state": State.SUCCEEDED, **self._carry_out(job_id, number)}
        except BaseException as error:  # whatever a task does becomes the end of its job, as on a worker
            ended = {"state": State.FAILED, "error": describe(error)}
        self._finish(job_id, number, ended)

    def _finish(self, job_id: str, number: int, ended: Mapping[str, Any]) -> None:
        """Keep how an attempt ended, where it was not cancelled meanwhile."""
        with self._changed:
            job = self._jobs[job_id].record
            if job.state is State.RUNNING and job.attempts == number:
                self._change(job_id, str(ended["state"]), finished_at=datetime.now(UTC), **ended)

    def _carry_out(self, job_id: str, number: int) -> dict[str, Any]:
        """Run the task on copies of its files; returns the references of what it wrote, and its measures."""
        entry = self._jobs[job_id]
        task, specification = entry.request.task, entry.record.specification
        files = {parameter.name: parameter for parameter in (*task.reads, *task.writes)}
        with tempfile.TemporaryDirectory(dir=self._path, prefix=f"{job_id}.{number}.") as folder:
            scratch = Path(folder)
            inputs = {
                name: fetch(self._cache, scratch, files[name], value) for name, value in specification.inputs.items()
            }
            places = {name: output_path(scratch, files[name], value) for name, value in specification.outputs.items()}
            with self._logged(job_id, number, task.function.__module__), running(self._attempt(job_id, number)):
                result = task.function(**task.arguments(task.check({**specification.parameters, **inputs, **places})))
            for name, path in places.items():
                if not path.exists():
                    raise StagingError(f"{task.wire_name} ended well but did not write its {name}: a bug in the task.")
            outputs = {name: str(store(self._blobs, path)) for name, path in places.items()}
        return {"outputs": outputs, "measures": to_measures(result)}

    def _attempt(self, job_id: str, number: int) -> Attempt:
        checkpoint = self._path / "checkpoints" / job_id
        return Attempt(
            job=job_id,
            number=number,
            worker=_WORKER,
            host=host_name(),
            worker_pid=os.getpid(),
            trace_folder=None,
            stop_flag=self._stop_flag(job_id, number),
            report=_Reporter(lambda progress: self._report(job_id, number, progress)),
            checkpoints=_Checkpoints(checkpoint),
            cache_folder=self._path / "tasks",
            allows_scripts=True,
        )

    def _stop_flag(self, job_id: str, number: int) -> Path:
        return self._path / f"{job_id}.{number}.stop"

    def _report(self, job_id: str, number: int, progress: Progress) -> None:
        """Keep how far an attempt has come; one that was cancelled ends here."""
        with self._changed:
            job = self._jobs[job_id].record
            if job.state is not State.RUNNING or job.attempts != number:
                raise StoppedError("The job was cancelled.")
            self._change(job_id, progress=progress)

    @contextmanager
    def _logged(self, job_id: str, number: int, module: str) -> Iterator[None]:
        """Keep what this thread logs and prints until the block ends."""

        def keep(level: str, text: str) -> None:
            with self._changed:
                lines = self._jobs[job_id].lines
                lines.append(LogEntry(f"{len(lines) + 1}-0", datetime.now(UTC), level, number, text))
                self._changed.notify_all()

        own = logging.getLogger(module.partition(".")[0])
        level = own.level
        handler = _Handler(keep)
        if level == logging.NOTSET:
            own.setLevel(_INFORMATION)  # as on a worker
        logging.getLogger().addHandler(handler)
        try:
            with _printed("stdout", keep), _printed("stderr", keep):
                yield
        finally:
            logging.getLogger().removeHandler(handler)
            own.setLevel(level)


def _refuse_urls(request: Request) -> None:
    for sources in request.sources.values():
        for source in sources:
            if isinstance(source, Remote):
                raise BadFileError(f"{source} cannot be read here: hive.testing.local() uses no network. Name a file.")


class _Reporter:
    """Takes progress on its way into the record."""

    def __init__(self, keep: Callable[[Progress], None]) -> None:
        self._keep = keep

    def __call__(self, progress: Progress) -> None:
        self._keep(progress)

    def flush(self) -> None:
        """Do nothing: nothing is held."""


@dataclass(frozen=True)
class _Checkpoints:
    """Keeps a folder until the job has succeeded or the client is closed."""

    folder: Path

    def open(self) -> Path:
        """Give the folder, with what the last attempt wrote."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def close(self) -> None:
        """Do nothing: what is written stays in the folder."""

    def discard(self) -> None:
        """Leave it to the end of the client."""


class _Handler(logging.Handler):
    """Copies what one thread logs."""

    def __init__(self, keep: Callable[[str, str], None]) -> None:
        super().__init__()
        self._keep = keep
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Copy one record."""
        if record.thread == self._thread:
            for line in self.format(record).splitlines():
                self._keep(record.levelname, line)


class _Stream(io.TextIOBase):
    """Copies what one thread prints, line by line; what others print goes where it went before."""

    def __init__(self, level: str, own: Any, keep: Callable[[str, str], None]) -> None:  # noqa: ANN401  a stream
        self._level, self._own, self._keep = level, own, keep
        self._thread: int | None = threading.get_ident()
        self._line = ""

    def write(self, text: str) -> int:
        """Keep whole lines."""
        if threading.get_ident() != self._thread:
            return int(self._own.write(text))
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._keep(self._level, line)
        return len(text)

    def flush(self) -> None:
        """Hand over what others have printed."""
        self._own.flush()

    def let_go(self) -> None:
        """Keep what is left of a line; from now on all goes where it went before."""
        if self._line:
            self._keep(self._level, self._line)
        self._thread = None


@contextmanager
def _printed(name: str, keep: Callable[[str, str], None]) -> Iterator[None]:
    """Copy what this thread prints until the block ends.

    `sys.stdout` is one for all threads: that is why the stream passes on what comes from others, and why it stays in
    place, passing on all, where somebody else has put another one in front meanwhile.
    """
    own = getattr(sys, name)
    stream = _Stream(name.upper(), own, keep)
    setattr(sys, name, stream)
    try:
        yield
    finally:
        stream.let_go()
        if getattr(sys, name) is stream:
            setattr(sys, name, own)

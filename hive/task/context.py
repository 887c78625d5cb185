"""What a running task can ask of Hive: report progress, and learn which attempt of which job it is."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Progress:
    """How far a job has come: `done` of `total` [unit]; total is None where it is unknown."""

    done: int | float  # a count stays a whole number when it is read back from JSON
    total: int | float | None
    unit: str
    message: str

    @property
    def words(self) -> str:
        """The progress in words.

        >>> Progress(3, 4, "steps", "writing the raster").words
        '3 of 4 steps, writing the raster'
        """
        counted = f"{self.done:g}" + (f" of {self.total:g}" if self.total is not None else "")
        return ", ".join(filter(None, [f"{counted} {self.unit}".rstrip(), self.message]))


class Reporter(Protocol):
    """Passes progress on to those who wait."""

    def __call__(self, progress: Progress) -> None:
        """Send the progress now, or buffer it."""

    def flush(self) -> None:
        """Send what is buffered."""


class CheckpointFolder(Protocol):
    """Keeps a folder beyond the attempt."""

    def open(self) -> Path:
        """Restore what the last attempt wrote; returns the folder."""

    def close(self) -> None:
        """Store what is new."""

    def discard(self) -> None:
        """Delete what was stored."""


class Divider(Protocol):
    """Distributes the parts of a job to workers."""

    def __call__(self, plan: Sequence[Any], /) -> list[Any]:
        """Send the parts and end the attempt, or where they are done, return what they measured."""


@dataclass(frozen=True)
class Attempt:
    """One start of a job on a worker.

    `cache_folder` is for what later jobs of this machine use too; `allows_scripts` is whether its owner lets users'
    scripts run here; `divide` distributes parts.
    """

    job: str
    number: int
    worker: str
    host: str
    worker_pid: int
    trace_folder: Path | None
    stop_flag: Path
    report: Reporter
    checkpoints: CheckpointFolder
    cache_folder: Path
    allows_scripts: bool
    divide: Divider | None = None


_current: ContextVar[Attempt | None] = ContextVar("hive_attempt", default=None)


def current_attempt() -> Attempt | None:
    """The attempt that is running here; None in a task that was called as a plain function."""
    return _current.get()


def progress(done: float, total: float | None = None, unit: str = "", message: str = "") -> None:
    """Report how far the task has come; does nothing in a task that was called as a plain function."""
    attempt = _current.get()
    if attempt is not None:
        attempt.report(Progress(done, total, unit, message))


def checkpoint() -> Path:
    """A folder that outlives the attempt: the next one finds what was written there, on whichever machine.

    Write to a hidden name (`.state.pt`) and rename, so that only complete files are stored. In a task that was called
    as a plain function, the folder is a new temporary one.
    """
    attempt = _current.get()
    return attempt.checkpoints.open() if attempt is not None else Path(tempfile.mkdtemp(prefix="hive-checkpoint-"))


def stopping() -> bool:
    """Whether the worker wants to stop.

    A task that sees this saves its state into `checkpoint()` and raises `StoppedError`; it is started again elsewhere
    at once. A task that does not look is killed when the grace period is over.
    """
    attempt = _current.get()
    return attempt is not None and attempt.stop_flag.exists()


@contextmanager
def running(attempt: Attempt) -> Iterator[None]:
    """Make this attempt the current one of this thread; used by the worker."""
    token = _current.set(attempt)
    try:
        yield
    finally:
        _current.reset(token)

"""What a running task can ask of Hive: report progress, and learn which attempt of which job it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """How far a job has come: `done` of `total` [unit]; total is None where nobody knows it."""

    done: float
    total: float | None
    unit: str
    message: str


@dataclass(frozen=True)
class Attempt:
    """One start of a job on a worker."""

    job: str
    number: int
    worker: str
    host: str
    worker_pid: int
    trace_folder: Path | None
    report: Callable[[Progress], None]


_current: ContextVar[Attempt | None] = ContextVar("hive_attempt", default=None)


def current_attempt() -> Attempt | None:
    """Tell which attempt is running here; None where the task was called as a plain function."""
    return _current.get()


def progress(done: float, total: float | None = None, unit: str = "", message: str = "") -> None:
    """Report how far the task has come; does nothing where the task was called as a plain function."""
    attempt = _current.get()
    if attempt is not None:
        attempt.report(Progress(done, total, unit, message))


@contextmanager
def running(attempt: Attempt) -> Iterator[None]:
    """Make this attempt the current one of this thread; used by the worker."""
    token = _current.set(attempt)
    try:
        yield
    finally:
        _current.reset(token)

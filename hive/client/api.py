"""The Python API: submit a task as if it were called, and get its result as the type that it declares.

from workers.gis.dtm import dtm
import hive

job = hive.submit(dtm, Path("tile.laz"), Path("dtm.tif"), cell=0.5)
print(job.result().ground_points)

What is not the task's own business is said before: hive.options(priority="high").submit(dtm, …).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from hive.client import control
from hive.client.request import make_request
from hive.client.session import Session
from hive.errors import JobFailedError
from hive.jobs import Job, Priority, State
from hive.settings import load_settings
from hive.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class RemoteJob(Generic[R]):
    """A job that was submitted; `R` is what its task returns."""

    def __init__(self, session: Session, task: Task[..., R], job_id: str) -> None:
        self._session = session
        self._task = task
        self.id = job_id

    @property
    def record(self) -> Job:
        """The job's record as it is now."""
        return self._session.find(self.id)

    @property
    def state(self) -> State:
        """Where the job stands."""
        return self.record.state

    def wait(self, timeout_s: float | None = None) -> Job:
        """Wait until the job is finished, or the time [s] is over; returns its record."""
        return self._session.watch(self.id, timeout_s=timeout_s)

    def result(self, timeout_s: float | None = None) -> R:
        """Wait, bring the written files back, and return what the task measured.

        Raises
        ------
        JobFailedError
            The job failed or was cancelled.
        TimeoutError
            The time [s] is over; the job goes on.
        """
        job = self.wait(timeout_s)
        if not job.state.is_final:
            raise TimeoutError(f"The job {job.short_id} is still {job.state} after {timeout_s:g} s.")
        if job.state is not State.SUCCEEDED:
            raise JobFailedError(failure_of(job))
        self._session.fetch(job)
        return self._task.result_from(job.measures)

    def cancel(self) -> None:
        """Stop the job; its worker ends the processes of one that runs.

        Raises
        ------
        JobStateError
            The job had ended before.
        """
        control.cancel(self._session, self.record)

    def retry(self) -> None:
        """Run a failed or cancelled job again, under the same id.

        Raises
        ------
        JobStateError
            The job is neither failed nor cancelled.
        """
        control.retry(self._session, self.record)

    def fetch(self, folder: Path | None = None, *, force: bool = False) -> dict[str, Path]:
        """Bring the written files back; returns where each one is."""
        return self._session.fetch(self.record, folder, force=force)


@dataclass(frozen=True)
class Options:
    """How jobs are submitted: which of the queue go first (low, normal or high), and to which queue."""

    priority: str = Priority.NORMAL
    queue: str | None = None

    def submit(self, task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> RemoteJob[R]:
        """Submit a task with the arguments of its function; they are checked as its signature says.

        Raises
        ------
        UsageError
            An argument, a file, the priority or the queue is not acceptable; nothing was sent.
        UnreachableError
            Broker or store do not answer; nothing was sent.
        """
        session = Session(load_settings())
        request = make_request(task, task.bind(*args, **kwargs), self.queue, self.priority)
        return RemoteJob(session, task, session.submit(request))


def options(*, priority: str = Priority.NORMAL, queue: str | None = None) -> Options:
    """Say how jobs shall be submitted: `hive.options(priority="high").submit(dtm, …)`."""
    return Options(priority, queue)


def submit(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> RemoteJob[R]:
    """Submit a task with the arguments of its function; they are checked as its signature says.

    Raises
    ------
    UsageError
        An argument or a file is not acceptable; nothing was sent.
    UnreachableError
        Broker or store do not answer; nothing was sent.
    """
    return Options().submit(task, *args, **kwargs)


def failure_of(job: Job) -> str:
    """One sentence on why a job did not succeed."""
    if job.error:
        return job.error["message"]
    return f"The job {job.short_id} is {job.state}."

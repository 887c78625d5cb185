"""Jobs as Python objects: submit a task as if it were called, wait, bring the results back.

from hive_workers.gis.dtm import dtm
import hive

job = hive.submit(dtm, Path("tile.laz"), Path("dtm.tif"), cell=0.5)
print(job.result().ground_points)

Many files, one job for each:

for ground in hive.map(dtm, Path("tiles").glob("*.laz"), out=Path("models"), cell=0.5).results():
    print(ground.mean)

Job-wide options come before it: hive.with_options(priority="high").submit(dtm, …).
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Generic, ParamSpec, Self, TypeVar, overload

from hive.client import wait
from hive.client.map import Mapped, Outcome, gather, send_items
from hive.client.observer import Observer
from hive.client.plan import Plan, make_items
from hive.client.request import make_request
from hive.client.session import Session
from hive.errors import HiveError, JobFailedError
from hive.options import USUAL, JobOptions
from hive.settings import load_settings
from hive.store import LogEntry
from hive.store.connection import reachable
from hive.task import Progress, Task
from hive.wire.job import JobRecord, State

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class Job(Generic[R]):
    """A job that was submitted; `R` is what its task returns, `name` the input that it was mapped over.

    A notebook shows it by its state. Interrupting a cell that waits leaves the job alone.
    """

    def __init__(self, session: Session, task: Task[..., R], job_id: str, name: str = "") -> None:
        self._session = session
        self._task = task
        self.id = job_id
        self.name = name

    def __repr__(self) -> str:
        """Name the job and say where it stands."""
        return f"<{self._title()}: {self._standing()}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(self._title())}</code>: <b>{escape(self._standing())}</b>"

    def _title(self) -> str:
        return " ".join(filter(None, ["job", self.id[:8], self._task.wire_name, self.name]))

    def _standing(self) -> str:
        """The state in words; a notebook shows its cells also where the broker is away."""
        try:
            job = self.record
        except HiveError as error:
            return f"unknown. {error}"
        if job.state is State.RUNNING and job.progress is not None:
            return f"running, {job.progress.words}"
        return f"{job.state}. {failure_of(job)}" if job.error else str(job.state)

    @property
    def record(self) -> JobRecord:
        """The job's record as it is now."""
        return self._session.find(self.id)

    @property
    def state(self) -> State:
        """Where the job stands."""
        return self.record.state

    @property
    def progress(self) -> Progress | None:
        """How far the job has come; None where it has reported nothing yet."""
        return self.record.progress

    def logs(self, *, follow: bool = False) -> Iterator[LogEntry]:
        """Give the lines of the job's log that are there; with `follow` also each new one, until the job has ended.

        Raises
        ------
        UnreachableError
            The broker does not answer; a log that is followed waits for it.
        """
        if follow:
            return wait.follow(self._session, self.id, Observer())
        with reachable(self._session.settings):
            return iter(list(self._session.logs.read(self.id)))

    @property
    def failure(self) -> str | None:
        """One sentence on why the job has failed or was cancelled; None where it has done neither."""
        job = self.record
        return failure_of(job) if job.state in (State.FAILED, State.CANCELLED) else None

    def wait(self, timeout_s: float | None = None) -> JobRecord:
        """Wait until the job is finished, or the time [s] is over; returns its record."""
        return wait.watch(self._session, self.id, timeout_s=timeout_s)

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
        self._session.cancel(self.record)

    def retry(self) -> None:
        """Run a failed or cancelled job again, under the same id.

        Raises
        ------
        JobStateError
            The job is neither failed nor cancelled.
        """
        self._session.retry(self.record)

    def fetch(self, folder: Path | None = None, *, force: bool = False) -> dict[str, Path]:
        """Bring the written files back; returns where each one is."""
        return self._session.fetch(self.record, folder, force=force)


@dataclass(frozen=True)
class Submission:
    """Submits jobs with job-wide options."""

    options: JobOptions = USUAL

    def submit(self, task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submit a task with the arguments of its function; they are checked as its signature says.

        Raises
        ------
        UsageError
            An argument, a file, the priority or the queue is not acceptable; nothing was sent.
        BudgetError
            It will cost more than it may; nothing was sent.
        UnreachableError
            Broker or store do not answer; nothing was sent.
        """
        session = Session(load_settings())
        request = make_request(task, task.bind(*args, **kwargs), self.options)
        session.check_budget([request], logger.warning)
        return Job(session, task, session.submit(request))

    def map(
        self,
        task: Task[..., R],
        files: Iterable[str | Path] | str | Path = (),
        /,
        *,
        out: str | Path | None = None,
        count: int | None = None,
        again: bool = False,
        **values: object,
    ) -> "Jobs[R]":
        """Submit one job for each file, or the same one `count` times; see `hive.map`."""
        plan = Plan(
            task=task,
            files=[files] if isinstance(files, str | Path) else list(files),
            count=count,
            out=Path(out) if out is not None else None,
            values=values,
            options=self.options,
        )
        session, items = Session(load_settings()), make_items(plan)
        session.check_budget([item.request for item in items], logger.warning)
        mapped = send_items(session, items, again=again)
        return Jobs(session, task, mapped, [Job(session, task, one.id, one.name) for one in mapped])


def with_options(**values: object) -> Submission:
    """Submit with job-wide options: `hive.with_options(priority="high").submit(dtm, …)`; see `hive.options`."""
    return Submission(JobOptions.read(values))


def submit(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]:
    """Submit a task with the arguments of its function; they are checked as its signature says.

    Raises
    ------
    UsageError
        An argument or a file is not acceptable; nothing was sent.
    UnreachableError
        Broker or store do not answer; nothing was sent.
    """
    return Submission().submit(task, *args, **kwargs)


def map(
    task: Task[..., R],
    files: Iterable[str | Path] | str | Path = (),
    /,
    *,
    out: str | Path | None = None,
    count: int | None = None,
    again: bool = False,
    **values: object,
) -> "Jobs[R]":
    """Submit one job for each file; what an earlier call has done or sent is not sent again.

    Parameters
    ----------
    task : the task; the files are for the first parameter that it reads
    files : one for each job
    out : folder for the results, made where it is missing
    count : how many jobs, of a task that reads no files
    again : compute everything anew
    values : the task's other parameters, the same for all jobs

    Raises
    ------
    UsageError
        A value or some files are not acceptable; nothing was sent.
    UnreachableError
        Broker or store do not answer. The text says how many jobs are sent; the same call again sends the rest.
    """
    return Submission().map(task, files, out=out, count=count, again=again, **values)


def failure_of(job: JobRecord) -> str:
    """One sentence on why a job did not succeed."""
    if job.error:
        return job.error["message"]
    return f"The job {job.short_id} is {job.state}."


class Jobs(Sequence["Job[R]"]):
    """Jobs that were submitted together, in the order of their inputs; `R` is what their task returns.

    A notebook shows how many have ended. Interrupting a cell that waits leaves the jobs alone.
    """

    def __init__(
        self, session: "Session", task: Task[..., R], mapped: Sequence[Mapped], jobs: Sequence["Job[R]"]
    ) -> None:
        self._session = session
        self._task = task
        self._mapped = mapped
        self._jobs = jobs
        self._outcomes: dict[str, Outcome] = {}

    def __len__(self) -> int:
        """How many jobs there are."""
        return len(self._jobs)

    @overload
    def __getitem__(self, number: int) -> "Job[R]": ...

    @overload
    def __getitem__(self, number: slice) -> Sequence["Job[R]"]: ...

    def __getitem__(self, number: int | slice) -> "Job[R] | Sequence[Job[R]]":
        """The job of an input."""
        return self._jobs[number]

    def as_finished(self, timeout_s: float | None = None) -> Iterator["Job[R]"]:
        """Give each job once it has ended and its files are in place, those that have ended before first.

        Raises
        ------
        TimeoutError
            The time [s] is over; the jobs go on.
        """
        jobs = {job.id: job for job in self._jobs}
        yield from [jobs[job_id] for job_id in self._outcomes]
        left = [one for one in self._mapped if one.id not in self._outcomes]
        for outcome in gather(self._session, left, timeout_s=timeout_s):
            self._outcomes[outcome.mapped.id] = outcome
            yield jobs[outcome.mapped.id]
        still = len(self._jobs) - len(self._outcomes)
        if still:
            raise TimeoutError(f"{still:,} of {len(self._jobs):,} jobs have not ended after {timeout_s:g} s.")

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait until all jobs have ended and their files are in place; see `failed` for those that did not succeed.

        Raises
        ------
        TimeoutError
            The time [s] is over; the jobs go on.
        """
        for _ in self.as_finished(timeout_s):
            pass
        return self

    def results(self, timeout_s: float | None = None) -> Iterator[R]:
        """Give what each job has measured, in the order of the inputs, as soon as it is there.

        Raises
        ------
        JobFailedError
            The next job has failed or was cancelled, or its files could not be brought back.
        TimeoutError
            The time [s] is over; the jobs go on.
        """
        finished = self.as_finished(timeout_s)
        for one in self._mapped:
            while one.id not in self._outcomes:
                next(finished)
            outcome = self._outcomes[one.id]
            if outcome.error is not None or outcome.job is None:
                raise JobFailedError(f"{one.name}: {(outcome.error or {}).get('message', 'it is gone')}")
            yield self._task.result_from(outcome.job.measures)

    @property
    def failed(self) -> list["Job[R]"]:
        """Those of the jobs waited for that did not succeed, or whose files could not be brought back."""
        return [job for job in self._jobs if job.id in self._outcomes and self._outcomes[job.id].error is not None]

    @property
    def failures(self) -> dict[str, str]:
        """Why the failed ones did, by the names of their inputs."""
        return {job.name: (self._outcomes[job.id].error or {})["message"] for job in self.failed}

    def __repr__(self) -> str:
        """Say how many jobs there are and where they stand."""
        return f"<{len(self._jobs):,} jobs of {self._task.wire_name}: {self._standing()}>"

    def _repr_html_(self) -> str:
        ended = sum(count for state, count in self._states().items() if state is not None and state.is_final)
        title = f"<code>{len(self._jobs):,} jobs of {escape(self._task.wire_name)}</code>"
        bar = f'<progress max="{len(self._jobs)}" value="{ended}"></progress>'
        return f"{title}: <b>{escape(self._standing())}</b> {bar}"

    def _standing(self) -> str:
        found = self._states()
        words = [f"{found[state]:,} {state}" for state in State if found[state]]
        unknown = [f"{found[None]:,} unknown"] if found[None] else []
        return ", ".join([*words, *unknown]) or "none"

    def _states(self) -> Counter[State | None]:
        """How many jobs stand where; unknown where the broker is away."""
        ids = [job.id for job in self._jobs]
        try:
            with reachable(self._session.settings):
                return Counter(self._session.jobs.states(ids))
        except HiveError:
            return Counter({None: len(ids)})

"""Jobs as Python objects: wait for them, see how far they are, bring the results back."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Generic, Self, TypeVar, cast, overload

from hive.client.backend import Backend
from hive.client.map import Mapped, Outcome
from hive.errors import HiveError, JobFailedError
from hive.store import LogEntry
from hive.task import Progress, Task
from hive.task.values import Json
from hive.wire.job import JobRecord, State

R = TypeVar("R")


class Job(Generic[R]):
    """A job that was submitted; `R` is what its task returns, `name` the input that it was mapped over.

    A notebook shows it by its state. Interrupting a cell that waits leaves the job alone.
    """

    def __init__(
        self,
        backend: Backend,
        task: Task[..., R] | None,
        job_id: str,
        name: str = "",
        *,
        task_name: str = "",
    ) -> None:
        self._backend = backend
        self._task = task
        self.task_name = task.wire_name if task is not None else task_name
        self.id = job_id
        self.name = name

    def __repr__(self) -> str:
        """Name the job and say where it stands."""
        return f"<{self._title()}: {self._standing()}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(self._title())}</code>: <b>{escape(self._standing())}</b>"

    def _title(self) -> str:
        return " ".join(filter(None, ["job", self.id[:8], self.task_name, self.name]))

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
        return self._backend.find(self.id)

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
        return self._backend.logs(self.id, follow=follow)

    @property
    def measures(self) -> Mapping[str, Json]:
        """What the task has measured, by name; empty until the job has succeeded."""
        return self.record.measures

    @property
    def outputs(self) -> dict[str, Path]:
        """Where the written files are, once they have been fetched, by parameter; empty until the job has succeeded."""
        return self._backend.places(self.record)

    @property
    def failure(self) -> str | None:
        """One sentence on why the job has failed or was cancelled; None where it has done neither."""
        job = self.record
        return failure_of(job) if job.state in (State.FAILED, State.CANCELLED) else None

    def wait(self, timeout_s: float | None = None) -> JobRecord:
        """Wait until the job is finished, or the time [s] is over; returns its record."""
        return self._backend.watch(self.id, timeout_s)

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
        self._backend.fetch(job, None, force=False)
        return self._result(job)

    def _result(self, job: JobRecord) -> R:
        """What a task that is not known here has measured is a dictionary."""
        return self._task.result_from(job.measures) if self._task is not None else cast(R, dict(job.measures))

    def cancel(self) -> None:
        """Stop the job; its worker ends the processes of one that runs.

        Raises
        ------
        JobStateError
            The job had ended before.
        """
        self._backend.cancel(self.record)

    def retry(self) -> None:
        """Run a failed or cancelled job again, under the same id.

        Raises
        ------
        JobStateError
            The job is neither failed nor cancelled.
        """
        self._backend.retry(self.record)

    def fetch(self, folder: str | Path | None = None, *, force: bool = False) -> dict[str, Path]:
        """Bring the written files back; returns where each one is."""
        return self._backend.fetch(self.record, Path(folder) if folder is not None else None, force=force)


def failure_of(job: JobRecord) -> str:
    """One sentence on why a job did not succeed."""
    if job.error:
        return job.error["message"]
    return f"The job {job.short_id} is {job.state}."


class Jobs(Sequence["Job[R]"]):
    """Jobs that were submitted together, in the order of their inputs; `R` is what their task returns.

    A notebook shows how many have ended. Interrupting a cell that waits leaves the jobs alone.
    """

    def __init__(self, backend: Backend, mapped: Sequence[Mapped], jobs: Sequence["Job[R]"]) -> None:
        self._backend = backend
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
        left = [mapped for mapped in self._mapped if mapped.id not in self._outcomes]
        for outcome in self._backend.gather(left, timeout_s):
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
        for mapped, job in zip(self._mapped, self._jobs, strict=True):
            while mapped.id not in self._outcomes:
                next(finished)
            outcome = self._outcomes[mapped.id]
            if outcome.error is not None or outcome.job is None:
                raise JobFailedError(f"{mapped.name}: {(outcome.error or {}).get('message', 'it is gone')}")
            yield job._result(outcome.job)

    @property
    def failed(self) -> list["Job[R]"]:
        """Those of the jobs waited for that did not succeed, or whose files could not be brought back."""
        return [job for job in self._jobs if job.id in self._outcomes and self._outcomes[job.id].error is not None]

    @property
    def failures(self) -> dict[str, str]:
        """Why the failed ones did, by the names of their inputs."""
        return {
            mapped.name: (self._outcomes[mapped.id].error or {})["message"]
            for mapped in self._mapped
            if mapped.id in self._outcomes and self._outcomes[mapped.id].error is not None
        }

    def __repr__(self) -> str:
        """Say how many jobs there are and where they stand."""
        return f"<{self._title()}: {self._standing()}>"

    def _repr_html_(self) -> str:
        ended = sum(count for state, count in self._states().items() if state is not None and state.is_final)
        title = f"<code>{escape(self._title())}</code>"
        bar = f'<progress max="{len(self._jobs)}" value="{ended}"></progress>'
        return f"{title}: <b>{escape(self._standing())}</b> {bar}"

    def _standing(self) -> str:
        counts = self._states()
        words = [f"{counts[state]:,} {state}" for state in State if counts[state]]
        unknown = [f"{counts[None]:,} unknown"] if counts[None] else []
        return ", ".join([*words, *unknown]) or "none"

    def _states(self) -> Counter[State | None]:
        """How many jobs stand where; unknown where the broker is away."""
        ids = [job.id for job in self._jobs]
        try:
            return Counter(self._backend.states(ids))
        except HiveError:
            return Counter({None: len(ids)})

    def _title(self) -> str:
        tasks = {job.task_name for job in self._jobs}
        return f"{len(self._jobs):,} jobs" + (f" of {tasks.pop()}" if len(tasks) == 1 else "")

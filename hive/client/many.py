"""The jobs of a map, as Python holds them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Self, TypeVar, overload

from hive.broker import reachable
from hive.client.gathering import Outcome, gather
from hive.client.mapping import Mapped
from hive.errors import HiveError, JobFailedError
from hive.jobs import State
from hive.task import Task

if TYPE_CHECKING:
    from hive.client.api import RemoteJob
    from hive.client.session import Session

R = TypeVar("R")


class RemoteJobs(Sequence["RemoteJob[R]"]):
    """Jobs that were submitted together, in the order of their inputs; `R` is what their task returns.

    A notebook shows how many have ended. Interrupting a cell that waits leaves the jobs alone.
    """

    def __init__(
        self, session: "Session", task: Task[..., R], mapped: Sequence[Mapped], jobs: Sequence["RemoteJob[R]"]
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
    def __getitem__(self, number: int) -> "RemoteJob[R]": ...

    @overload
    def __getitem__(self, number: slice) -> Sequence["RemoteJob[R]"]: ...

    def __getitem__(self, number: int | slice) -> "RemoteJob[R] | Sequence[RemoteJob[R]]":
        """The job of an input."""
        return self._jobs[number]

    def as_finished(self, timeout_s: float | None = None) -> Iterator["RemoteJob[R]"]:
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
    def failed(self) -> list["RemoteJob[R]"]:
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

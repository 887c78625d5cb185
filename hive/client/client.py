"""`Client`: one Hive for Python, with what can be submitted to it and found in it.

from hive_workers.gis.dtm import dtm
import hive

with hive.Client() as here:
    job = here.submit(dtm, Path("tile.laz"), Path("dtm.tif"), cell=0.5)
    print(job.result().ground_points)
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from hive.catalog import find_task
from hive.client.backend import Backend, Remote
from hive.client.job import Job, Jobs
from hive.client.map import Mapped
from hive.client.plan import Plan, make_items
from hive.client.request import make_request
from hive.client.session import Session
from hive.errors import BadParameterError, HiveError
from hive.options import USUAL, JobOptions
from hive.settings import Settings, load_settings
from hive.store import JobFilter
from hive.task import Task
from hive.wire.job import JobRecord, State

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_PAGE = 500


def _takes(
    _: Callable[P, JobOptions],
) -> Callable[[Callable[["Client", JobOptions], T]], Callable[Concatenate["Client", P], T]]:
    """Give a method the signature of JobOptions, so that editors and mypy know each option without a second list."""

    def decorate(method: Callable[["Client", JobOptions], T]) -> Callable[Concatenate["Client", P], T]:
        @wraps(method)
        def call(client: "Client", /, *_: P.args, **options: P.kwargs) -> T:
            return method(client, JobOptions.read(options))

        return call

    return decorate


class Client:
    """One Hive, as seen from this process; several of them may be used side by side.

    Parameters
    ----------
    home : folder of the Hive, otherwise HIVE_HOME
    broker : URL of its Redis, otherwise HIVE_BROKER_URL or that of the home
    gateway : URL of its gateway, which then stores the files, otherwise HIVE_GATEWAY_URL
    token : bearer token for the gateway, otherwise HIVE_TOKEN or that of the home

    Raises
    ------
    SettingError
        A value cannot be used.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        broker: str | None = None,
        gateway: str | None = None,
        token: str | None = None,
    ) -> None:
        # A client submits, also in a process that has imported `hive.celery`, which makes it a worker by default.
        flags = {"role": "submitter", "home": home, "broker_url": broker, "gateway_url": gateway, "token": token}
        self._backend: Backend = Remote(Session(load_settings(flags)))
        self._options = USUAL

    @classmethod
    def on(cls, backend: Backend, options: JobOptions = USUAL) -> Self:
        """Make a client of what carries out its work; `hive.testing` has another one than Redis and workers."""
        made = cls.__new__(cls)
        made._backend, made._options = backend, options
        return made

    @property
    def settings(self) -> Settings:
        """The settings of this Hive."""
        return self._backend.settings

    @_takes(JobOptions)
    def with_options(self, options: JobOptions) -> "Client":
        """The same Hive, with job-wide options for all that is submitted: `here.with_options(priority="high")`.

        Raises
        ------
        UsageError
            There is no such option, or its value is not acceptable.
        """
        return Client.on(self._backend, options)

    def submit(self, task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submit a task with the arguments of its function; they are checked as its signature says.

        Raises
        ------
        UsageError
            An argument, a file or the queue is not acceptable; nothing was sent.
        BudgetError
            It will cost more than it may; nothing was sent.
        UnreachableError
            Broker or store do not answer; nothing was sent.
        """
        request = make_request(task, task.bind(*args, **kwargs), self._options)
        return Job(self._backend, task, self._backend.submit(request))

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
    ) -> Jobs[R]:
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
        BudgetError
            Together they will cost more than they may; nothing was sent.
        UnreachableError
            Broker or store do not answer. The text says how many jobs are sent; the same call again sends the rest.
        """
        plan = Plan(
            task=task,
            files=[files] if isinstance(files, str | Path) else list(files),
            count=count,
            out=Path(out) if out is not None else None,
            values=values,
            options=self._options,
        )
        mapped = self._backend.submit_all(make_items(plan), again=again)
        return Jobs(self._backend, mapped, [Job(self._backend, task, job.id, job.name) for job in mapped])

    def job(self, prefix: str) -> Job[Any]:
        """Look up a job by any unique beginning of its id, also one that was submitted elsewhere or long ago.

        Its result is the record of its task where that is known here, otherwise a dictionary of measures.

        Raises
        ------
        NotFoundError
            No job, or more than one, has such an id.
        UnreachableError
            The broker does not answer.
        """
        return self._job_of(self._backend.find(prefix))

    def jobs(
        self,
        *,
        state: str | Iterable[str] = (),
        task: str | Task[..., Any] = "",
        capability: str = "",
        text: str = "",
        since: datetime | timedelta | None = None,
        limit: int = 100,
    ) -> Jobs[Any]:
        """Look up the newest jobs that were submitted, newest first.

        Parameters
        ----------
        state : one state or several, such as "failed"
        task : the task, or its name such as "gis.dtm"
        capability : such as "gis"
        text : something in the id, the task, the worker, the file names or the error
        since : submitted at that time or later, or within that time until now
        limit : how many at most

        Raises
        ------
        BadParameterError
            A state is none, a time has no zone, or the limit is less than 1.
        UnreachableError
            The broker does not answer.
        """
        if limit < 1:
            raise BadParameterError(f"limit must be at least 1, not {limit}.")
        name = task.wire_name if isinstance(task, Task) else task
        filters = JobFilter(_states(state), capability, text, name, _earliest(since))
        records: list[JobRecord] = []
        after = ""
        while len(records) < limit:
            page = self._backend.page(filters, min(limit - len(records), _PAGE), after)
            records += page.jobs
            after = page.after
            if not after:
                break
        mapped = [
            Mapped(record.short_id, record.id, record.specification.queue, self._backend.destinations(record.id))
            for record in records
        ]
        return Jobs(self._backend, mapped, [self._job_of(record) for record in records])

    def _job_of(self, record: JobRecord) -> Job[Any]:
        name = record.specification.task
        try:
            task = find_task(name, or_part=True)
        except HiveError:  # a task of another installation
            task = None
        return Job(self._backend, task, record.id, task_name=name)

    def close(self) -> None:
        """Close all connections; jobs go on. Also `with hive.Client() as here:` does so."""
        self._backend.close()

    def __enter__(self) -> Self:
        """Use the client until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()


def _states(state: str | Iterable[str]) -> frozenset[State]:
    words = [state] if isinstance(state, str) else state
    return frozenset(State.read(word) for word in words)


def _earliest(since: datetime | timedelta | None) -> datetime | None:
    if since is None:
        return None
    if isinstance(since, timedelta):
        return datetime.now(UTC) - since
    if since.tzinfo is None:
        raise BadParameterError(f"since must be a time with its zone, such as datetime.now(UTC), not {since}.")
    return since


def submit(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]:
    """Submit a task to the Hive of this environment; see `Client.submit`."""
    return Client().submit(task, *args, **kwargs)


def map(
    task: Task[..., R],
    files: Iterable[str | Path] | str | Path = (),
    /,
    *,
    out: str | Path | None = None,
    count: int | None = None,
    again: bool = False,
    **values: object,
) -> Jobs[R]:
    """Submit one job for each file to the Hive of this environment; see `Client.map`."""
    return Client().map(task, files, out=out, count=count, again=again, **values)

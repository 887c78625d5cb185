"""A session with one Hive: its broker, its store, its ledger, and the operations on its jobs."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from hive.client.ledger import Ledger, is_over
from hive.client.observer import Observer
from hive.client.request import Request, size_bytes
from hive.client.send import Sender
from hive.client.transfer import Downloads, Uploads
from hive.costs import budgets
from hive.costs.forecast import Forecast, planned
from hive.costs.money import dollars
from hive.errors import BadFileError, BadParameterError, JobStateError, LedgerError, UnreachableError
from hive.options import JobOptions
from hive.settings import Settings, host_name
from hive.staging import BlobStore, Reference, open_store
from hive.staging.contents import Digests
from hive.store import JobStore, LogStore, Registry, new_id
from hive.store.connection import connect, public_address, reachable
from hive.task.values import Json
from hive.wire.job import JobRecord, Specification


class Session:
    """One Hive as seen from this machine: its broker, its store, and the ledger of submitted jobs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.home)

    @cached_property
    def broker(self) -> redis.Redis:
        """The connection to Redis."""
        return connect(self.settings)

    @cached_property
    def jobs(self) -> JobStore:
        """The records of all jobs."""
        return JobStore(self.broker)

    @cached_property
    def logs(self) -> LogStore:
        """The logs of all jobs."""
        return LogStore(self.broker)

    @cached_property
    def sender(self) -> Sender:
        """Writes the records of jobs and sends their messages."""
        return Sender(self.settings, self.jobs)

    @property
    def broker_name(self) -> str:
        """Name of this broker in the ledger: no password, and one name for that of HIVE_HOME, whatever its port."""
        named = self.settings.origins["broker_url"]
        is_own = named in ("default", str(self.settings.password_file))
        return "home" if is_own else public_address(self.settings.broker_url) + urlsplit(self.settings.broker_url).path

    @cached_property
    def registry(self) -> Registry:
        """Workers and queues."""
        return Registry(self.broker)

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of files."""
        return open_store(self.settings)

    def submit(self, request: Request, observer: Observer | None = None) -> str:
        """Send a checked request: its files first, then its record, then its message. Returns the job's id.

        Raises
        ------
        UnreachableError
            Broker or store do not answer; nothing is left half-sent.
        StagingError
            A file changed or vanished on its way.
        LedgerError
            The list of what was submitted from here cannot be written; nothing was sent.
        """
        watcher = observer or Observer()
        self.check()
        [specification] = self.specify([request], watcher)
        job_id = new_id()
        self._send(job_id, specification, request.destinations)
        watcher.submitted(job_id)
        return job_id

    def check(self) -> None:
        """Check now that jobs can be sent, before gigabytes are hashed for a broker that is unreachable.

        Raises
        ------
        UnreachableError
            The broker does not answer.
        BudgetError
            So much is spent already that nothing more may be sent today, or in this month.
        LedgerError
            The list of what was submitted from here cannot be written.
        """
        with reachable(self.settings):
            self.broker.ping()
        budgets.check(self.settings)
        self.ledger.check()

    def specify(self, requests: Sequence[Request], watcher: Observer) -> list[Specification]:
        """Send the files of requests that the store lacks; returns the specification of each.

        Raises
        ------
        UnreachableError
            The store does not answer.
        StagingError
            A file changed or vanished on its way.
        """
        staged = self.stage(requests, watcher)
        return [
            make_specification(request, inputs, self.settings.max_attempts)
            for request, inputs in zip(requests, staged, strict=True)
        ]

    def stage(self, requests: Sequence[Request], watcher: Observer) -> list[dict[str, Json]]:
        """Send the files of requests that the store lacks; returns the references of each, by parameter."""
        return Uploads(self.blobs, Digests(self.settings.home)).stage(requests, watcher)

    def _send(self, job_id: str, specification: Specification, destinations: Mapping[str, Path]) -> None:
        self.ledger.note(job_id, specification, destinations, self.broker_name)
        try:
            self.sender.send(job_id, specification)
        except BaseException:
            self.ledger.delete(job_id)
            raise

    def find(self, prefix: str) -> JobRecord:
        """Look up a job by any unique beginning of its id."""
        with reachable(self.settings):
            return self.note_if_over(self.jobs.find(prefix))

    def cost_with_parts(self, job: JobRecord) -> float | None:
        """What a job and all its parts cost together; None where the cost of one is unknown."""
        ids = list(dict.fromkeys(part for plan in job.plans for part in plan))
        with reachable(self.settings):
            parts = self.jobs.get_many(ids)
        costs = [job.cost_usd, *(None if part is None else self.cost_with_parts(part) for part in parts)]
        return None if None in costs else sum(usd for usd in costs if usd is not None)

    def note_if_over(self, job: JobRecord) -> JobRecord:
        """Note in the ledger what has ended, so that it is not run again."""
        if is_over(job.state, job.specification):
            self.note_finished(job.id)
        return job

    def note_finished(self, job_id: str) -> None:
        """Mark a job as finished in the ledger, if the ledger can be written."""
        with suppress(LedgerError):
            self.ledger.finish(job_id)

    def places(self, job: JobRecord, folder: Path | None = None) -> dict[str, Path]:
        """Where a job's output files belong: in `folder`, or at the paths given when it was submitted here."""
        requested = {} if folder is not None else self.ledger.destinations(job.id)
        base = folder or Path()
        return {name: requested.get(name, base / Reference.parse(text).name) for name, text in job.outputs.items()}

    def close(self) -> None:
        """Close the connections to Redis; they are opened again where they are used again."""
        for name in ("broker", "sender"):
            if name in vars(self):
                getattr(self, name).close()

    def fetch(
        self, job: JobRecord, folder: Path | None = None, *, force: bool = False, observer: Observer | None = None
    ) -> dict[str, Path]:
        """Fetch a job's output files: into `folder`, or to the paths given when it was submitted here.

        Raises
        ------
        BadFileError
            A file there is newer than the job, and `force` is not set; or the folder does not exist.
        StagingError
            A file is missing from the store or damaged.
        """
        watcher = observer or Observer()
        check_folder(folder)
        places = self.places(job, folder)
        Downloads(self.blobs, watcher, force=force).download(job, places)
        self.note_finished(job.id)
        for name, place in places.items():
            watcher.fetched(name, place)
        return places

    def cancel(self, job: JobRecord) -> None:
        """Cancel a job that waits or runs; its worker ends the processes of one that runs, within seconds.

        Raises
        ------
        JobStateError
            The job had ended before.
        UnreachableError
            The broker does not answer.
        """
        with reachable(self.settings):
            if not self.jobs.cancel(job.id):
                raise has_ended(self.jobs.get(job.id))
        self.note_finished(job.id)

    def retry(self, job: JobRecord) -> None:
        """Give a failed or cancelled job a new series of attempts, under the same id.

        Raises
        ------
        JobStateError
            The job is neither failed nor cancelled.
        UnreachableError
            The broker does not answer. Where the job waits already, its message is sent by a worker.
        """
        with reachable(self.settings):
            if not self.jobs.retry(job.id):
                raise has_not_failed(self.jobs.get(job.id))
        with suppress(LedgerError):  # without it the job runs all the same
            self.ledger.reopen(job.id)
        try:
            self.sender.send_message(job.id, job.specification)
        except UnreachableError as error:
            raise UnreachableError(
                f"The job {job.short_id} is queued again, but the broker became unreachable before its message "
                "was sent. A worker notices and sends it once the broker is back. "
                f"Come back to it: hive wait {job.short_id}."
            ) from error

    def check_budget(self, requests: Sequence[Request], warn: Callable[[str], None]) -> None:
        """Refuse requests of one task that will cost more than they may; warn where nobody can predict the cost.

        Raises
        ------
        BudgetError
            They will cost more than their budget, or than is left of the day's or the month's.
        UnreachableError
            The broker does not answer.
        """
        budget_usd = requests[0].options.budget_usd if requests else None
        if not requests or (budget_usd is None and not budgets.has_limit(self.settings)):
            return
        forecast, why = self._forecast(requests)
        usd = forecast.usd if forecast is not None else None
        if usd is None and budget_usd is not None:
            reason = why or "the workers report no price (HIVE_PRICE_USD_PER_H)"
            warn(f"The cost is unknown: {reason}. The budget of {dollars(budget_usd)} is not checked.")
        budgets.check(self.settings, usd, budget_usd)

    def _forecast(self, requests: Sequence[Request]) -> tuple[Forecast | None, str]:
        """What requests will cost, or why that cannot be predicted."""
        sizes: list[int] = []
        for request in requests:
            of_files = [size_bytes(sources) for sources in request.sources.values()]
            if None in of_files:
                return None, "the size of a reference or a URL is unknown here"
            sizes.append(sum(size for size in of_files if size is not None))
        task, queue = requests[0].task.wire_name, requests[0].queue
        with reachable(self.settings):
            forecast = planned(self.broker, self.registry.workers(), task, queue, sizes, host_name())
        return forecast, "" if forecast is not None else f"no job of {task} has succeeded yet"

    def send_missing(self) -> list[str]:
        """Send every unfinished job of this machine again of which Redis has no record, under its old id.

        Jobs that have ended meanwhile, with no file to fetch, are noted as finished. Returns the ids that were sent.

        Raises
        ------
        LedgerError
            The list of what was submitted from here cannot be read.
        UnreachableError
            The broker does not answer.
        """
        unfinished = self._unfinished()
        ids = list(unfinished)
        if not ids:
            return []
        with reachable(self.settings):
            states = dict(zip(ids, self.jobs.states(ids), strict=True))
        sent = self.sender.send_many([(job_id, unfinished[job_id]) for job_id in ids if states[job_id] is None])
        for job_id, state in states.items():
            if state is not None and is_over(state, unfinished[job_id]):
                self.ledger.finish(job_id)
        return sent

    def send_again(self, job_id: str) -> bool:
        """Send one job again that Redis has lost. Returns False where it is not an unfinished one of this machine.

        Raises
        ------
        redis.RedisError
            The broker does not answer.
        """
        try:
            specification = self._unfinished().get(job_id)
        except LedgerError:
            return False
        if specification is None:
            return False
        signed = self.sender.signed(job_id, specification)
        with suppress(BadParameterError):  # somebody else has brought it back meanwhile
            self.jobs.create(job_id, signed)
            with suppress(UnreachableError):  # the record is there: workers find that it has no message, and send one
                self.sender.send_message(job_id, signed)
        return True

    def _unfinished(self) -> dict[str, Specification]:
        """Jobs that Redis must still have: what ended longer ago than HIVE_KEEP_DAYS, workers forget on purpose."""
        since = datetime.now(UTC) - timedelta(days=self.settings.keep_days)
        return self.ledger.unfinished(self.broker_name, since)


def has_ended(job: JobRecord) -> JobStateError:
    """The error of a job that cannot be cancelled any more."""
    return JobStateError(f"The job {job.short_id} is {job.state} already; there is nothing to cancel.")


def has_not_failed(job: JobRecord) -> JobStateError:
    """The error of a job that cannot be run again."""
    return JobStateError(f"The job {job.short_id} is {job.state}; only a failed or cancelled one can be run again.")


def check_folder(folder: Path | None) -> None:
    """Refuse a folder for fetched files that does not exist.

    Raises
    ------
    BadFileError
        It does not.
    """
    if folder is not None and not folder.is_dir():
        raise BadFileError(f"The folder {folder} does not exist. Make it: mkdir -p {folder}.")


def make_specification(request: Request, inputs: Mapping[str, Json], most_attempts: int) -> Specification:
    """The specification of a request whose files are in the store."""
    limits = request.task.limits
    return Specification(
        capability=request.task.capability,
        task=request.task.wire_name,
        parameters=request.parameters,
        inputs=inputs,
        outputs={name: path.resolve().name for name, path in request.destinations.items()},
        limits=dataclasses.replace(limits, attempts=limits.attempts or most_attempts),
        **_carried(request.options) | {"queue": request.queue},
    )


def _carried(options: JobOptions) -> dict[str, Any]:
    """The options that workers must know: those that a specification has a field for."""
    return {name: value for name, value in vars(options).items() if name in _SPECIFIED}


_SPECIFIED = frozenset(inspect.signature(Specification).parameters)

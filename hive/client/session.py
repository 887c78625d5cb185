"""Submitting, waiting and bringing back: what the command line and the Python API share."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import redis

from hive.broker import connect, public_address, reachable
from hive.client.downloads import Downloads
from hive.client.ledger import Ledger
from hive.client.observer import Observer
from hive.client.request import Request
from hive.client.restore import is_over
from hive.client.sending import Sender
from hive.client.uploads import Uploads
from hive.client.watching import watch
from hive.costs import budgets
from hive.errors import BadFileError, LedgerError
from hive.jobs import Job, JobStore, LogStore, Registry, Specification, new_id
from hive.settings import Settings
from hive.staging import BlobStore, Reference, open_store
from hive.staging.digests import Digests
from hive.task.values import Json


class Session:
    """One Hive as seen from here: its broker, its store, and what was submitted from this machine."""

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
        """What makes jobs known and lets them run."""
        return Sender(self.settings, self.jobs)

    @property
    def broker_name(self) -> str:
        """What the ledger calls this broker. Without its password, and one name for that of HIVE_HOME on any port."""
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
        [asked] = self.specify([request], watcher)
        job_id = new_id()
        self._send(job_id, asked, request.destinations)
        watcher.submitted(job_id)
        return job_id

    def check(self) -> None:
        """Find out now whether jobs can be sent, before gigabytes are hashed for a broker that is not there.

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
        """Send the files of requests that the store lacks; returns what is asked of a worker for each.

        Raises
        ------
        UnreachableError
            The store does not answer.
        StagingError
            A file changed or vanished on its way.
        """
        staged = self.stage(requests, watcher)
        return [self._specification(*one) for one in zip(requests, staged, strict=True)]

    def _specification(self, request: Request, inputs: Mapping[str, Json]) -> Specification:
        return Specification(
            capability=request.task.capability,
            task=request.task.wire_name,
            queue=request.queue,
            parameters=request.parameters,
            inputs=inputs,
            outputs={name: path.resolve().name for name, path in request.destinations.items()},
            limits=dataclasses.replace(
                request.task.limits, attempts=request.task.limits.attempts or self.settings.max_attempts
            ),
            priority=request.priority,
        )

    def stage(self, requests: Sequence[Request], watcher: Observer) -> list[dict[str, Json]]:
        """Send the files of requests that the store lacks; returns the references of each, by parameter."""
        return Uploads(self.blobs, Digests(self.settings.home)).stage(requests, watcher)

    def _send(self, job_id: str, asked: Specification, destinations: Mapping[str, Path]) -> None:
        self.ledger.note(job_id, asked, destinations, self.broker_name)
        try:
            self.sender.send(job_id, asked)
        except BaseException:
            self.ledger.strike(job_id)
            raise

    def find(self, prefix: str) -> Job:
        """Look up a job by any unique beginning of its id."""
        with reachable(self.settings):
            return self._seen(self.jobs.find(prefix))

    def watch(self, job_id: str, observer: Observer | None = None, timeout_s: float | None = None) -> Job:
        """Wait until a job is finished or the time [s] is over; returns its newest record.

        A broker that is away is waited for. A job of this machine that it has lost is sent again.
        """
        return self._seen(watch(self, job_id, observer or Observer(), timeout_s))

    def cost_with_parts(self, job: Job) -> float | None:
        """What a job and all its parts cost together; None where nobody knows it of one of them."""
        ids = list(dict.fromkeys(part for plan in job.plans for part in plan))
        with reachable(self.settings):
            parts = self.jobs.get_many(ids)
        costs = [job.cost_usd, *(None if part is None else self.cost_with_parts(part) for part in parts)]
        known = [usd for usd in costs if usd is not None]
        return sum(known) if len(known) == len(costs) else None

    def _seen(self, job: Job) -> Job:
        """Note in the ledger what has ended, so that it is not run again."""
        if is_over(job.state, job.specification):
            self.note_finished(job.id)
        return job

    def note_finished(self, job_id: str) -> None:
        """Note that nothing is left to be done for a job. A ledger that cannot be written is no reason to stop here."""
        with suppress(LedgerError):
            self.ledger.finish(job_id)

    def fetch(
        self, job: Job, folder: Path | None = None, *, force: bool = False, observer: Observer | None = None
    ) -> dict[str, Path]:
        """Bring a job's written files back: into `folder`, or where they were wanted when it was submitted here.

        Raises
        ------
        BadFileError
            A file there is newer than the job, and `force` is not set; or the folder does not exist.
        StagingError
            A file is missing from the store or damaged.
        """
        watcher = observer or Observer()
        wanted = {} if folder is not None else self.ledger.destinations(job.id)
        base = folder if folder is not None else Path()
        if not base.is_dir():
            raise BadFileError(f"The folder {base} does not exist. Make it: mkdir -p {base}.")
        places = {name: wanted.get(name, base / Reference.parse(text).name) for name, text in job.outputs.items()}
        Downloads(self.blobs, watcher, force=force).bring(job, places)
        self.note_finished(job.id)
        for name, place in places.items():
            watcher.fetched(name, place)
        return places

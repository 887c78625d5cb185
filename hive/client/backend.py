"""What carries out the work of a Client: `Remote` with Redis and workers, `hive.testing` in this process."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from hive.client import wait
from hive.client.map import Mapped, Outcome, gather, send_items
from hive.client.observer import Observer
from hive.client.plan import Item
from hive.client.request import Request
from hive.client.session import Session
from hive.settings import Settings
from hive.store import JobFilter, Listing, LogEntry, Page
from hive.store.connection import reachable
from hive.wire.job import JobRecord, State

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """Carries out jobs; what each method raises is said in `hive.client.client` and `hive.client.job`."""

    settings: Settings

    def submit(self, request: Request) -> str:
        """Send one job; returns its id."""

    def submit_all(self, items: Sequence[Item], *, again: bool) -> list[Mapped]:
        """Send the jobs of a map that an earlier call has not sent; returns all of them."""

    def gather(self, mapped: Sequence[Mapped], timeout_s: float | None) -> Iterator[Outcome]:
        """Give the outcome of each job as it ends, its files in place."""

    def find(self, prefix: str) -> JobRecord:
        """Look up a job by any unique beginning of its id."""

    def page(self, filters: JobFilter, limit: int, after: str) -> Page:
        """List jobs, newest first."""

    def states(self, job_ids: Sequence[str]) -> list[State | None]:
        """Where many jobs stand; None for one that has no record."""

    def watch(self, job_id: str, timeout_s: float | None) -> JobRecord:
        """Wait until a job has ended or the time [s] is over; returns its newest record."""

    def logs(self, job_id: str, *, follow: bool) -> Iterator[LogEntry]:
        """Give the lines of a job's log; with `follow`, until the job has ended."""

    def cancel(self, job: JobRecord) -> None:
        """Stop a job."""

    def retry(self, job: JobRecord) -> None:
        """Run a failed or cancelled job again, under the same id."""

    def destinations(self, job_id: str) -> dict[str, Path]:
        """Where the written files of a job shall go, as was said at its submission from here."""

    def places(self, job: JobRecord) -> dict[str, Path]:
        """Where the files that a job has written belong on this machine."""

    def fetch(self, job: JobRecord, folder: Path | None, *, force: bool) -> dict[str, Path]:
        """Bring the written files of a job; returns where each one is."""

    def close(self) -> None:
        """Close all connections."""


class Remote:
    """Jobs that workers carry out, through Redis."""

    def __init__(self, session: Session) -> None:
        self.settings = session.settings
        self._session = session

    def submit(self, request: Request) -> str:
        """Send one job, if its budget allows it."""
        self._session.check_budget([request], logger.warning)
        return self._session.submit(request)

    def submit_all(self, items: Sequence[Item], *, again: bool) -> list[Mapped]:
        """Send what is missing, if the budget of all allows it."""
        self._session.check_budget([item.request for item in items], logger.warning)
        return send_items(self._session, items, again=again)

    def gather(self, mapped: Sequence[Mapped], timeout_s: float | None) -> Iterator[Outcome]:
        """Wait for many jobs at once."""
        return gather(self._session, mapped, timeout_s=timeout_s)

    def find(self, prefix: str) -> JobRecord:
        """Look in Redis."""
        return self._session.find(prefix)

    def page(self, filters: JobFilter, limit: int, after: str) -> Page:
        """Read one page of Redis' list."""
        with reachable(self.settings):
            return Listing(self._session.broker, self._session.jobs).page(filters, limit, after)

    def states(self, job_ids: Sequence[str]) -> list[State | None]:
        """Ask Redis once."""
        with reachable(self.settings):
            return self._session.jobs.states(job_ids)

    def watch(self, job_id: str, timeout_s: float | None) -> JobRecord:
        """Be told of changes by Redis."""
        return wait.watch(self._session, job_id, timeout_s=timeout_s)

    def logs(self, job_id: str, *, follow: bool) -> Iterator[LogEntry]:
        """Read the log in Redis; one that is followed waits for a broker that is away."""
        if follow:
            return wait.follow(self._session, job_id, Observer())
        with reachable(self.settings):
            return iter(list(self._session.logs.read(job_id)))

    def cancel(self, job: JobRecord) -> None:
        """Let the worker end the job's processes."""
        self._session.cancel(job)

    def retry(self, job: JobRecord) -> None:
        """Send the job's message again."""
        self._session.retry(job)

    def destinations(self, job_id: str) -> dict[str, Path]:
        """Look in the ledger of this machine."""
        return self._session.ledger.destinations(job_id)

    def places(self, job: JobRecord) -> dict[str, Path]:
        """Look in the ledger of this machine."""
        return self._session.places(job)

    def fetch(self, job: JobRecord, folder: Path | None, *, force: bool) -> dict[str, Path]:
        """Bring the files from the store."""
        return self._session.fetch(job, folder, force=force)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._session.close()

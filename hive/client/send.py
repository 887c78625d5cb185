"""A job's record and its message: the record makes the job known, the message makes it run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import redis

from hive.errors import UnreachableError
from hive.settings import Settings
from hive.store import JobStore, in_batches
from hive.store.connection import reachable
from hive.wire.job import Specification
from hive.wire.signing import Signer

if TYPE_CHECKING:
    from hive.celery_adapter import Application, MessageWriter


class Sender:
    """Sends jobs to one broker."""

    def __init__(self, settings: Settings, jobs: JobStore) -> None:
        self._settings = settings
        self._jobs = jobs

    @cached_property
    def _application(self) -> "Application":
        from hive.celery_adapter import make_application  # noqa: PLC0415  celery: only where a job is really sent

        return make_application(self._settings)

    @cached_property
    def _signer(self) -> Signer:
        return Signer(self._settings.signing_key)

    def close(self) -> None:
        """Close the connections to the broker."""
        if "_application" in vars(self):
            self._application.close()

    def signed(self, job_id: str, specification: Specification) -> Specification:
        """What was asked here, signed for one job."""
        return specification.signed(job_id, self._signer)

    def send(self, job_id: str, specification: Specification) -> None:
        """Send a job that has no record yet: both its record and its message, or neither.

        Raises
        ------
        UnreachableError
            The broker does not answer.
        """
        _ = self._application  # where it cannot be made, nothing is left behind
        specification = self.signed(job_id, specification)
        with reachable(self._settings):
            self._jobs.create(job_id, specification)
        with self._all_or_none([job_id]):
            self.send_message(job_id, specification)

    def send_many(self, jobs: Sequence[tuple[str, Specification]]) -> list[str]:
        """Send jobs as `send` does with one, batch by batch. Returns the ids that were free and are sent now.

        Raises
        ------
        UnreachableError
            The broker does not answer. Batches before are sent; of the last one it may have the records and workers
            then send their messages, or it has nothing.
        """
        from hive.celery_adapter import open_writer  # noqa: PLC0415  as above

        if not jobs:
            return []
        with open_writer(self._settings, self._application) as writer:
            return [job_id for batch in in_batches(jobs) for job_id in self._send_batch(writer, batch)]

    def _send_batch(self, writer: "MessageWriter", batch: Sequence[tuple[str, Specification]]) -> list[str]:
        """Sign and send a batch."""
        batch = Specification.all_signed(batch, self._signer)
        created = self._jobs.create_many(batch)
        free = set(created)
        with self._all_or_none(created), reachable(self._settings):
            writer.push(writer.encode(job_id, specification) for job_id, specification in batch if job_id in free)
        return created

    def send_message(self, job_id: str, specification: Specification) -> None:
        """Send the message of a job whose record is there.

        Raises
        ------
        UnreachableError
            The broker does not answer; workers send the message when they find that the job has none.
        """
        from hive.celery_adapter import send  # noqa: PLC0415  as above

        send(self._settings, self._application, job_id, specification)

    def send_messages(self, jobs: Sequence[tuple[str, Specification]]) -> None:
        """Send the messages of many jobs whose records are there; fails as `send_message` does."""
        from hive.celery_adapter import open_writer  # noqa: PLC0415  as above

        for batch in in_batches(jobs):
            with open_writer(self._settings, self._application) as writer:
                writer.push([writer.encode(job_id, specification) for job_id, specification in batch])

    @contextmanager
    def _all_or_none(self, job_ids: Sequence[str]) -> Iterator[None]:
        """Take records back whose messages could not be sent."""
        try:
            yield
        except BaseException as error:
            # A record that cannot be taken back is a sent job: workers see that it has no message, and send one.
            if self._take_back(job_ids) or not isinstance(error, UnreachableError):
                raise

    def _take_back(self, job_ids: Sequence[str]) -> bool:
        try:
            self._jobs.forget(*job_ids)
        except redis.RedisError:
            return False
        return True

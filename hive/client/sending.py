"""A job's record and its message: the record makes the job known, the message makes it run."""

from functools import cached_property
from typing import TYPE_CHECKING

import redis

from hive.broker import reachable
from hive.errors import UnreachableError
from hive.jobs import JobStore, Specification
from hive.settings import Settings

if TYPE_CHECKING:
    from celery import Celery


class Sender:
    """Sends jobs to one broker."""

    def __init__(self, settings: Settings, jobs: JobStore) -> None:
        self._settings = settings
        self._jobs = jobs

    @cached_property
    def _application(self) -> "Celery":
        from hive.messages import make_application  # noqa: PLC0415  celery: only where a job is really sent

        return make_application(self._settings)

    def send(self, job_id: str, asked: Specification) -> None:
        """Send a job that has no record yet: both its record and its message, or neither.

        Raises
        ------
        UnreachableError
            The broker does not answer.
        """
        _ = self._application  # where it cannot be made, nothing is left behind
        with reachable(self._settings):
            self._jobs.create(job_id, asked)
        try:
            self.send_message(job_id, asked)
        except BaseException as error:
            # A record that cannot be taken back is a sent job: workers see that it has no message, and send one.
            if self._take_back(job_id) or not isinstance(error, UnreachableError):
                raise

    def send_message(self, job_id: str, asked: Specification) -> None:
        """Send the message of a job whose record is there.

        Raises
        ------
        UnreachableError
            The broker does not answer; workers send the message when they find that the job has none.
        """
        from hive.messages import send  # noqa: PLC0415  as above

        send(self._settings, self._application, job_id, asked)

    def _take_back(self, job_id: str) -> bool:
        try:
            self._jobs.forget(job_id)
        except redis.RedisError:
            return False
        return True

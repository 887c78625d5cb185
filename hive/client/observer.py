"""What a submission tells while it goes on; the command line draws it, a script may ignore it."""

from dataclasses import dataclass
from pathlib import Path

from hive.wire.job import JobRecord


class Observer:
    """Told of every step. This one stays silent; override what is wanted."""

    def begin(self, what: str, total_bytes: int) -> None:
        """Say that some bytes are about to move; `what` is hash, upload or download."""

    def advance(self, count_bytes: int) -> None:
        """Say that so many more bytes are done."""

    def end(self) -> None:
        """Say that the bytes are through."""

    def submitted(self, job_id: str) -> None:
        """Say that the job is sent."""

    def changed(self, job: JobRecord) -> None:
        """Say that the job's record has changed."""

    def unserved(self, queue: str) -> None:
        """Say that the job waits and no worker serves its queue."""

    def away(self) -> None:
        """Say that the broker does not answer and is waited for."""

    def back(self) -> None:
        """Say that the broker answers again."""

    def fetched(self, name: str, path: Path) -> None:
        """Say that a written file is in its place."""


@dataclass(frozen=True)
class Counts:
    """Where the jobs of a map stand; `done` have succeeded and their files are in place."""

    total: int
    done: int
    failed: int
    running: int
    queued: int


class MapObserver(Observer):
    """Told of many jobs at once."""

    def sent(self, count: int, total: int) -> None:
        """Say that so many of all jobs are sent, or were found to be sent before."""

    def resumed(self, done: int, waiting: int, failed: int, total: int) -> None:
        """Say how many jobs of an earlier run were done, are still on their way, or had failed and are tried again."""

    def ended(self, name: str, failure: str | None) -> None:
        """Say that a job has ended, and why where it failed."""

    def counted(self, counts: Counts) -> None:
        """Say where all jobs stand."""

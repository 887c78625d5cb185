"""Callbacks of a submission in progress; the command line draws them, a script may ignore them."""

from dataclasses import dataclass
from pathlib import Path

from hive.wire.job import JobRecord


class Observer:
    """Is called at every step. This one does nothing; override what you need."""

    def begin(self, what: str, total_bytes: int) -> None:
        """A transfer of some bytes begins; `what` is hash, upload or download."""

    def advance(self, count_bytes: int) -> None:
        """So many more bytes are done."""

    def end(self) -> None:
        """The transfer has ended."""

    def submitted(self, job_id: str) -> None:
        """The job was submitted."""

    def changed(self, job: JobRecord) -> None:
        """The job's record has changed."""

    def unserved(self, queue: str) -> None:
        """The job waits, and no worker serves its queue."""

    def away(self) -> None:
        """The broker is unreachable; the client waits for it."""

    def back(self) -> None:
        """The broker is reachable again."""

    def fetched(self, name: str, path: Path) -> None:
        """An output file is in its place."""


@dataclass(frozen=True)
class Counts:
    """How many jobs of a map are in which state; `done` have succeeded and their files are in place."""

    total: int
    done: int
    failed: int
    running: int
    queued: int


class MapObserver(Observer):
    """Is called for many jobs at once."""

    def sent(self, count: int, total: int) -> None:
        """So many of all jobs have been sent, now or by an earlier run."""

    def resumed(self, done: int, waiting: int, failed: int, total: int) -> None:
        """So many jobs of an earlier run were done, are unfinished, or had failed and are retried."""

    def ended(self, name: str, failure: str | None) -> None:
        """A job has ended; `failure` says why if it failed."""

    def counted(self, counts: Counts) -> None:
        """The counts have changed."""

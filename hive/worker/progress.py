"""A task's progress on its way into the attempt's spool; it never waits for Redis."""

import contextlib
import time

from hive.task import Progress
from hive.worker.spool import Writer

# It is written down at most this often; the last one of an attempt always is.
_EVERY_S = 0.2


class Reporter:
    """Takes progress as often as the task calls, and writes it down as often as anybody can read it."""

    def __init__(self, writer: Writer | None) -> None:
        self._writer = writer
        self._next = 0.0
        self._held: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Write the progress down now if it is time, otherwise hold it."""
        self._held = progress
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write down what is held."""
        if self._held is not None and self._writer is not None:
            with contextlib.suppress(OSError):  # the disk is full; a task does not fail for its progress
                self._writer.progress(self._held)
        self._held, self._next = None, time.monotonic() + _EVERY_S

"""How a submission and a job look: a progress bar on a terminal, plain lines elsewhere, all on stderr."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from hive.cli.common import printable
from hive.cli.report import progress_text
from hive.client import Observer
from hive.client.explain import starter
from hive.task import Progress as JobProgress
from hive.wire.job import JobRecord, State

NOUNS = {"hash": "reading", "upload": "sending", "download": "bringing"}
# Without a terminal a line comes with each new message, and this often where only the numbers change.
_LINE_EVERY_S = 5.0
_MIB = 1 << 20


class TellsOfOutages:
    """What every display says of a broker that is away."""

    def _say(self, text: str) -> None:
        raise NotImplementedError

    def away(self) -> None:
        """Say that nothing is heard of the broker."""
        self._say("The broker is away; waiting for it")

    def back(self) -> None:
        """Say that the broker answers again."""
        self._say("The broker is back")


class Display(TellsOfOutages, Observer):
    """Draws what happens; use it as a context so that the terminal is left clean."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._is_live = self._console.is_terminal
        self._row: TaskID | None = None
        self._state: State | None = None
        self._attempts = 0
        self._line = self._message = ""  # the last progress that was said
        self._next_line = 0.0

    def __enter__(self) -> Self:
        """Take over the terminal, where there is one."""
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        if self._is_live:
            self._bar.stop()

    def begin(self, what: str, total_bytes: int) -> None:
        """Show that bytes are about to be read or moved."""
        noun = NOUNS[what]
        if self._is_live:
            self._show(noun, f"{total_bytes / _MIB:.1f} MiB", total=total_bytes)
        else:
            self._say(f"{noun} {total_bytes / _MIB:.1f} MiB")

    def advance(self, count_bytes: int) -> None:
        """Move the bar."""
        if self._row is not None:
            self._bar.advance(self._row, count_bytes)

    def end(self) -> None:
        """Take the bar away."""
        self._hide()

    def submitted(self, job_id: str) -> None:
        """Name the job, so that it can be found again."""
        self._say(f"job {job_id[:8]} submitted")

    def changed(self, job: JobRecord) -> None:
        """Show the job's state and progress."""
        if job.state is State.RUNNING and job.attempts > max(self._attempts, 1):
            self._say(f"attempt {job.attempts}: the worker of the last one was lost")
        if job.state is not self._state:
            self._enter(job)
        was_seen = self._state is not None
        self._state, self._attempts = job.state, job.attempts
        if job.progress and (job.state is State.RUNNING or (job.state.is_final and was_seen)):
            self._progress(job.progress, is_last=job.state.is_final)

    def _enter(self, job: JobRecord) -> None:
        self._hide()
        if job.state.is_final:
            return
        text = f"running on {job.worker}" if job.state is State.RUNNING else f"queued in {job.specification.queue}"
        if self._is_live:
            self._show(text, "", total=None)
        else:
            self._say(text)

    def _progress(self, progress: JobProgress, *, is_last: bool) -> None:
        message, line = progress.message, progress_text(progress)
        if self._is_live:
            if self._row is not None:
                self._bar.update(self._row, completed=progress.done, total=progress.total, detail=line)
        elif line != self._line and (is_last or message != self._message or time.monotonic() >= self._next_line):
            self._say(line)
            self._line, self._message, self._next_line = line, message, time.monotonic() + _LINE_EVERY_S

    def unserved(self, queue: str) -> None:
        """Say that nobody will take the job as things are."""
        self._say(
            f"No worker serves {queue!r}; the job waits. Start one: {starter(queue)}. "
            "Ctrl-C leaves the job in the queue."
        )

    def fetched(self, name: str, path: Path) -> None:
        """Say where a written file is."""
        self._say(f"{name}: {path}")

    def _show(self, text: str, detail: str, total: float | None) -> None:
        self._hide()
        self._row = self._bar.add_task(text, total=total, detail=detail)

    def _hide(self) -> None:
        if self._row is not None:
            self._bar.remove_task(self._row)
            self._row = None

    def _say(self, text: str) -> None:
        self._console.print(Text(printable(text)), soft_wrap=True)

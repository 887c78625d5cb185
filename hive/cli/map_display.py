"""How a map looks: one bar for all jobs on a terminal, a line every few seconds elsewhere, all on stderr."""

import time
from collections import deque
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from hive.cli.common import printable
from hive.cli.display import NOUNS, TellsOfOutages
from hive.cli.report import duration
from hive.client.explain import starter
from hive.client.observer import Counts, MapObserver

_LINE_EVERY_S = 5.0
# The rate is that of the last half minute: the first jobs may wait for workers that are only starting.
_RATE_OVER_S = 30.0
_FAILURES = 3
_MIB = 1 << 20


class MapDisplay(TellsOfOutages, MapObserver):
    """Draws many jobs as one; use it as a context so that the terminal is left clean."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
        )
        self._row = self._bar.add_task("checking", total=None, detail="")
        self._failures: deque[str] = deque(maxlen=_FAILURES)
        self._live = Live(console=self._console, get_renderable=self._drawn, transient=True, refresh_per_second=4)
        self._next_line = time.monotonic() + _LINE_EVERY_S
        self._ended: deque[tuple[float, int]] = deque()
        self._standing = "Nothing is sent."

    def __enter__(self) -> Self:
        """Take over the terminal, where there is one."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _drawn(self) -> Group:
        width = self._console.width
        lines = [Text(line, style="red", no_wrap=True, overflow="ellipsis") for line in self._failures]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Group(self._bar.get_renderable(), *lines)

    def standing(self) -> str:
        """One sentence on how far it is, for whoever stops waiting."""
        return self._standing

    def begin(self, what: str, total_bytes: int) -> None:
        """Show that files are being read, or sent."""
        self._show(NOUNS[what], f"{total_bytes / _MIB:.1f} MiB", 0, total_bytes)

    def advance(self, count_bytes: int) -> None:
        """Move the bar."""
        self._bar.advance(self._row, count_bytes)
        [row] = self._bar.tasks
        self._line(f"{row.description} {row.completed / _MIB:.0f} of {row.fields['detail']}")

    def sent(self, count: int, total: int) -> None:
        """Show how many jobs are sent."""
        self._standing = f"{count:,} of {total:,} jobs are sent, and go on."
        self._show("sending", f"{count:,} of {total:,} jobs", count, total)
        self._line(f"{count:,} of {total:,} jobs sent")

    def resumed(self, done: int, waiting: int, failed: int, total: int) -> None:
        """Say what is there from an earlier run."""
        if done:
            self._say(f"{done:,} of {total:,} are done already")
        if waiting:
            self._say(f"{waiting:,} of {total:,} were sent before and are still on their way")
        if failed:
            self._say(f"{failed:,} of {total:,} had failed and are tried again")
        if sent := total - done - waiting - failed:
            self._say(f"{sent:,} jobs sent")

    def ended(self, name: str, failure: str | None) -> None:
        """Remember a failure."""
        if failure is not None:
            self._failures.append(printable(f"{name}: {failure}").replace("\n", " "))

    def counted(self, counts: Counts) -> None:
        """Show where the jobs stand, how fast they end, and how long it will take."""
        over = counts.done + counts.failed
        self._standing = (
            f"{counts.done:,} of {counts.total:,} jobs are done, {counts.failed:,} failed; the others go on."
        )
        words = f"{counts.done:,} done, {counts.failed:,} failed, {counts.running:,} running, {counts.queued:,} queued"
        words += self._pace(over, counts.total)
        self._show(f"{over:,} of {counts.total:,}", words, over, counts.total)
        self._line(f"{words}; last failure: {self._failures[-1]}" if self._failures else words)

    def _pace(self, over: int, total: int) -> str:
        """Jobs per second, and the time that is left at that rate; nothing before there is one."""
        now = time.monotonic()
        self._ended.append((now, over))
        while self._ended[0][0] < now - _RATE_OVER_S:
            self._ended.popleft()
        since, before = self._ended[0]
        if over in (before, total):
            return ""
        rate = (over - before) / (now - since)
        return f"; {rate:.3g}/s, {duration(timedelta(seconds=(total - over) / rate))} left"

    def unserved(self, queue: str) -> None:
        """Say that nobody will take the jobs as things are."""
        self._say(
            f"No worker serves {queue!r}; the jobs wait. Start one: {starter(queue)}. "
            "Ctrl-C leaves the jobs in the queue."
        )

    def _show(self, description: str, detail: str, completed: float, total: float) -> None:
        self._bar.update(self._row, description=description, detail=detail, completed=completed, total=total)

    def _line(self, text: str) -> None:
        """Where there is no terminal, say this unless something was said just before."""
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(Text(printable(text)), soft_wrap=True)
        self._next_line = time.monotonic() + _LINE_EVERY_S

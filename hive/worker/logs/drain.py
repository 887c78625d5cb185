"""From an attempt's spool to its log: lines are read, put in order, cut, thinned out where needed, and sent."""

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hive.store.logs import REMARK, STDERR, STDOUT, LogLine, LogStore, counted
from hive.task import Progress
from hive.worker.logs.spool import Position, Spool

# What is looked at in one go, at the beginning and at the end of what is new [bytes].
_WINDOW = 1 << 19
_CHUNK = 1 << 20
# A line longer than that loses its middle [characters].
_LONGEST = 4096


@dataclass(frozen=True)
class Piece:
    """One line of a file and where it ends there; or, in place of lines that are left out, how many they are."""

    end: int
    data: bytes
    left_out: int = 0


def read_lines(path: Path, start: int, size: int | None, most: int, ending: bytes) -> tuple[list[Piece], bytes]:
    """All whole lines of a file between a place and a size (None: its size now), and the rest.

    Of more than `most` only the first and the last, and between them the number of those that end with `ending`.
    """
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size if size is None else size
        data = os.pread(descriptor, min(size - start, _WINDOW), start)
        if len(data) == size - start and data.count(b"\n") <= most:
            return _split(data, start)
        head = _first_lines(data, most // 2)
        begin = start + len(head)
        back = max(begin, size - _WINDOW)
        tail = _last_lines(os.pread(descriptor, size - back, back), most // 2)
        end = size - len(tail)
        left_out = Piece(end, b"", max(1, _count(descriptor, begin, end, ending)))
    pieces, rest = _split(tail, end)
    return [*_split(head, start)[0], left_out, *pieces], rest


def _first_lines(data: bytes, most: int) -> bytes:
    r"""The first whole lines.

    >>> _first_lines(b"1\n2\n3\nrest", 2), _first_lines(b"1\n2\n3\nrest", 9)
    (b'1\n2\n', b'1\n2\n3\n')
    """
    parts = data.split(b"\n", most)
    return data[: len(data) - len(parts[-1])] if len(parts) > most else data[: data.rfind(b"\n") + 1]


def _last_lines(data: bytes, most: int) -> bytes:
    r"""The last whole lines, and the rest; the first line may have begun before.

    >>> _last_lines(b"1\n2\n3\nrest", 2), _last_lines(b"1\n2\n3\nrest", 9)
    (b'2\n3\nrest', b'2\n3\nrest')
    """
    parts = data.rsplit(b"\n", most + 1)
    return data[len(parts[0]) + 1 :] if len(parts) > most + 1 else data[data.find(b"\n") + 1 or len(data) :]


def _split(data: bytes, start: int) -> tuple[list[Piece], bytes]:
    *lines, rest = data.split(b"\n")
    pieces = []
    for line in lines:
        start += len(line) + 1
        pieces.append(Piece(start, line.lstrip(b"\0")))  # zeros are where space was given back
    return pieces, rest


def _count(descriptor: int, begin: int, end: int, ending: bytes) -> int:
    """How often an ending occurs in a part of a file; one that lies across two chunks is found as well."""
    count, before = 0, b""
    while begin < end and (chunk := os.pread(descriptor, min(_CHUNK, end - begin), begin)):
        count += (before + chunk).count(ending)
        before = chunk[len(chunk) - len(ending) + 1 :] if len(ending) > 1 else b""
        begin += len(chunk)
    return count


def visible_text(line: str) -> str:
    r"""What a terminal shows of a line in the end: a progress bar that goes back to the start overwrites itself.

    >>> visible_text("10 %\r20 %\r30 %\r")
    '30 %'
    """
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


def shortened(text: str) -> str:
    """Text without its middle, where it is too long; a traceback says most at its end.

    >>> shortened("a" * 2048 + "b" * 12345 + "c" * 2048) == "a" * 2048 + " [12,345 characters left out] " + "c" * 2048
    True
    """
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} [{len(text) - _LONGEST:,} characters left out] {text[-half:]}"


# After a burst of as many lines as are kept of a job, so many may come in a second.
_LINES_PER_S, _FEWEST = 200, 20
# Text without an end of line is passed on after this time [s]; a progress bar is never finished and comes often.
_PATIENCE_S, _PATIENCE_WITH_BAR_S = 1.0, 10.0
_FREE_EVERY = 16 << 20


@dataclass(frozen=True)
class _Record:
    """One line of the records: how much had been printed before it, and what it says: a level and text, or progress."""

    end: int
    left_out: int
    ms: int = 0
    out: int = 0
    err: int = 0
    what: str | dict[str, Any] | None = None
    text: str = ""


@dataclass(frozen=True)
class _Batch:
    end: Position
    lines: list[LogLine]
    progress: Progress | None


class Drain:
    """Carries one attempt's log to Redis. Several may work on the same spool: each line arrives once."""

    def __init__(self, spool: Spool, logs: LogStore, job: str, attempt: int, burst: int) -> None:
        self._spool, self._logs = spool, logs
        self._job, self._attempt = job, attempt
        self._at, self._freed = Position(), Position()
        self._burst = self._allowed = float(burst)
        self._counted_at = time.monotonic()
        self._unfinished: dict[Path, tuple[int, float]] = {}

    def run(self, *, is_last: bool = False) -> None:
        """Send what is new; at the last time also what has no end of line.

        Raises
        ------
        redis.RedisError
            Redis is away; what is new goes on waiting.
        FileNotFoundError
            The attempt is over and somebody else has sent everything.
        """
        while True:
            batch = self._read(is_last)
            if batch.end == self._at:
                return
            lines = self._thinned(batch.lines)
            where = self._logs.append(self._job, self._attempt, str(self._at), str(batch.end), lines, batch.progress)
            self._at = batch.end if where is None else Position.parse(where)
            if where is None:
                self._allowed = max(0.0, self._allowed - len(lines))
                _echo(self._job, lines)
                self._free()
                return

    def mark(self) -> None:
        """Note the time beside what is printed, while it cannot be sent."""
        with contextlib.suppress(FileNotFoundError), self._spool.open() as writer:
            writer.mark()

    def _read(self, is_last: bool) -> _Batch:
        """Read what is new.

        Sizes are taken first. Of the records only those count before which no more than that was printed, so that
        nothing comes before what it was written after, though somebody writes meanwhile.
        """
        sizes = [path.stat().st_size for path in (self._spool.out, self._spool.err)]
        pieces, _ = read_lines(self._spool.records, self._at.records, None, self._most(), b'"]\n')
        records = list(
            takewhile(lambda record: record.out <= sizes[0] and record.err <= sizes[1], map(_record, pieces))
        )
        out = self._printed(self._spool.out, self._at.out, sizes[0], is_last)
        err = self._printed(self._spool.err, self._at.err, sizes[1], is_last)
        end = Position(_end(out, self._at.out), _end(err, self._at.err), _end(records, self._at.records))
        ms = int(max(path.stat().st_mtime for path in (self._spool.out, self._spool.err)) * 1000)
        progress = [Progress(**record.what) for record in records if isinstance(record.what, dict)]
        return _Batch(end, list(_merged(records, out, err, ms)), progress[-1] if progress else None)

    def _printed(self, path: Path, start: int, size: int, is_last: bool) -> list[Piece]:
        """Whole lines, and the unfinished rest where it has waited for long enough."""
        pieces, rest = read_lines(path, start, size, self._most(), b"\n")
        begin = pieces[-1].end if pieces else start
        if rest and (is_last or self._has_waited(path, begin, with_bar=b"\r" in rest)):
            pieces.append(Piece(begin + len(rest), rest))
        return pieces

    def _has_waited(self, path: Path, begin: int, *, with_bar: bool) -> bool:
        """Whether unfinished text that begins there has waited for its end of line for long enough."""
        previous, since = self._unfinished.get(path, (-1, 0.0))
        if previous != begin:
            self._unfinished[path] = (begin, time.monotonic())
            return False
        return time.monotonic() - since > (_PATIENCE_WITH_BAR_S if with_bar else _PATIENCE_S)

    def _thinned(self, lines: list[LogLine]) -> list[LogLine]:
        """Leave out the middle of what is more than allowed, and say how much that was."""
        allowed = self._most()
        if len(lines) <= allowed:
            return lines
        head, tail = lines[: allowed // 2], lines[len(lines) - (allowed - allowed // 2) :]
        middle = lines[len(head) : len(lines) - len(tail)]
        remark = _remark(middle[0].ms, sum(line.left_out or 1 for line in middle))
        return [*head, remark, *tail]

    def _most(self) -> int:
        """How many lines may be sent now."""
        now = time.monotonic()
        self._allowed = min(self._burst, self._allowed + (now - self._counted_at) * _LINES_PER_S)
        self._counted_at = now
        return int(max(self._allowed, _FEWEST))

    def _free(self) -> None:
        if sum(self._at) - sum(self._freed) > _FREE_EVERY:
            self._spool.free(self._at)
            self._freed = self._at


def _end(lines: Sequence[Piece | _Record], otherwise: int) -> int:
    return lines[-1].end if lines else otherwise


def _record(piece: Piece) -> _Record:
    try:
        fields = [] if piece.left_out else json.loads(piece.data)
    except ValueError:
        fields = []  # the disk was full in the midst of it
    return _Record(piece.end, piece.left_out, *fields)


def _merged(records: Iterable[_Record], out: Iterable[Piece], err: Iterable[Piece], ms: int) -> Iterator[LogLine]:
    """Put records and printed lines in order; what was printed since the last record has the time `ms`."""
    printed = {STDOUT: deque(out), STDERR: deque(err)}
    for record in records:
        for (level, pieces), size in zip(printed.items(), (record.out, record.err), strict=True):
            while pieces and pieces[0].end <= size:
                yield _printed_line(record.ms, level, pieces.popleft())
        if record.left_out:
            yield _remark(ms, record.left_out)
        elif isinstance(record.what, str):
            yield LogLine(record.ms, record.what, shortened(record.text))
    for level, pieces in printed.items():
        yield from (_printed_line(ms, level, piece) for piece in pieces)


def _printed_line(ms: int, level: str, piece: Piece) -> LogLine:
    if piece.left_out:
        return _remark(ms, piece.left_out)
    return LogLine(ms, level, shortened(visible_text(piece.data.decode(errors="replace"))))


def _remark(ms: int, left_out: int) -> LogLine:
    return LogLine(ms, REMARK, f"left out: {counted(left_out)} that came too fast", left_out)


def _echo(job: str, lines: Iterable[LogLine]) -> None:
    """Show what was printed in the worker's own log too; what was logged is there already."""
    for descriptor, level in ((1, STDOUT), (2, STDERR)):
        text = "".join(f"[job {job[:8]}] {line.text}\n" for line in lines if line.level == level)
        if text:
            with contextlib.suppress(OSError):
                os.write(descriptor, text.encode(errors="replace"))

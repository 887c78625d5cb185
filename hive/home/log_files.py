"""The Mac side's own logs: what Redis and the gateway wrote, in the order of its time, and kept from growing."""

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hive.home import gateway_process, redis_server
from hive.settings import Settings
from hive.wire.job import rfc3339

# A log of this size becomes the older one, and the one before that is removed.
MOST_BYTES = 5_000_000
_LOOK_EVERY_S = 0.3
# `12:M 25 Nov 2026 09:30:54.765 * words` and `2026-11-25 09:30:55,659 INFO name: words`, both in local time.
_REDIS = re.compile(r"(\d+:\w) (\d+ \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) (.*)", re.DOTALL)
_GATEWAY = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (.*)", re.DOTALL)
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Line:
    """A line of the Mac side's log; one without a time of its own, as in a traceback, has that of the line before."""

    time: datetime
    source: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        return {"time": rfc3339(self.time), "source": self.source, "text": self.text}


def log_files(settings: Settings) -> dict[str, Path]:
    """Where each service writes its log."""
    return {"redis": redis_server.log_file(settings), "gateway": gateway_process.log_file(settings)}


def cap(settings: Settings, most_bytes: int = MOST_BYTES) -> None:
    """Keep the logs from growing: what is too long moves to a file beside it.

    The file stays the same, because the gateway holds it open; both services append to whatever is there.
    """
    for file in log_files(settings).values():
        if file.exists() and file.stat().st_size > most_bytes:
            shutil.copy2(file, older(file))
            with file.open("r+b") as log:
                log.truncate()


def older(file: Path) -> Path:
    """Where the earlier part of a log is."""
    return file.with_name(f"{file.name}.1")


def read(settings: Settings) -> list[Line]:
    """All stored lines, in chronological order."""
    return _stored(_readers(settings))


def follow(settings: Settings) -> Iterator[Line]:
    """All stored lines, then each new one, without end."""
    readers = _readers(settings)
    yield from _stored(readers)
    while True:
        time.sleep(_LOOK_EVERY_S)
        yield from _sorted(line for reader in readers for line in reader.new())


class _Reader:
    """Reads one log, from where it was left."""

    def __init__(self, source: str, file: Path) -> None:
        self._source, self._file = source, file
        self._place, self._rest = 0, ""
        self._time = _NEVER

    def earlier(self) -> list[Line]:
        """The lines that have moved out of the way."""
        before = older(self._file)
        return self._lines(before.read_text(errors="replace")) if before.exists() else []

    def new(self) -> list[Line]:
        """The lines that came since the last call; a line that is not ended yet waits."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            if log.seek(0, 2) < self._place:  # it has been cut
                self._place, self._rest = 0, ""
            log.seek(self._place)
            came = log.read()
        self._place += len(came)
        whole, end, self._rest = (self._rest + came.decode(errors="replace")).rpartition("\n")
        return self._lines(whole + end)

    def _lines(self, text: str) -> list[Line]:
        return [self._line(line) for line in text.split("\n")[:-1] if line.strip()]

    def _line(self, text: str) -> Line:
        read, words = _read_redis(text) if self._source == "redis" else _read_gateway(text)
        self._time = read or self._time
        return Line(self._time, self._source, words)


def _readers(settings: Settings) -> list[_Reader]:
    return [_Reader(name, file) for name, file in log_files(settings).items()]


def _stored(readers: list[_Reader]) -> list[Line]:
    return _sorted(line for reader in readers for line in (*reader.earlier(), *reader.new()))


def _sorted(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.time)


def _read_redis(text: str) -> tuple[datetime | None, str]:
    """Time and rest of a line of Redis.

    >>> _read_redis("Killed")
    (None, 'Killed')
    """
    match = _REDIS.fullmatch(text)
    if match is None:
        return None, text
    return _utc(match[2], "%d %b %Y %H:%M:%S.%f"), f"{match[1]} {match[3]}"


def _read_gateway(text: str) -> tuple[datetime | None, str]:
    match = _GATEWAY.fullmatch(text)
    return (_utc(match[1], "%Y-%m-%d %H:%M:%S,%f"), match[2]) if match else (None, text)


def _utc(text: str, form: str) -> datetime | None:
    """A local time in UTC; None where it is none."""
    try:
        return datetime.strptime(text, form).astimezone(UTC)
    except ValueError:
        return None

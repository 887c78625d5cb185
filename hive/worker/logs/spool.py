"""Where an attempt's log waits on the worker's disk: what was printed as it is, and one JSON line for each record.

Files and not pipes. Who writes never waits, even where a C library holds Python's lock meanwhile; a child process may
write too; and what a process wrote survives its death.
"""

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hive.task import Progress

_RECORDS = ".records"
_JSON = json.JSONEncoder(separators=(",", ":"), default=float)  # a number of numpy is one to float
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h


class Position(NamedTuple):
    """How far something has come in the three files [bytes]."""

    out: int = 0
    err: int = 0
    records: int = 0

    def __str__(self) -> str:
        """Write it as Redis keeps it."""
        return f"{self.out} {self.err} {self.records}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read what `str` wrote."""
        return cls(*map(int, text.split()))


@dataclass(frozen=True)
class Writer:
    """The open files of a spool, as descriptors.

    A record carries how much had been printed before it, so that the order can be found again.
    """

    out: int
    err: int
    records: int

    def record(self, ms: int, level: str, text: str) -> None:
        """Write what was logged; the time is in ms since 1970."""
        self._write(ms, level, text)

    def progress(self, progress: Progress) -> None:
        """Write how far the task has come."""
        self._write(now_ms(), vars(progress))

    def mark(self) -> None:
        """Write down what time it is, for what is printed."""
        self._write(now_ms())

    def _write(self, ms: int, *what: Any) -> None:  # noqa: ANN401  JSON
        printed = os.fstat(self.out).st_size, os.fstat(self.err).st_size
        os.write(self.records, _JSON.encode([ms, *printed, *what]).encode() + b"\n")


class Spool:
    """The files of one attempt, in a folder that it shares: to make and remove one costs more than all the rest."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self.records = folder / f"{name}{_RECORDS}"

    @contextmanager
    def open(self) -> Iterator[Writer]:
        """Open the files to be written to, for as long as the block runs."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            opened = []
            for path in (self.out, self.err, self.records):
                opened.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
                stack.callback(os.close, opened[-1])
            yield Writer(*opened)

    def free(self, upto: Position) -> None:
        """Give back the disk space of what is not needed any more; only Linux can do that in the midst of a file."""
        for path, size in zip((self.out, self.err, self.records), upto, strict=True):
            if size and sys.platform == "linux":
                descriptor = os.open(path, os.O_RDWR)
                try:
                    _fallocate()(descriptor, _PUNCH_HOLE | _KEEP_SIZE, 0, size)  # a file system that cannot keeps it
                finally:
                    os.close(descriptor)

    def remove(self) -> None:
        """Remove the files; that of the records at last, because it is the one that is looked for."""
        for path in (self.out, self.err, self.records):
            path.unlink(missing_ok=True)


def spools_in(folder: Path) -> list[str]:
    """The names of the attempts that have a spool in a folder."""
    return [path.name.removesuffix(_RECORDS) for path in folder.glob(f"*{_RECORDS}")]


def now_ms() -> int:
    """The time, as records carry it."""
    return int(time.time() * 1000)


@cache
def _fallocate() -> Any:  # noqa: ANN401  ctypes
    function = ctypes.CDLL(None).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function

"""Which attempts run in this worker now: one small file each, written by whoever runs the task.

The worker's main process reads them from a thread. That works in every pool, while the worker shuts down, and after a
restart: a file that is left over names an attempt whose process died. An attempt leaves by taking its file away, and
whoever wants to end its process takes the file first: a process that has gone on to another job is never ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from hive.errors import UnreadableRecordError
from hive.staging import Cache
from hive.task import replaced_atomically
from hive.wire.record import Record, read_record, write_record

_RUNNING, _CLAIMED = ".json", ".claimed"


class Slot(Record, frozen=True):
    """An attempt that runs: its process, since when, and its limits (time [s], memory [bytes])."""

    job: str
    attempt: int
    pid: int
    born: float
    started: float
    time_s: float | None = None
    memory_bytes: int | None = None

    @property
    def name(self) -> str:
        """What the attempt's file and scratch folder are called."""
        return f"{self.job}.{self.attempt}"

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs; its start time distinguishes it from a later one with the same number."""
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.born) < 1
        except psutil.NoSuchProcess:
            return False

    def memory(self) -> int:
        """Resident memory of the process and everything below it [bytes]; 0 where it has just ended."""
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family)
        except psutil.Error:
            return 0


def this_process(job: str, attempt: int, time_s: float | None, memory_bytes: int | None) -> Slot:
    """The slot of an attempt that runs in this process."""
    pid = os.getpid()
    return Slot(job, attempt, pid, _born(pid), time.time(), time_s, memory_bytes)


@cache
def _born(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def slots_in(folder: Path) -> list[Slot]:
    """Every attempt that a worker's folder shows, claimed ones too."""
    slots = []
    for file in folder.glob("*.*.*"):
        if file.suffix in (_RUNNING, _CLAIMED):
            # It ended since the folder was listed, or this is no file of a worker.
            with contextlib.suppress(FileNotFoundError, UnreadableRecordError):
                slots.append(read_record(Slot, file.read_bytes(), f"The slot in {file}"))
    return slots


class Slots:
    """The running attempts of one worker."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self._folder = folder
        self._cache = cache

    @property
    def stop_flag(self) -> Path:
        """The file that is there while the worker wants its tasks to come to an end."""
        return self._folder / "stopping"

    def prepare(self) -> None:
        """Make the folder, and forget that an earlier worker of this name was stopping."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.stop_flag.unlink(missing_ok=True)

    @contextmanager
    def occupy(self, slot: Slot) -> Iterator[None]:
        """Show an attempt for as long as the block runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(slot)
        with replaced_atomically(file) as unfinished:
            unfinished.write_text(write_record(slot))
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            if self._claimed(slot).exists():
                os.kill(os.getpid(), signal.SIGKILL)  # as the keeper is about to do

    def all(self) -> list[Slot]:
        """Every attempt that runs, claimed ones too."""
        return slots_in(self._folder)

    def is_running(self, name: str) -> bool:
        """Whether the attempt of that name runs."""
        return (self._folder / f"{name}{_RUNNING}").exists() or (self._folder / f"{name}{_CLAIMED}").exists()

    def claim(self, slot: Slot) -> bool:
        """Take an attempt's file, so that its process may be ended; False where the attempt has left already."""
        with contextlib.suppress(FileNotFoundError):
            self._file(slot).rename(self._claimed(slot))
        return self._claimed(slot).exists()

    def clear(self, slot: Slot) -> None:
        """Take away what an attempt whose process died has left: its file here and its scratch folder."""
        self._cache.clear_scratch(slot.name)
        self._file(slot).unlink(missing_ok=True)
        self._claimed(slot).unlink(missing_ok=True)

    def _file(self, slot: Slot) -> Path:
        return self._folder / f"{slot.name}{_RUNNING}"

    def _claimed(self, slot: Slot) -> Path:
        return self._folder / f"{slot.name}{_CLAIMED}"

"""Downloads that may break off: partial files, and how long to try again."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0
# Whoever sits in front of it is told soon; a worker outlasts a laptop that sleeps over the weekend.
PROMPT_S, PATIENT_S = 60.0, 3 * 86_400.0
# A store that has never answered is most likely not there at all.
STRANGER_S = 1.0


class Patience:
    """Pauses between tries, growing from a quarter of a second to a quarter of a minute."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """Begin anew: something has worked."""
        self._end = time.monotonic() + self._limit_s
        self._pause = _FIRST_PAUSE_S

    def wait(self) -> bool:
        """Wait for the time of the next try; False where there is none."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
        return True


_READ_BYTES = 1 << 20


class Partial:
    """The hidden file beside `path` that a download is written to; used as a context.

    What was written stays there when the block ends early, and the next download of the same content goes on from it.
    Where another process writes the same one just now, this one writes a file of its own and leaves none behind.
    """

    def __init__(self, path: Path, digest: str, advance: Callable[[int], None]) -> None:
        self._path = path
        self._digest = digest
        self._advance = advance
        self._hash = sha256()
        self._file: BinaryIO
        self._place: Path
        self._is_shared = True
        self.size = 0

    def __enter__(self) -> Self:
        """Open the file, and read what an earlier download has left in it."""
        self._place = self._path.with_name(f".{self._digest[:16]}.part")
        self._file = self._place.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_same_file():  # whoever held it has just finished and renamed it
                raise BlockingIOError
        except BlockingIOError:
            self._file.close()
            self._is_shared = False
            self._place = self._path.with_name(f".{secrets.token_hex(8)}.part")
            self._file = self._place.open("x+b")
        self._file.seek(0)
        while block := self._file.read(_READ_BYTES):
            self._count(block)
        return self

    def _is_same_file(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._place.stat())
        except FileNotFoundError:
            return False

    def _count(self, block: bytes) -> None:
        self._hash.update(block)
        self.size += len(block)
        self._advance(len(block))

    def write(self, block: bytes) -> None:
        """Append what came."""
        self._file.write(block)
        self._count(block)

    def restart(self) -> None:
        """Forget what is there; it cannot be what is wanted."""
        self._file.truncate(0)
        self._advance(-self.size)
        self._hash, self.size = sha256(), 0

    def finish(self) -> bool:
        """Put the file into its place. Returns False, and removes it, if its SHA-256 does not match."""
        self._file.flush()
        if self._hash.hexdigest() != self._digest:
            self._place.unlink(missing_ok=True)
            return False
        self._place.replace(self._path)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; only one that others may go on with, and that has something in it, stays."""
        with contextlib.suppress(OSError):  # a full disk was told by `write` already
            self._file.close()
        if not self._is_shared or self.size == 0:
            self._place.unlink(missing_ok=True)

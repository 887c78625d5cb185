"""The worker's cache of files by digest, and the scratch folder of an attempt."""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hive.errors import StagingError
from hive.staging.reference import Reference
from hive.staging.store import BlobStore

# What a download must leave free, for what the task itself writes.
_RESERVE_BYTES = 256 << 20
_MIB, _GIB = 1 << 20, 1 << 30
# What is left of a download that nobody went on with.
_STALE_S = 86_400.0


class Cache:
    """Files that this machine has fetched, kept for the next job that reads them; the least recently used go first.

    Several pool children, and several workers, may share one folder.
    """

    def __init__(self, folder: Path, store: BlobStore, most_bytes: int) -> None:
        self._folder = folder
        self._store = store
        self._most_bytes = most_bytes

    def place(self, reference: Reference, folder: Path) -> Path:
        """Put a file into a folder under its own name; it is fetched only where it is not cached.

        Raises
        ------
        StagingError
            The file is not in the store, or this machine has no room for it.
        """
        cached = self._file(reference.digest)
        placed = folder / reference.name
        while True:
            if not cached.exists():
                self._download(reference, cached)
            try:
                _link(cached, placed)
            except FileNotFoundError:
                continue  # another process made room in the meantime, with this very file
            with suppress(OSError):
                os.utime(cached)  # used just now: it goes last
            return placed

    def _file(self, digest: str) -> Path:
        return self._folder / "sha256" / digest[:2] / digest

    def _download(self, reference: Reference, cached: Path) -> None:
        """Fetch a file, once for all who want it now."""
        cached.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder / "locks" / reference.digest[:2]):
            if cached.exists():
                return
            size = self._store.size(reference.digest)
            if size is None:
                raise StagingError(f"{reference} is not in the store {self._store.url}. Submit the job again.")
            self._make_room(reference, size)
            try:
                self._store.fetch(reference, cached)
            except OSError as error:
                raise StagingError(
                    f"{reference.name} cannot be written to {self._folder}: {error.strerror}."
                ) from error
            cached.chmod(0o444)  # a task that writes into its input would damage every later job

    def _make_room(self, reference: Reference, size: int) -> None:
        """Forget files until this one fits, both under the cap and on the disk."""
        files = sorted(self._files())
        total = sum(used for _, used, _ in files)
        for _, used, file in files:
            if total + size <= self._most_bytes and self._free() >= size + _RESERVE_BYTES:
                return
            file.unlink(missing_ok=True)
            total -= used
        if (free := self._free() - _RESERVE_BYTES) < size:
            raise StagingError(
                f"{reference.name} needs {_format_size(size)} on this worker, and {self._folder} has "
                f"{_format_size(max(free, 0))} to spare. Make room there, or set HIVE_CACHE to a larger disk."
            )

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Every cached file: when it was last used, its size, and where it is. Stale parts of downloads are removed."""
        for file in self._folder.glob("sha256/*/*"):
            with suppress(FileNotFoundError):
                status = file.stat()
                if not file.name.startswith("."):
                    yield status.st_mtime, status.st_size, file
                elif time.time() - status.st_mtime > _STALE_S:
                    file.unlink()

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free

    @contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """Name a folder for one attempt, to be made by whoever needs it; it is removed afterwards, in every case."""
        folder = self._folder / "scratch" / f"{prefix}-{secrets.token_hex(4)}"
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)

    def clear_scratch(self, prefix: str) -> None:
        """Remove the scratch folder of an attempt whose process was killed and could not do it itself."""
        for folder in (self._folder / "scratch").glob(f"{prefix}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def _format_size(size: int) -> str:
    """A size for people.

    >>> _format_size(603_353), _format_size(5 * 2**30)
    ('0.6 MiB', '5.0 GiB')
    """
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"


def _link(cached: Path, placed: Path) -> None:
    """Give a cached file a second name, or where the file system cannot, copy it."""
    try:
        os.link(cached, placed)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(cached, placed)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock that other processes respect; it ends with the process that holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield

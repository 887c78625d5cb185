"""Checkpoints: a folder that outlives the attempt and follows the job to the next machine."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import redis

from hive.errors import HiveError
from hive.staging import BlobStore, FileContent, Reference, digest_of, safe_path
from hive.store import JobStore

logger = logging.getLogger(__name__)
# A machine may vanish at any moment: what was written is safe this long afterwards.
_SYNC_EVERY_S = 5.0


class Checkpoints:
    """The checkpoint folder of one attempt.

    Files are copied to the store as they are renamed into place; hidden files are taken to be unfinished.
    """

    def __init__(self, job: str, attempt: int, folder: Path, records: JobStore, blobs: BlobStore) -> None:
        self._job, self._attempt = job, attempt
        self._folder = folder
        self._records = records
        self._blobs = blobs
        self._copies: dict[str, tuple[tuple[int, int], Reference]] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def open(self) -> Path:
        """Download what the last attempt wrote, and begin to copy what this one writes."""
        with self._lock:
            if self._thread is None:
                self._folder.mkdir(parents=True)
                self._restore(self._records.checkpoint(self._job))
                self._thread = threading.Thread(target=self._sync_until_over, daemon=True, name="checkpoints")
                self._thread.start()
        return self._folder

    def close(self) -> None:
        """Copy what is new and stop."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._sync()

    def discard(self) -> None:
        """Remove what the store holds; the job does not need it any more."""
        for _, reference in self._copies.values():
            self._blobs.delete(reference.digest)

    def _restore(self, manifest: Mapping[str, str]) -> None:
        for name, text in manifest.items():
            path = safe_path(self._folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            reference = Reference.parse(text)
            self._blobs.fetch(reference, path)
            self._copies[name] = (_stamp(path), reference)

    def _sync_until_over(self) -> None:
        while not self._over.wait(_SYNC_EVERY_S):
            self._sync()

    def _sync(self) -> None:
        try:
            self._copy_new()
        except (HiveError, OSError, redis.RedisError) as error:
            logger.warning("job %s: the checkpoint could not be copied: %s", self._job, error)

    def _copy_new(self) -> None:
        files = {path.relative_to(self._folder).as_posix(): path for path in _finished_files(self._folder)}
        current = {name: self._copied(name, path) for name, path in files.items()}
        if current == self._copies:
            return
        manifest = {name: str(reference) for name, (_, reference) in current.items()}
        if self._records.keep_checkpoint(self._job, self._attempt, manifest):
            needed = {reference.digest for _, reference in current.values()}
            for digest in {reference.digest for _, reference in self._copies.values()} - needed:
                self._blobs.delete(digest)
            self._copies = current

    def _copied(self, name: str, path: Path) -> tuple[tuple[int, int], Reference]:
        stamp = _stamp(path)
        previous = self._copies.get(name)
        if previous is not None and previous[0] == stamp:
            return previous
        reference = Reference(digest_of(path), path.name)
        if not self._blobs.has(reference.digest):
            self._blobs.put(FileContent(path), reference)
        return stamp, reference


def _finished_files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns

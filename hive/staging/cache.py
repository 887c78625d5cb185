"""The worker's cache of files by digest, and the scratch folder of an attempt."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hive.staging.reference import Reference
from hive.staging.store import BlobStore


class Cache:
    """Files that this worker has fetched, kept for the next job that reads them."""

    def __init__(self, folder: Path, store: BlobStore) -> None:
        self._folder = folder
        self._store = store

    def place(self, reference: Reference, folder: Path) -> Path:
        """Put a file into a folder under its own name; it is fetched only where it is not cached.

        Several pool children may fetch the same file at once: each writes its own copy and renames it, so the last
        one wins and all are whole.
        """
        cached = self._folder / "sha256" / reference.digest[:2] / reference.digest
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            self._store.fetch(reference, cached)
            cached.chmod(0o444)  # a task that writes into its input would damage every later job
        placed = folder / reference.name
        try:
            os.link(cached, placed)
        except OSError:
            shutil.copyfile(cached, placed)
        return placed

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

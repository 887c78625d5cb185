"""Files on their way into the gateway's store: written under a passing name, seen when whole and right."""

import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import BinaryIO

_READ_BYTES = 1 << 20
# Room that uploads leave on the disk.
_RESERVE_BYTES = 256 << 20
# A sender that has been silent for so long is taken to be gone; another may go on.
_SILENT_S = 5.0
# What is left of an upload that nobody went on with is removed after a week.
_STALE_S = 7 * 86_400.0


class Incoming:
    """One file that is being received, at most one sender at a time."""

    def __init__(self, path: Path, *, is_shared: bool) -> None:
        self.path = path
        self.size = 0
        self.sender: object | None = None
        self._is_shared = is_shared
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._heard = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether somebody sends it right now."""
        return self.sender is not None and time.monotonic() - self._heard < _SILENT_S

    @property
    def is_open(self) -> bool:
        """Whether the file is open already."""
        return self._file is not None

    def open(self) -> None:
        """Open the file, and read what is there from before the gateway was started."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        while block := self._file.read(_READ_BYTES):
            self._hash.update(block)
            self.size += len(block)

    def append(self, block: bytes) -> None:
        """Write what came; where the disk is full, nothing of it stays."""
        assert self._file is not None  # noqa: S101  opened before anybody sends
        self._heard = time.monotonic()
        try:
            self._file.write(block)
            self._file.flush()
        except OSError:
            os.truncate(self.path, self.size)
            raise
        self._hash.update(block)
        self.size += len(block)

    def finish(self, digest: str, place: Path) -> bool:
        """Put the file into its place for good. Returns False, and removes it, where its digest is not the one."""
        assert self._file is not None  # noqa: S101  as above
        if self._hash.hexdigest() != digest:
            self.discard()
            return False
        os.fsync(self._file.fileno())  # a name without its content would be worse than nothing after a power cut
        self._file.close()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.replace(place)
        return True

    @property
    def is_worth_keeping(self) -> bool:
        """Whether somebody could go on with what is here."""
        return self._is_shared and self.size > 0

    def discard(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.path.unlink(missing_ok=True)


class Store:
    """The gateway's own files by content, laid out as `file:///…` stores are, and what is on its way into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming: dict[Path, Incoming] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_stale()

    def place(self, area: str, digest: str) -> Path:
        """Where a file is, or would be."""
        return self.folder / area / digest[:2] / digest

    def incoming(self, area: str, digest: str) -> Incoming:
        """The upload of a file, which whoever sends it next goes on with; opened by `Incoming.open` when it is new."""
        path = self._passing(area, digest)
        return self._incoming.setdefault(path, Incoming(path, is_shared=True))

    def is_busy(self, area: str, digest: str) -> bool:
        """Whether somebody sends a file right now."""
        upload = self._incoming.get(self._passing(area, digest))
        return upload is not None and upload.is_busy

    def incoming_alone(self) -> Incoming:
        """An upload that is sent in one piece and cannot be gone on with."""
        return Incoming(self.folder / "incoming" / secrets.token_hex(8), is_shared=False)

    def received(self, area: str, digest: str) -> int:
        """How much of a file is here already [bytes]."""
        path = self._passing(area, digest)
        upload = self._incoming.get(path)
        if upload is not None and upload.is_open:
            return upload.size
        return path.stat().st_size if path.exists() else 0

    def _passing(self, area: str, digest: str) -> Path:
        return self.folder / "incoming" / f"{area.replace('/', '.')}.{digest}"

    def leave(self, incoming: Incoming) -> None:
        """Let a sender go; what nobody could go on with is removed."""
        incoming.sender = None
        if not incoming.is_worth_keeping:
            incoming.discard()
            self.forget(incoming)

    def forget(self, incoming: Incoming) -> None:
        """Drop an upload that has ended, well or not."""
        self._incoming.pop(incoming.path, None)

    def has_room(self, size: int) -> bool:
        """Whether the disk can take so many more bytes."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self.folder).free >= size + _RESERVE_BYTES

    def remove_damaged(self, area: str, digest: str) -> None:
        """Remove a file whose content is not what its name says."""
        place = self.place(area, digest)
        if place.exists():
            with place.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    place.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        for path in (self.folder / "incoming").glob("*"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink(missing_ok=True)

"""Digests that were computed before: a large file that has not changed is not read again to be hashed."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from hive.staging.contents import NOBODY, Content, FileContent, digest_of

_SCHEMA = """
CREATE TABLE IF NOT EXISTS digest (
    path TEXT PRIMARY KEY, size INTEGER, modified_ns INTEGER, changed_ns INTEGER, inode INTEGER, digest TEXT NOT NULL
)
"""
# Smaller files are read faster than they are looked up.
_WORTH_BYTES = 1 << 20
# A file that changed so shortly before it was hashed could change again within the same tick of its clock.
_SETTLED_NS = 2 * 10**9
_PATIENCE_S = 1.0
_Stamp = tuple[int, int, int, int]


class Digests:
    """Digests by path; one counts for as long as size, times and inode of its file stay the same."""

    def __init__(self, home: Path) -> None:
        self._file = home / "digests.sqlite3"

    def of(self, content: Content, advance: Callable[[int], None] = NOBODY) -> str:
        """SHA-256 of a content as 64 hex digits."""
        if not isinstance(content, FileContent) or content.size < _WORTH_BYTES:
            return digest_of(content, advance)
        path = content.path.absolute()
        before = _stamp(path)
        if (known := self._known(path, before)) is not None:
            advance(content.size)
            return known
        now_ns = time.time_ns()
        digest = digest_of(content, advance)
        if _stamp(path) == before and now_ns - max(before[1], before[2]) > _SETTLED_NS:
            self._keep(path, before, digest)
        return digest

    def _known(self, path: Path, stamp: _Stamp) -> str | None:
        with suppress(sqlite3.Error, OSError), closing(self._open()) as connection:
            row = connection.execute(
                "SELECT digest FROM digest"
                " WHERE path = ? AND size = ? AND modified_ns = ? AND changed_ns = ? AND inode = ?",
                (str(path), *stamp),
            ).fetchone()
            return str(row[0]) if row else None
        return None  # without the list everything is hashed, and right all the same

    def _keep(self, path: Path, stamp: _Stamp, digest: str) -> None:
        with suppress(sqlite3.Error, OSError), closing(self._open()) as connection, connection:
            connection.execute("REPLACE INTO digest VALUES (?, ?, ?, ?, ?, ?)", (str(path), *stamp, digest))

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(self._file, timeout=_PATIENCE_S)
        connection.execute(_SCHEMA)
        return connection


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino

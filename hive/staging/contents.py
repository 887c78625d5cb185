"""Files and folders by their content: digests, remembered ones, packs."""

import sqlite3
import stat
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO, Protocol

from hive.errors import BadFileError, StagingError
from hive.staging.reference import safe_path

_READ_BYTES = 1 << 20
_TAR_BLOCK = tarfile.BLOCKSIZE
NOBODY: Callable[[int], None] = lambda _: None  # noqa: E731  a default for callers without progress bar


def total_bytes(paths: Iterable[Path]) -> int:
    """How much some files hold, and the files in some folders."""
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files if file.is_file())


class Content(Protocol):
    """Bytes that can be read more than once, from any place on."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Read from a place to the end, in blocks."""


@dataclass(frozen=True)
class FileContent:
    """One file."""

    path: Path

    @property
    def name(self) -> str:
        """The file's path, as it was named."""
        return str(self.path)

    @cached_property
    def size(self) -> int:
        """Size of the file [bytes]."""
        return self.path.stat().st_size

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Read the file from a place on."""
        with self.path.open("rb") as file:
            file.seek(start)
            while block := file.read(_READ_BYTES):
                yield block


@dataclass(frozen=True)
class _Member:
    """One entry of a pack: its name there, and the file it comes from; None for an empty folder."""

    name: str
    path: Path | None
    size: int
    is_program: bool

    @property
    def header(self) -> bytes:
        """The entry's header; no times and no owners, so that equal content has an equal digest."""
        entry = tarfile.TarInfo(self.name)
        entry.size = self.size
        entry.mode = 0o755 if self.is_program or self.path is None else 0o644
        entry.type = tarfile.DIRTYPE if self.path is None else tarfile.REGTYPE
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")

    @property
    def padding(self) -> int:
        """Zeros that fill the last block [bytes]."""
        return -self.size % _TAR_BLOCK


@dataclass(frozen=True)
class Pack:
    """Many files as one tar (POSIX.1-2001, uncompressed), made while it is read: it needs no room on this disk."""

    name: str
    members: tuple[_Member, ...]

    @cached_property
    def size(self) -> int:
        """Size of the tar [bytes]."""
        return sum(len(member.header) + member.size + member.padding for member in self.members) + 2 * _TAR_BLOCK

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Read the tar from a place on; files before it are not opened."""
        position = 0
        for piece, length in self._pieces():
            skipped = min(max(start - position, 0), length)
            position += length
            if skipped == length:
                continue
            yield from _exactly(piece, skipped, length) if isinstance(piece, Path) else [piece[skipped:]]

    def _pieces(self) -> Iterator[tuple[bytes | Path, int]]:
        for member in self.members:
            header = member.header
            yield header, len(header)
            if member.path is not None and member.size:
                yield member.path, member.size
            yield bytes(member.padding), member.padding
        yield bytes(2 * _TAR_BLOCK), 2 * _TAR_BLOCK


def _exactly(path: Path, start: int, size: int) -> Iterator[bytes]:
    """Read a file that must still have the size that was announced for it."""
    for block in FileContent(path).read(start):
        start += len(block)
        if start > size:
            break
        yield block
    if start != size:
        raise StagingError(f"{path} changed while it was sent. Send it again when it is finished.")


def pack_files(name: str, paths: Sequence[Path]) -> Pack:
    """Pack a list of files, in their order; equal names do not meet, because each lies in a folder with its number."""
    return Pack(name, tuple(_member(path, f"{number:06d}/{path.name}") for number, path in enumerate(paths)))


def pack_folder(folder: Path) -> Pack:
    """Pack a folder with everything in it but what its `.hiveignore`, or else its `.gitignore`, names.

    Raises
    ------
    BadFileError
        Something in it is neither file nor folder, is a link out of it or to a folder, or has a name that is no UTF-8.
    """
    ignored = _ignored(folder)
    root = folder.resolve()
    members = []
    for path, relative in _walk(folder, folder, ignored):
        _refuse_strange(path, root)
        members.append(_member(path, relative))
    return Pack(str(folder), tuple(sorted(members, key=lambda member: member.name)))


def _walk(folder: Path, top: Path, ignored: Callable[[str], bool]) -> Iterator[tuple[Path, str]]:
    """Everything below a folder that is to be packed: files, and folders with nothing in them."""
    children = sorted(folder.iterdir())
    if not children and folder != top:
        yield folder, folder.relative_to(top).as_posix()
    for path in children:
        relative = path.relative_to(top).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()
        if ignored(f"{relative}/" if is_folder else relative):
            continue
        if is_folder:
            yield from _walk(path, top, ignored)
        else:
            yield path, relative


def _ignored(folder: Path) -> Callable[[str], bool]:
    """What is left out, by the rules of gitignore(5)."""
    rules = next((file for name in (".hiveignore", ".gitignore") if (file := folder / name).is_file()), None)
    if rules is None:
        return lambda relative: relative == ".git/"
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  30 ms that a folder without rules need not pay

    try:
        lines = rules.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError(f"{rules} cannot be read: {error}.") from error
    spec = GitIgnoreSpec.from_lines([".git/", *lines])
    return lambda relative: bool(spec.match_file(relative))


def _refuse_strange(path: Path, root: Path) -> None:
    advice = "Remove it, or name it in the folder's .hiveignore."
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
        str(path).encode()
    except UnicodeEncodeError as error:
        raise BadFileError(f"{str(path)!r} has a name that is no UTF-8 and cannot be sent. {advice}") from error
    except (OSError, RuntimeError) as error:
        raise BadFileError(f"{path} cannot be read: {error}. {advice}") from error
    if path.is_symlink() and not target.is_relative_to(root):
        raise BadFileError(f"{path} is a link out of the folder, to {target}. {advice}")
    if path.is_symlink() and target.is_dir():
        raise BadFileError(f"{path} is a link to a folder. {advice}")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadFileError(f"{path} is neither a file nor a folder. {advice}")


def _member(path: Path, name: str) -> _Member:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return _Member(name, None, 0, is_program=False)
    return _Member(name, path, status.st_size, is_program=bool(status.st_mode & stat.S_IXUSR))


def digest_of(content: Content | Path, advance: Callable[[int], None] = NOBODY) -> str:
    """SHA-256 as 64 hex digits.

    Parameters
    ----------
    content : what is read; a path means that file
    advance : told how many more bytes were read, for a progress bar
    """
    digest = sha256()
    for block in (FileContent(content) if isinstance(content, Path) else content).read():
        digest.update(block)
        advance(len(block))
    return digest.hexdigest()


def checked(content: Content, digest: str, advance: Callable[[int], None] = NOBODY) -> Iterator[bytes]:
    """Read a content to its end, and fail there if it is not what was hashed before.

    Raises
    ------
    StagingError
        It has changed meanwhile.
    """
    actual = sha256()
    for block in content.read():
        actual.update(block)
        advance(len(block))
        yield block
    if actual.hexdigest() != digest:
        raise StagingError(f"{content.name} changed while it was sent. Send it again when it is finished.")


def unpack(pack: Path, folder: Path) -> list[Path]:
    """Write the files of a pack below a folder that exists; returns them in their order.

    Raises
    ------
    StagingError
        It is no pack, or an entry would land outside the folder.
    """
    files = []
    try:
        with tarfile.open(pack, "r:") as opened:
            for entry in opened:
                place = safe_path(folder, entry.name)
                if entry.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                source = opened.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                if source is None:
                    raise StagingError(f"{pack.name} holds {entry.name!r}, which is neither a file nor a folder.")
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(source, place, entry.mode)
                files.append(place)
    except tarfile.TarError as error:
        raise StagingError(f"{pack.name} is no pack of files: {error}.") from error
    return files


def _write(source: IO[bytes], place: Path, mode: int) -> None:
    with place.open("xb") as file:
        while block := source.read(_READ_BYTES):
            file.write(block)
    if mode & stat.S_IXUSR:
        place.chmod(0o755)  # a program stays a program


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
        if (remembered := self._remembered(path, before)) is not None:
            advance(content.size)
            return remembered
        now_ns = time.time_ns()
        digest = digest_of(content, advance)
        if _stamp(path) == before and now_ns - max(before[1], before[2]) > _SETTLED_NS:
            self._keep(path, before, digest)
        return digest

    def _remembered(self, path: Path, stamp: _Stamp) -> str | None:
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

"""The files that a task reads and writes, and how the first bytes of a file tell what it is.

These checks run on the laptop before anything is sent, so they read a few hundred bytes at most.

A file in a signature is a `Path` to the task; the annotation says which way it travels:
`Read` is staged to the worker, `Written` comes back.
"""

import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from hive.errors import BadFileError
from hive.task.values import Json

# Offsets of the public header block: ASPRS LAS Specification 1.4 R15, table 3.
_HEADER = struct.Struct("<4s20xBB68xHIIBHI")
_LARGE_COUNT = struct.Struct("<Q")
_LARGE_COUNT_AT = 247
# LASzip marks a compressed record by the upper two bits of the point format, and begins the point data with the
# position of its chunk table (Isenburg 2013, LASzip: lossless compression of LiDAR data).
_COMPRESSED = 0b1100_0000
_CHUNK_TABLE = struct.Struct("<q")
# Waveform formats have no common mark: SAC begins with a number, plain columns with a digit. These beginnings are none
# of theirs; they are what people name by accident: a station's metadata, the log-in page of an archive.
_NOT_WAVEFORMS: Mapping[bytes, str] = {
    b"<": "XML or HTML, such as StationXML, QuakeML or a web page",
    b"PK\3\4": "a ZIP archive; unpack it",
    b"BZh": "packed with bzip2; unpack it",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"LASF": "a point cloud",
}


def check_las(path: Path) -> None:
    """Refuse a file that is not LAS or LAZ, or that ends too early.

    Raises
    ------
    BadFileError
        The signature is missing, the header is cut, or the points that it announces are not all there.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(max(_HEADER.size, _LARGE_COUNT_AT + _LARGE_COUNT.size))
        if header[:4] != b"LASF":
            raise BadFileError(f"{path} is not a LAS or LAZ file: it does not begin with LASF.")
        if len(header) < _HEADER.size:
            raise _truncated(path, size)
        _, major, minor, _, points_at, _, point_format, record_length, points = _HEADER.unpack_from(header)
        if (major, minor) >= (1, 4) and len(header) >= _LARGE_COUNT_AT + _LARGE_COUNT.size:
            points = _LARGE_COUNT.unpack_from(header, _LARGE_COUNT_AT)[0]
        if point_format & _COMPRESSED:
            file.seek(points_at)
            needed = _end_of_compressed(file.read(_CHUNK_TABLE.size), points_at)
        else:
            needed = points_at + points * record_length
    if size < needed:
        raise _truncated(path, size)


def _end_of_compressed(start: bytes, points_at: int) -> int:
    """Position that the file must reach for its chunk table to be there [bytes]."""
    if len(start) < _CHUNK_TABLE.size:
        return points_at + _CHUNK_TABLE.size
    chunk_table_at = int(_CHUNK_TABLE.unpack(start)[0])
    # A writer that could not seek back leaves -1 and puts the position at the very end of the file.
    return points_at + _CHUNK_TABLE.size if chunk_table_at < 0 else chunk_table_at + _CHUNK_TABLE.size


def _truncated(path: Path, size: int) -> BadFileError:
    return BadFileError(f"{path} is truncated: it has {size} bytes, fewer than its header announces. Copy it again.")


def check_waveform(path: Path) -> None:
    """Refuse a file that begins as no waveform file does; the rest only its reader can tell.

    Raises
    ------
    BadFileError
        Names what the file is.
    """
    with path.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, what in _NOT_WAVEFORMS.items():
        if start.startswith(mark):
            raise BadFileError(f"{path} is not a waveform file: it is {what}.")


@dataclass(frozen=True)
class _File:
    what: str
    suffixes: tuple[str, ...] = ()
    is_folder: bool = field(default=False, kw_only=True)

    @property
    def metavar(self) -> str:
        """The noun, as `--help` shows it."""
        return self.what.upper().replace(" ", "_")

    def parse(self, text: str) -> str | Path:
        """Take the path, reference or URL as it is; who sends the job resolves it."""
        return self.check(text)

    def check(self, value: object) -> str | Path:
        """Refuse what cannot name such a file."""
        if not isinstance(value, str | Path):
            raise ValueError(f"the path of a {self.what}, not {value!r}")
        name = str(value)
        if not name or "\0" in name:
            raise ValueError(f"the path of a {self.what}, not {name!r}")
        path = urlsplit(name).path if "://" in name else name
        if self.suffixes and not path.lower().endswith(self.suffixes) and not self._is_named_folder(name):
            raise ValueError(f"a {self.what} whose name ends in {' or '.join(self.suffixes)}, not {name!r}")
        return value

    def _is_named_folder(self, name: str) -> bool:
        """Whether the name is a folder's, for kinds that take a folder as well as a file."""
        return False

    def show(self, value: object) -> str:
        """Write the path."""
        return str(value)

    def _schema(self, way: str) -> dict[str, Json]:
        described: dict[str, Json] = {"type": "string", "x-file": way, "x-suffixes": list(self.suffixes)}
        return described | ({"x-folder": True} if self.is_folder else {})


@dataclass(frozen=True)
class Read(_File):
    """A file, or a whole folder, that the task reads; `inspect` looks at it before anything is sent."""

    inspect: Callable[[Path], None] | None = None
    may_be_folder: bool = field(default=False, kw_only=True)

    def _is_named_folder(self, name: str) -> bool:
        """Whether a folder is named: a reference with a slash at its end, or any other name without an ending."""
        is_reference = name.startswith("sha256:") and name.endswith("/")
        is_path = "://" not in name and (not Path(name).suffix or Path(name).is_dir())
        return self.may_be_folder and (is_reference or is_path)

    def check_content(self, path: Path) -> None:
        """Refuse a file that is missing, unreadable, empty or visibly damaged.

        Raises
        ------
        BadFileError
            Names the file and what is wrong with it.
        """
        if not path.exists():
            raise BadFileError(f"{path} does not exist; check the path.")
        if self.may_be_folder and path.is_dir():
            self._check_files_in(path)
            return
        if path.is_dir() != self.is_folder:
            raise BadFileError(f"{path} is a {'file' if self.is_folder else 'folder'}; expected a {self.what}.")
        if self.is_folder:
            _check_folder(path)
        else:
            self._check_file(path)
        if self.inspect is not None:
            self.inspect(path)

    def _check_files_in(self, folder: Path) -> None:
        """Look at each file of a folder that has the right ending."""
        paths = [path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(self.suffixes)]
        if not paths:
            raise BadFileError(f"{folder} holds no {self.what}: no file there ends in {' or '.join(self.suffixes)}.")
        for path in paths:
            self._check_file(path)
            if self.inspect is not None:
                self.inspect(path)

    def _check_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                is_empty = not file.read(1)
        except OSError as error:
            raise BadFileError(f"{path} cannot be read: {error.strerror}.") from error
        if is_empty:
            raise BadFileError(f"{path} is empty; expected a {self.what}.")

    def schema(self) -> dict[str, Json]:
        """A JSON string: a reference, a URL, or on the command line a path."""
        return self._schema("read")


@dataclass(frozen=True)
class Written(_File):
    """A file, or a folder, that the task writes; the folder is there and empty when the task starts.

    Hive requests a preview even where the caller names none.
    """

    is_preview: bool = False

    def schema(self) -> dict[str, Json]:
        """A JSON string: the name of the file that is brought back."""
        return self._schema("written")


PointCloud = Annotated[Path, Read("point cloud", (".las", ".laz"), check_las)]
Waveform = Annotated[Path, Read("waveform file", (), check_waveform)]
PointClouds = Annotated[Path, Read("point cloud", (".las", ".laz"), check_las, may_be_folder=True)]
Raster = Annotated[Path, Written("raster", (".tif", ".tiff"))]
Preview = Annotated[Path, Written("preview", (".png",), is_preview=True)]
AnyInput = Annotated[Path, Read("file")]
AnyOutput = Annotated[Path, Written("file")]
InputFolder = Annotated[Path, Read("folder", is_folder=True)]
OutputFolder = Annotated[Path, Written("folder", is_folder=True)]


def _check_folder(path: Path) -> None:
    try:
        is_empty = next(path.iterdir(), None) is None
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}.") from error
    if is_empty:
        raise BadFileError(f"{path} is empty; expected a folder with files.")


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it when the block ends well; remove it otherwise.

    Nobody ever sees a half-written file, and a file that was there before stays until the new one is whole.
    """
    unfinished = path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

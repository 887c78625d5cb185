"""What a file's first bytes tell about it, with nothing but the standard library.

These checks run on the laptop before anything is sent, so they read a few hundred bytes at most.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from hive.errors import BadFileError

# Offsets of the public header block: ASPRS LAS Specification 1.4 R15, table 3.
_HEADER = struct.Struct("<4s20xBB68xHIIBHI")
_LARGE_COUNT = struct.Struct("<Q")
_LARGE_COUNT_AT = 247
# LASzip marks a compressed record by the upper two bits of the point format, and begins the point data with the
# position of its chunk table (Isenburg 2013, LASzip: lossless compression of LiDAR data).
_COMPRESSED = 0b1100_0000
_CHUNK_TABLE = struct.Struct("<q")
# Waveform formats have no common mark: SAC begins with a number, plain columns with a digit. These beginnings are none
# of theirs, and are what is named by mistake: a station's metadata, a page of an archive that asks for a log-in.
_NO_WAVEFORM: Mapping[bytes, str] = {
    b"<": "XML or HTML, such as StationXML, QuakeML or a web page",
    b"PK\3\4": "a ZIP archive; unpack it",
    b"BZh": "packed with bzip2; unpack it",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"LASF": "a point cloud",
}


def check_las(path: Path) -> None:
    """Refuse a file that is no LAS or LAZ, or that ends too early.

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
    """Refuse a file that begins as no waveform file does. What a waveform really is, only its reader can tell.

    Raises
    ------
    BadFileError
        Says what the file is.
    """
    with path.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, what in _NO_WAVEFORM.items():
        if start.startswith(mark):
            raise BadFileError(f"{path} is no waveform file: it is {what}.")

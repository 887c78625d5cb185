"""Lines of a file that grows: read from a place on, of very many only some, and shortened where they are very long."""

import os
from dataclasses import dataclass
from pathlib import Path

# What is looked at in one go, at the beginning and at the end of what is new [bytes].
_WINDOW = 1 << 19
_CHUNK = 1 << 20
# A line longer than that loses its middle [characters].
_LONGEST = 4096


@dataclass(frozen=True)
class Piece:
    """One line of a file and where it ends there; or, in place of lines that are left out, how many they are."""

    end: int
    data: bytes
    left_out: int = 0


def read_lines(path: Path, start: int, size: int | None, most: int, ending: bytes) -> tuple[list[Piece], bytes]:
    """All whole lines of a file between a place and a size (None: its size now), and the rest.

    Of more than `most` only the first and the last, and between them the number of those that end with `ending`.
    """
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size if size is None else size
        data = os.pread(descriptor, min(size - start, _WINDOW), start)
        if len(data) == size - start and data.count(b"\n") <= most:
            return _split(data, start)
        head = _first_lines(data, most // 2)
        begin = start + len(head)
        back = max(begin, size - _WINDOW)
        tail = _last_lines(os.pread(descriptor, size - back, back), most // 2)
        end = size - len(tail)
        left_out = Piece(end, b"", max(1, _count(descriptor, begin, end, ending)))
    pieces, rest = _split(tail, end)
    return [*_split(head, start)[0], left_out, *pieces], rest


def _first_lines(data: bytes, most: int) -> bytes:
    r"""The first whole lines.

    >>> _first_lines(b"1\n2\n3\nrest", 2), _first_lines(b"1\n2\n3\nrest", 9)
    (b'1\n2\n', b'1\n2\n3\n')
    """
    parts = data.split(b"\n", most)
    return data[: len(data) - len(parts[-1])] if len(parts) > most else data[: data.rfind(b"\n") + 1]


def _last_lines(data: bytes, most: int) -> bytes:
    r"""The last whole lines, and the rest; the first line may have begun before.

    >>> _last_lines(b"1\n2\n3\nrest", 2), _last_lines(b"1\n2\n3\nrest", 9)
    (b'2\n3\nrest', b'2\n3\nrest')
    """
    parts = data.rsplit(b"\n", most + 1)
    return data[len(parts[0]) + 1 :] if len(parts) > most + 1 else data[data.find(b"\n") + 1 or len(data) :]


def _split(data: bytes, start: int) -> tuple[list[Piece], bytes]:
    *lines, rest = data.split(b"\n")
    pieces = []
    for line in lines:
        start += len(line) + 1
        pieces.append(Piece(start, line.lstrip(b"\0")))  # zeros are where space was given back
    return pieces, rest


def _count(descriptor: int, begin: int, end: int, ending: bytes) -> int:
    """How often an ending occurs in a part of a file; one that lies across two chunks is found as well."""
    found, before = 0, b""
    while begin < end and (chunk := os.pread(descriptor, min(_CHUNK, end - begin), begin)):
        found += (before + chunk).count(ending)
        before = chunk[len(chunk) - len(ending) + 1 :] if len(ending) > 1 else b""
        begin += len(chunk)
    return found


def as_shown(line: str) -> str:
    r"""What a terminal shows of a line in the end: a progress bar that goes back to the start overwrites itself.

    >>> as_shown("10 %\r20 %\r30 %\r")
    '30 %'
    """
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


def shortened(text: str) -> str:
    """Text without its middle, where it is too long; a traceback says most at its end.

    >>> shortened("a" * 2048 + "b" * 12345 + "c" * 2048) == "a" * 2048 + " [12,345 characters left out] " + "c" * 2048
    True
    """
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} [{len(text) - _LONGEST:,} characters left out] {text[-half:]}"

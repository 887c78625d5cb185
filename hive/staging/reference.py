"""Names of files by content: `sha256:<64 hex>/<file name>`, with a slash behind the name of a packed folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hive.errors import BadParameterError

_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})/(.+?)(/?)", re.DOTALL)
# The longest name that common file systems hold is 255 bytes.
_NAME_BYTES = 255


@dataclass(frozen=True)
class Reference:
    """A file by its content, and the name it has for people; a folder is the pack that holds its files."""

    digest: str
    name: str
    is_folder: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:<64 hex>/<file name>`, or `sha256:<64 hex>/<folder name>/`.

        Raises
        ------
        BadParameterError
            It is no reference, or its name would lead out of a folder.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise BadParameterError(f"{text!r} is no reference; write sha256:<64 hex digits>/<file name>.")
        digest, name, slash = match.groups()
        return cls(digest, safe_name(name), is_folder=bool(slash))

    @staticmethod
    def matches(text: str) -> bool:
        """Whether a text is meant as a reference and not as a path."""
        return text.startswith("sha256:")

    def __str__(self) -> str:
        """Write the reference as messages and records carry it."""
        return f"sha256:{self.digest}/{self.name}{'/' if self.is_folder else ''}"


def safe_name(name: str) -> str:
    """Return a file name that stays inside the folder it is put into.

    >>> safe_name("tile.laz")
    'tile.laz'

    Raises
    ------
    BadParameterError
        The name has a slash, a NUL or control character, is `.` or `..`, or is too long.
    """
    is_plain = name not in ("", ".", "..") and not any(
        char in "/\\" or ord(char) < 32 or ord(char) == 127 for char in name
    )
    if not is_plain or len(name.encode(errors="surrogateescape")) > _NAME_BYTES:
        raise BadParameterError(
            f"{name[:80]!r} cannot be a file's name here: no slashes, no control characters, 255 bytes."
        )
    return name


def safe_path(folder: Path, name: str) -> Path:
    """Join a name with slashes to a folder that it must not lead out of.

    >>> safe_path(Path("out"), "tiles/north.tif").as_posix()
    'out/tiles/north.tif'

    Raises
    ------
    BadParameterError
        One of its parts is no file name.
    """
    return folder.joinpath(*(safe_name(part) for part in name.rstrip("/").split("/")))

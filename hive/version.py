"""Which code a task is, so that a result is known to be of this code and not of an earlier one."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from hive.catalog import package_of

_OURS = "hive-compute"


@cache
def code_version(capability: str) -> str:
    """Digest of the files of a capability's package as they are here, and of Hive's version.

    What is installed on the workers does not count: neither their libraries, nor a package that is older there.

    Raises
    ------
    UnknownNameError
        There is no such capability.
    """
    digest = hashlib.sha256(version(_OURS).encode())
    for name, content in _files([Path(folder) for folder in package_of(capability).__path__]):
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(folders: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all files in order, without what Python compiles from them."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(folder).as_posix(), path.read_bytes()

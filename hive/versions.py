"""What a laptop and its workers must have in common: settings, versions and the code of the tasks."""

import hashlib
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hive.catalog import package_of
from hive.errors import HiveError
from hive.settings import Settings

_DISTRIBUTION = "hive-compute"


@cache
def code_version(capability: str) -> str:
    """Digest of the files of a capability's package as they are here, and of Hive's version.

    What is installed on the workers does not count: neither their libraries, nor a package that is older there.

    Raises
    ------
    UnknownNameError
        There is no such capability.
    """
    digest = hashlib.sha256(version(_DISTRIBUTION).encode())
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


PACKAGES = {"hive": "hive-compute", "celery": "celery", "kombu": "kombu", "redis": "redis"}
_BUCKETS = ("s3", "gs", "az")
_DIGEST_LENGTH = 12


def terms(settings: Settings, capabilities: Iterable[str]) -> dict[str, Any]:
    """The terms that hold in this process, for tasks of these capabilities."""
    return {
        "lease_s": settings.lease_s,
        "max_attempts": settings.max_attempts,
        "store": store_kind(settings.store),
        "allow_scripts": settings.allow_scripts,
        "versions": {name: version(package) for name, package in PACKAGES.items()}
        | {"python": platform.python_version()},
        "code": dict(_code(capabilities)),
    }


def store_kind(url: str) -> str:
    """What kind of store a URL names; a bucket by its name, because both sides must use the same.

    >>> store_kind("s3://key:secret@tiles/2026"), store_kind("https://mac:8000/blob"), store_kind("file:///home/a/store")
    ('s3://tiles/2026', 'gateway', 'folder')
    """
    parts = urlsplit(url)
    if parts.scheme in _BUCKETS:
        return f"{parts.scheme}://{parts.hostname}{parts.path}"
    return "folder" if parts.scheme == "file" else "gateway"


def _code(capabilities: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in capabilities:
        with suppress(HiveError):  # a queue of a name of its own is no capability
            yield name, code_version(name)[:_DIGEST_LENGTH]

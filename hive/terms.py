"""What a laptop and its workers must have in common: settings, versions and the code of the tasks."""

import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from hive.errors import HiveError
from hive.settings import Settings
from hive.version import code_version

PACKAGES = {"hive": "hive-compute", "celery": "celery", "kombu": "kombu", "redis": "redis"}
_BUCKETS = ("s3", "gs", "az")
_SHOWN = 12


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
            yield name, code_version(name)[:_SHOWN]

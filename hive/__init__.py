"""Hive: a light laptop in front, any number of machines behind.

`import hive` loads nothing else; `hive.Client` and the rest of the Python API come when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hive import errors, testing
    from hive.client import Client, Job, Jobs, map, submit

__all__ = ["Client", "Job", "Jobs", "errors", "map", "submit", "testing"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  PEP 562
    if name not in __all__:
        raise AttributeError(f"module 'hive' has no attribute {name!r}")
    import importlib

    if name in ("errors", "testing"):
        return importlib.import_module(f"hive.{name}")
    return getattr(importlib.import_module("hive.client"), name)

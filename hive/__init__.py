"""Hive: a light laptop in front, any number of machines behind.

`import hive` loads nothing else; `hive.submit` and the rest of the Python API come when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hive.client import Job, Jobs, map, submit, with_options

__all__ = ["Job", "Jobs", "map", "submit", "with_options"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  PEP 562
    if name not in __all__:
        raise AttributeError(f"module 'hive' has no attribute {name!r}")
    import hive.client

    return getattr(hive.client, name)

"""What Open3D says while it works: it warns of files that it cannot read, and hands back what it has all the same."""

import contextlib
import io
from collections.abc import Iterator

import open3d as o3d

_WARNING = "[Open3D WARNING]"


@contextlib.contextmanager
def warnings_of_open3d() -> Iterator[list[str]]:
    """Collect the warnings that Open3D prints in this block; the list is filled when the block ends."""
    said: list[str] = []
    printed = io.StringIO()
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Warning), contextlib.redirect_stdout(printed):
        yield said
    said += [line for line in printed.getvalue().splitlines() if _WARNING in line]

"""The kinds of files that tasks of `3d-generation` read and write."""

from pathlib import Path
from typing import Annotated, Literal

from hive.errors import BadFileError
from hive.task import Read, Written
from hive.task.files import check_las
from hive.units import Help

Up = Literal["x", "y", "z", "-x", "-y", "-z"]


def check_cloud(path: Path) -> None:
    """Refuse a point cloud whose first bytes are not those of its format.

    Raises
    ------
    BadFileError
        Says which bytes are missing.
    """
    suffix = path.suffix.lower()
    if suffix in (".las", ".laz"):
        check_las(path)
        return
    with path.open("rb") as file:
        head = file.read(512)
    if suffix == ".ply" and not head.startswith(b"ply"):
        raise BadFileError(f"{path} is not a PLY file: it does not begin with ply.")
    if suffix == ".pcd" and b"VERSION" not in head:
        raise BadFileError(f"{path} is not a PCD file: it has no VERSION in its header.")
    if suffix == ".pts" and not head.split(b"\n", 1)[0].strip().isdigit():
        raise BadFileError(f"{path} is not a PTS file: its first line is not the number of points.")


Cloud = Annotated[Path, Read("point cloud", (".ply", ".pcd", ".pts", ".las", ".laz"), inspect=check_cloud)]
CameraFile = Annotated[Path, Read("camera", (".json",))]
Mesh = Annotated[Path, Written("mesh", (".glb", ".ply"))]
Ply = Annotated[Path, Written("mesh", (".ply",)), Help("The mesh as PLY too, in the axes of the input.")]

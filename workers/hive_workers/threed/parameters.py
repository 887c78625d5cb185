"""What the tasks of `3d-generation` take: kinds of files, and groups of parameters, each declared once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from hive.errors import BadFileError
from hive.task import Read, Written
from hive.task.files import check_las
from hive.units import AtLeast, AtMost, Help, LessThan, Matching, Metres, MoreThan, Unit

Up = Literal["x", "y", "z", "-x", "-y", "-z"]
PerMetre = Annotated[float, Unit("1/m")]
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


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


@dataclass(frozen=True)
class Fusion:
    """Fusion (truncated signed distance)."""

    voxel: Annotated[Metres, MoreThan(0), Help("Edge of a voxel: the smallest detail that is kept.")] = 3 / 512
    depth_scale: Annotated[PerMetre, MoreThan(0), Help("Units of the depth images per metre.")] = 1000.0
    depth_max: Annotated[Metres, MoreThan(0), Help("Leave out what is further from the camera.")] = 4.0
    weight: Annotated[float, AtLeast(0), Help("Keep voxels that more frames than this have seen.")] = 3.0
    block: Annotated[int, AtLeast(4), AtMost(32), Help("Voxels along the edge of a block.")] = 16


@dataclass(frozen=True)
class Cleaning:
    """Cleaning."""

    voxel: Annotated[Metres | None, MoreThan(0), Help("Merge the points of a voxel; default: keep all.")] = None
    outlier_neighbours: Annotated[
        int, AtLeast(0), Help("Outlier filter: neighbours to look at; 0 turns the filter off.")
    ] = 20
    outlier_ratio: Annotated[
        float, MoreThan(0), Help("Outlier filter: standard deviations beyond the mean distance to neighbours.")
    ] = 2.0


@dataclass(frozen=True)
class Normals:
    """Normals."""

    normals: Annotated[
        Literal["consistent", "up", "viewpoint", "file"],
        Help("How to find the outside: from neighbours, towards --up, towards --viewpoint, or from the file."),
    ] = "consistent"
    neighbours: Annotated[int, AtLeast(3), Help("Neighbours that a normal is estimated from.")] = 30
    radius: Annotated[Metres | None, MoreThan(0), Help("Only neighbours within this distance.")] = None
    viewpoint: Annotated[
        str,
        Matching(rf"{_NUMBER},{_NUMBER},{_NUMBER}", "three numbers such as 0,0,1.5"),
        Help("Position of the scanner, in coordinates of the cloud."),
    ] = "0,0,0"


@dataclass(frozen=True)
class Shaping:
    """Surface (screened Poisson)."""

    depth: Annotated[int, AtLeast(3), AtMost(13), Help("2^depth cells along the longest edge.")] = 8
    trim: Annotated[
        float, AtLeast(0), LessThan(1), Help("Remove this share of the vertices, where points are rarest.")
    ] = 0.01
    faces: Annotated[int | None, AtLeast(4), Help("Decimate to this many triangles; default: keep all.")] = None

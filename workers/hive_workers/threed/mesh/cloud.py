"""Reading point clouds: to metres, near the origin, without points that are nowhere."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from hive.errors import InputError
from hive_workers.threed._triangles.surface import warnings_of_open3d

logger = logging.getLogger(__name__)
# Lengths of units [m]; foot and US survey foot as in NIST SP 811, B.6.
METRES: Mapping[str, float] = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937}
# Files write the US survey foot with seven digits (0.3048006, off by 3e-8) or more; the other foot is 2e-6 away.
_LENGTH_TOLERANCE = 1e-7
# float32 has 24 bits: at 1 km its steps are 0.06 mm, in UTM (5,000 km) half a metre.
_FAR = 1000.0
_NOISE = (7, 18)  # ASPRS LAS Specification 1.4 R15, table 17: low and high noise


@dataclass(frozen=True)
class PointSet:
    """Points of a file, and how they lie to it.

    Parameters
    ----------
    local : the points [m], counted from `origin`, as an Open3D point cloud
    points : number of points in the file
    dropped : of these, without a place or marked as noise
    origin : (x, y, z) of 0, 0, 0 in the file's coordinates and unit
    unit : unit of the file's coordinates
    crs : name of the coordinate reference system; None where the file says none
    """

    local: Any
    points: int
    dropped: int
    origin: tuple[float, float, float]
    unit: str
    crs: str | None

    def to_local(self, place: Sequence[float]) -> NDArray[np.float64]:
        """A place in the file's coordinates as one of the local ones [m]."""
        shifted: NDArray[np.float64] = (np.asarray(place, dtype=np.float64) - self.origin) * METRES[self.unit]
        return shifted


@dataclass(frozen=True)
class _Raw:
    """What a file holds: (points, 3) coordinates, colours 0 to 1 and normals where it has them."""

    coordinates: NDArray[np.float64]
    colours: NDArray[np.float64] | None
    normals: NDArray[np.float64] | None
    is_noise: NDArray[np.bool_] | None = None
    unit: str | None = None
    crs: str | None = None


def read_cloud(path: Path, unit: str | None) -> PointSet:
    """Read a PLY, PCD, PTS, LAS or LAZ file.

    Parameters
    ----------
    unit : of its coordinates; None where the file says it, or is in metres as PLY, PCD and PTS are by custom

    Raises
    ------
    InputError
        The file cannot be read, has no points, or is in degrees or in a unit that it does not say.
    """
    raw = _read_las(path, unit) if path.suffix.lower() in (".las", ".laz") else _read_plain(path)
    points = len(raw.coordinates)
    if not points:
        raise InputError(f"{path.name} has no points.")
    is_there = np.isfinite(raw.coordinates).all(axis=1)
    if not is_there.any():
        raise InputError(f"All {points:,} points of {path.name} are NaN or infinite. Export it again.")
    if not is_there.all():
        logger.warning("%s: %d points are NaN or infinite and left out", path.name, int((~is_there).sum()))
    is_kept = is_there if raw.is_noise is None else is_there & ~raw.is_noise
    if not is_kept.any():
        raise InputError(f"All {points:,} points of {path.name} are noise (classes 7 and 18) or withheld.")
    named = unit or raw.unit or "m"
    origin = _origin(raw.coordinates[is_kept], METRES[named])
    local = o3d.geometry.PointCloud(o3d.utility.Vector3dVector((raw.coordinates[is_kept] - origin) * METRES[named]))
    if raw.colours is not None:
        local.colors = o3d.utility.Vector3dVector(raw.colours[is_kept])
    if raw.normals is not None:
        local.normals = o3d.utility.Vector3dVector(raw.normals[is_kept])
    return PointSet(local, points, points - int(is_kept.sum()), origin, named, raw.crs)


def _origin(coordinates: NDArray[np.float64], metres: float) -> tuple[float, float, float]:
    """The file's own origin, or where points are far from it, whole numbers at their south-west and lowest corner."""
    if np.abs(coordinates).max() * metres <= _FAR:
        return (0.0, 0.0, 0.0)
    x, y, z = np.floor(coordinates.min(axis=0))
    return float(x), float(y), float(z)


def _read_plain(path: Path) -> _Raw:
    _check_lines(path)
    with warnings_of_open3d() as warnings:
        cloud = o3d.io.read_point_cloud(str(path))
    if warnings:
        raise InputError(f"{path.name} cannot be read as a point cloud: it is damaged or cut. Copy or export it again.")
    return _Raw(
        coordinates=np.array(cloud.points),
        colours=np.array(cloud.colors) if cloud.has_colors() else None,
        normals=np.array(cloud.normals) if cloud.has_normals() else None,
    )


def _check_lines(path: Path) -> None:
    """Refuse a PTS, or a PCD of text, with fewer lines than it announces: Open3D makes up the points that are missing.

    Raises
    ------
    InputError
        Says how many there are.
    """
    with path.open("rb") as file:
        announced = _announced_lines(path, file)
        counted = sum(1 for line in file if line.strip()) if announced else 0
    if counted < announced:
        raise InputError(f"{path.name} is truncated: it has {counted:,} points of {announced:,}. Copy it again.")


def _announced_lines(path: Path, file: BinaryIO) -> int:
    """Points that a file of text announces, whose lines follow; 0 where points are no lines."""
    if path.suffix.lower() == ".pts":
        return int(file.readline())
    points = 0
    for line in file if path.suffix.lower() == ".pcd" else ():
        word, _, value = line.strip().partition(b" ")
        points = int(value) if word == b"POINTS" else points
        if word == b"DATA":
            return points if value.strip() == b"ascii" else 0
    return 0


def _read_las(path: Path, unit: str | None) -> _Raw:
    import laspy
    from laspy.errors import LaspyException

    try:
        cloud = laspy.read(path)
    except (LaspyException, ValueError, RuntimeError) as error:
        raise InputError(f"{path.name} cannot be read as LAS or LAZ: {error}.") from error
    crs = _crs(path, cloud)
    dimensions = set(cloud.point_format.dimension_names)
    is_noise = np.isin(np.asarray(cloud.classification), _NOISE)
    if "withheld" in dimensions:
        is_noise |= np.asarray(cloud.withheld, dtype=bool)
    return _Raw(
        coordinates=np.stack([np.asarray(axis, dtype=np.float64) for axis in (cloud.x, cloud.y, cloud.z)], axis=1),
        colours=_las_colours(cloud) if {"red", "green", "blue"} <= dimensions else None,
        normals=None,
        is_noise=is_noise,
        unit=unit or _las_unit(path, crs),
        crs=None if crs is None else crs.name,
    )


def _las_colours(cloud: Any) -> NDArray[np.float64] | None:  # noqa: ANN401  laspy has no types
    """Colours 0 to 1; LAS wants 16 bits, many files hold 8."""
    colours = np.stack([np.asarray(band, dtype=np.float64) for band in (cloud.red, cloud.green, cloud.blue)], axis=1)
    brightest = colours.max(initial=0)
    return colours / (65535 if brightest > 255 else 255) if brightest > 0 else None


def _crs(path: Path, cloud: Any) -> Any:  # noqa: ANN401  laspy and pyproj
    from pyproj.exceptions import CRSError

    try:
        return cloud.header.parse_crs()
    except CRSError as error:
        logger.warning("the coordinate reference system of %s cannot be read: %s", path.name, error)
        return None


def _las_unit(path: Path, crs: Any) -> str:  # noqa: ANN401  pyproj
    """Unit of the three axes of a coordinate reference system.

    Raises
    ------
    InputError
        There is none, it has degrees, or it measures heights in another unit.
    """
    if crs is None:
        raise InputError(
            f"{path.name} does not say its coordinate reference system, so its unit is not known. Say it: --unit m."
        )
    if crs.is_geographic:
        raise InputError(f"{path.name} is in degrees, so lengths have no meaning. Reproject it to a projected system.")
    factors = {axis.unit_conversion_factor for axis in crs.axis_info}
    names = [
        name
        for name, metres in METRES.items()
        if all(math.isclose(factor, metres, rel_tol=_LENGTH_TOLERANCE) for factor in factors)
    ]
    if not names:
        units = ", ".join(sorted({axis.unit_name for axis in crs.axis_info}))
        raise InputError(
            f"{path.name} has the units {units}; one for all axes is wanted, of {', '.join(METRES)}. If they are the "
            "same in truth, say it: --unit m."
        )
    if len(crs.axis_info) == 2:
        logger.info("%s does not say the unit of its elevations; they are taken to be in %s", path.name, names[0])
    return names[0]

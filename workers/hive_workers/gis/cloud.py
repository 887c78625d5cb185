"""What a point cloud's header says: how many points, where, in which coordinate reference system and units."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hive.errors import BadParameterError, InputError
from hive_workers.gis.engine import Stage, run_pipeline

logger = logging.getLogger(__name__)

# Lengths of the vertical units that PDAL names [m]; foot and US survey foot as in NIST SP 811, B.6.
_VERTICAL: Mapping[str, float] = {
    "metre": 1.0,
    "meter": 1.0,
    "m": 1.0,
    "foot": 0.3048,
    "ft": 0.3048,
    "US survey foot": 1200 / 3937,
    "us-ft": 1200 / 3937,
}
_SYMBOLS: Mapping[str, float] = {"m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937}
# Files write the US survey foot with seven digits (0.3048006, off by 3e-8) or more; the other foot is 2e-6 away.
_LENGTH_TOLERANCE = 1e-7


@dataclass(frozen=True)
class CloudHeader:
    """A point cloud without its points.

    Parameters
    ----------
    points : number of points
    region : (west, east, south, north) in units of the CRS
    crs : well-known text
    metres : length of the horizontal unit [m]
    vertical_metres : length of the vertical unit [m]
    vertical_unit : its symbol, "m" or "ft"
    highest : highest point, in units of elevation
    """

    points: int
    region: tuple[float, float, float, float]
    crs: str
    metres: float
    vertical_metres: float
    vertical_unit: str
    highest: float


def clouds_in(place: Path) -> list[Path]:
    """The point clouds of a folder, or the one that is named.

    Raises
    ------
    InputError
        The folder holds none.
    """
    if not place.is_dir():
        return [place]
    tiles = sorted(path for path in place.rglob("*") if path.suffix.lower() in (".las", ".laz"))
    if not tiles:
        raise InputError(f"{place.name} holds no .las or .laz files.")
    return tiles


def reader(cloud: Path, crs: str | None) -> Stage:
    """The PDAL stage that reads a LAS, LAZ or COPC file; `crs` replaces what the file says of itself."""
    return {"filename": str(cloud)} | ({"override_srs": crs} if crs else {})


def read_header(cloud: Path, crs: str | None) -> CloudHeader:
    """Read the header of a point cloud in a projected coordinate reference system.

    Raises
    ------
    InputError
        The cloud has no points, no CRS, or one whose units are not lengths.
    BadParameterError
        `crs` is no coordinate reference system.
    """
    stages = run_pipeline([{**reader(cloud, None), "count": 1}], cloud.name)
    header = next(stage for name, stage in stages.items() if name.startswith("readers."))
    if header["count"] == 0:
        raise InputError(f"{cloud.name} has no points.")
    wkt = crs or header["srs"]["wkt"]
    if not wkt:
        raise InputError(
            f"{cloud.name} does not say its coordinate reference system. Say it yourself, for example --crs EPSG:32610."
        )
    text, metres = _projected(cloud, wkt, is_given=crs is not None)
    vertical = "" if crs else header["srs"]["units"]["vertical"]
    vertical_metres = _vertical_unit(cloud, vertical, metres)
    return CloudHeader(
        points=header["count"],
        region=(header["minx"], header["maxx"], header["miny"], header["maxy"]),
        crs=text,
        metres=metres,
        vertical_metres=vertical_metres,
        vertical_unit=_symbol(vertical_metres),
        highest=header["maxz"],
    )


def read_area(clouds: Sequence[Path], crs: str | None) -> CloudHeader:
    """Read the headers of point clouds that lie side by side, as if they were one.

    Raises
    ------
    InputError
        One of them has no points or no usable CRS, or they differ in it.
    """
    headers = [read_header(cloud, crs) for cloud in clouds]
    return joined(headers, clouds)


def joined(headers: Sequence[CloudHeader], clouds: Sequence[Path]) -> CloudHeader:
    """One header for several point clouds."""
    first = headers[0]
    for header, cloud in zip(headers, clouds, strict=True):
        if (header.crs, header.vertical_metres) != (first.crs, first.vertical_metres):
            raise InputError(
                f"{cloud.name} has another coordinate reference system than {clouds[0].name}. Reproject one of them, "
                "or say what is right for all: --crs EPSG:32610."
            )
    west, east, south, north = zip(*(header.region for header in headers), strict=True)
    return replace(
        first,
        points=sum(header.points for header in headers),
        region=(min(west), max(east), min(south), max(north)),
        highest=max(header.highest for header in headers),
    )


def _projected(cloud: Path, crs: str, *, is_given: bool) -> tuple[str, float]:
    """Well-known text and length of the unit [m] of a projected CRS."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        system: Any = CRS.from_user_input(crs)
    except (CRSError, ValueError) as error:
        if is_given:
            raise BadParameterError(
                f"{crs} is not a known coordinate reference system; write a code such as EPSG:32610."
            ) from error
        raise InputError(f"The coordinate reference system in {cloud.name} cannot be read: {error}.") from error
    if not system.is_projected:
        what = "in degrees" if system.is_geographic else "geocentric"
        raise InputError(
            f"{cloud.name} is {what}, so a cell in metres has no meaning. Reproject it to a projected system, or "
            "if its record is wrong, say the right one: --crs EPSG:32610."
        )
    _, metres = system.linear_units_factor
    return system.to_wkt(), float(metres)


def _vertical_unit(cloud: Path, name: str, horizontal_metres: float) -> float:
    if name in _VERTICAL:
        return _VERTICAL[name]
    logger.info("%s does not say the unit of its elevations; they are taken to be in its horizontal unit", cloud.name)
    return horizontal_metres


def _symbol(metres: float) -> str:
    for symbol, length in _SYMBOLS.items():
        if math.isclose(metres, length, rel_tol=_LENGTH_TOLERANCE):
            return symbol
    return f"{metres:g} m"

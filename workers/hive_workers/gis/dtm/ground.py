"""Finding and gridding the ground: the PDAL pipeline of `gis.dtm`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from hive.errors import EngineError, InputError
from hive.units import AtLeast, Help, Metres, MoreThan
from hive_workers.gis.cloud import CloudHeader, reader
from hive_workers.gis.engine import Stage, run_pipeline

# ASPRS LAS Specification 1.4 R15, table 17: 2 ground, 7 low noise, 18 high noise.
_GROUND = 2
NO_NOISE: Stage = {
    "type": "filters.range",
    "limits": "Classification[0:6],Classification[8:17],Classification[19:255]",
}
NO_DATA = -9999.0
# PDAL's own words where a filter leaves nothing for the next stage.
_NOTHING_THERE = ("No returns to process", "no points for output")


def _as_it_is(value: Any, header: CloudHeader) -> Any:  # noqa: ANN401  whatever the parameter's type is
    return value


def _across(length: float, header: CloudHeader) -> float:
    return length / header.metres


def _upward(length: float, header: CloudHeader) -> float:
    return length / header.vertical_metres


def _rise_over_run(slope: float, header: CloudHeader) -> float:
    return slope * header.metres / header.vertical_metres


@dataclass(frozen=True)
class InPdal:
    """How `filters.smrf` takes a parameter: converted to the units of the cloud, and by its name there."""

    convert: Callable[[Any, CloudHeader], Any] = _as_it_is
    name: str = ""


@dataclass(frozen=True)
class GroundFilter:
    """Ground filter (SMRF).

    Each field is an option of `gis.dtm`, a parameter of its parts, and an option of PDAL's `filters.smrf`.
    """

    window: Annotated[Metres, InPdal(_across), MoreThan(0), Help("Wider than the widest building.")] = 18.0
    slope: Annotated[float, InPdal(_rise_over_run), MoreThan(0), Help("Steepest terrain, rise over run.")] = 0.15
    threshold: Annotated[
        Metres, InPdal(_upward), MoreThan(0), Help("A point this far above the surface is not ground.")
    ] = 0.5
    scalar: Annotated[float, AtLeast(0), Help("Raises the threshold on slopes.")] = 1.25
    ground_cell: Annotated[
        Metres, InPdal(_across, "cell"), MoreThan(0), Help("Edge of the cells that the filter works on.")
    ] = 1.0


@dataclass(frozen=True)
class Grid:
    """A raster's place, in units of the CRS: south-west corner, edge of a cell, columns and rows."""

    west: float
    south: float
    cell: float
    columns: int
    rows: int


@dataclass(frozen=True)
class Gridded:
    """The plain GeoTIFF that PDAL wrote, and how many points are in it."""

    raster: Path
    ground_points: int


def aligned_grid(region: tuple[float, float, float, float], cell: float) -> Grid:
    """Cover a region with cells whose edges are multiples of the cell, so that neighbouring tiles share them.

    >>> aligned_grid((10.5, 12.0, 3.2, 4.9), 1.0)
    Grid(west=10.0, south=3.0, cell=1.0, columns=3, rows=2)
    """
    west, east, south, north = region
    first_column, first_row = math.floor(west / cell), math.floor(south / cell)
    # A point on the last edge belongs to the cell beyond it, as everywhere else on the grid.
    columns, rows = math.floor(east / cell) + 1 - first_column, math.floor(north / cell) + 1 - first_row
    return Grid(first_column * cell, first_row * cell, cell, columns, rows)


def smrf_stage(smrf: GroundFilter, header: CloudHeader) -> Stage:
    """The stage that finds the ground, with lengths in the cloud's own units."""
    stage: dict[str, Any] = {"type": "filters.smrf"}
    for name, hint in get_type_hints(GroundFilter, include_extras=True).items():
        in_pdal = next((note for note in hint.__metadata__ if isinstance(note, InPdal)), InPdal())
        stage[in_pdal.name or name] = in_pdal.convert(getattr(smrf, name), header)
    return stage


def idw_stage(grid: Grid, fill: int, raster: Path) -> Stage:
    """The stage that interpolates points by inverse distance to the cells of a grid."""
    return {
        "type": "writers.gdal",
        "filename": str(raster),
        "gdaldriver": "GTiff",
        "output_type": "idw",
        "data_type": "float32",
        "nodata": NO_DATA,
        "resolution": grid.cell,
        "window_size": fill,
        "origin_x": grid.west,
        "origin_y": grid.south,
        "width": grid.columns,
        "height": grid.rows,
    }


def ground_stages(cloud: Path, header: CloudHeader, crs: str | None, smrf: GroundFilter) -> list[Stage]:
    """The stages that leave only ground points; the last but one counts the classes.

    References
    ----------
    Pingel, Clarke and McBride (2013), ISPRS J. Photogramm. Remote Sens. 77, 21-30.
    """
    return [
        reader(cloud, crs),
        NO_NOISE,
        {"type": "filters.assign", "value": "Classification = 0"},
        smrf_stage(smrf, header),
        {"type": "filters.stats", "dimensions": "Classification", "count": "Classification"},
        {"type": "filters.range", "limits": f"Classification[{_GROUND}:{_GROUND}]"},
    ]


def grid_ground(
    cloud: Path, header: CloudHeader, crs: str | None, cell: float, fill: int, smrf: GroundFilter, folder: Path
) -> Gridded:
    """Find the ground of a tile and interpolate it by inverse distance.

    Parameters
    ----------
    cell : edge of a cell [m]
    fill : how far an empty cell may be from the cells that it is filled from [cells]
    folder : where the intermediate raster goes

    Raises
    ------
    InputError
        The tile has no ground.
    EngineError
        PDAL failed.
    """
    grid = aligned_grid(header.region, cell / header.metres)
    raster = folder / "ground.plain.tif"
    try:
        metadata = run_pipeline([*ground_stages(cloud, header, crs, smrf), idw_stage(grid, fill, raster)], cloud.name)
    except EngineError as error:
        if any(words in str(error) for words in _NOTHING_THERE):
            raise no_ground(cloud.name, header) from error
        raise
    ground_points = _count_ground(metadata)
    if not ground_points:
        raise no_ground(cloud.name, header)
    return Gridded(raster, ground_points)


def _count_ground(metadata: dict[str, Any]) -> int:
    """Points of class 2, from the counts that `filters.stats` gives as "2.000000/87799"."""
    counts = metadata["filters.stats"]["statistic"][0].get("counts", [])
    by_class = {round(float(value)): int(count) for value, count in (entry.split("/") for entry in counts)}
    return by_class.get(_GROUND, 0)


def no_ground(name: str, header: CloudHeader) -> InputError:
    """The error of a cloud that has no ground."""
    return InputError(
        f"No ground was found among the {header.points:,} points of {name}. Try a larger --window; a tile that "
        "holds only first of several returns, or only noise (classes 7 and 18), has none."
    )

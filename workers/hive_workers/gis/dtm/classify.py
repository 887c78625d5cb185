"""The ground of one tile of a larger area: classified with the points around it, counted and gridded without them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import laspy
import numpy as np
from numpy.typing import NDArray

from hive_workers.gis.cloud import CloudHeader, read_area, reader
from hive_workers.gis.dtm.ground import NO_NOISE, Grid, GroundFilter, idw_stage, smrf_stage
from hive_workers.gis.dtm.terrain import write_tile
from hive_workers.gis.engine import run_pipeline

# Cells around the tile that are gridded too, beyond those that fill empty ones.
_RING = 2
# How far above the highest point the mark lies, in units of the file; nothing on Earth is that high above its ground.
_ABOVE = 10_000.0
_GROUND = 2


def tile_ground(
    clouds: Sequence[Path],
    grid: Grid,
    box: tuple[float, float, float, float],
    fill: int,
    smrf: GroundFilter,
    crs: str | None,
    raster: Path,
    classified: Path | None,
    folder: Path,
) -> tuple[int, int]:
    """Grid the ground of one tile; returns how many points it has, and how many of them are ground.

    Parameters
    ----------
    clouds : the files that have points in the box
    grid : the tile's own cells, in units of the CRS
    box : (west, east, south, north) of the points to look at, in units of the CRS; east and north do not belong to it
    fill : how far an empty cell may be from the cells that it is filled from [cells]
    raster, classified : where the grid and, if wanted, the tile's own points with their classes go
    folder : for intermediate files

    References
    ----------
    Pingel, Clarke and McBride (2013), ISPRS J. Photogramm. Remote Sens. 77, 21-30.
    """
    header = read_area(clouds, crs)
    every = folder / "classified.las"
    _classify(clouds, header, box, smrf, crs, folder, every)
    points = laspy.read(every)
    is_real = np.asarray(points.z) < header.highest + _ABOVE / 2
    is_ground = is_real & (np.asarray(points.classification) == _GROUND)
    is_own = is_real & _inside(points, grid)
    _write_grid(points, is_ground, grid, fill, crs or header.crs, folder, raster)
    if classified is not None:
        points[is_own].write(classified)
    return int(is_own.sum()), int((is_own & is_ground).sum())


def _inside(points: Any, grid: Grid) -> NDArray[np.bool_]:  # noqa: ANN401  laspy's
    """Which points lie in a grid; its north and east edges do not belong to it."""
    easting, northing = np.asarray(points.x), np.asarray(points.y)
    east, north = grid.west + grid.columns * grid.cell, grid.south + grid.rows * grid.cell
    inside: NDArray[np.bool_] = (
        (easting >= grid.west) & (easting < east) & (northing >= grid.south) & (northing < north)
    )
    return inside


def _classify(
    clouds: Sequence[Path],
    header: CloudHeader,
    box: tuple[float, float, float, float],
    smrf: GroundFilter,
    crs: str | None,
    folder: Path,
    every: Path,
) -> None:
    """Write the points of the box, each as ground or not."""
    west, east, south, north = box
    mark = folder / "mark.las"
    west, south = _write_mark(clouds[0], (west, south, header.highest + _ABOVE), mark)
    run_pipeline(
        [
            *(reader(cloud, crs or header.crs) for cloud in clouds),
            reader(mark, crs or header.crs),
            {"type": "filters.merge"},
            {"type": "filters.range", "limits": f"X[{west!r}:{east!r}),Y[{south!r}:{north!r})"},
            NO_NOISE,
            {"type": "filters.assign", "value": "Classification = 0"},
            smrf_stage(smrf, header),
            {
                "type": "writers.las",
                "filename": str(every),
                "minor_version": 4,
                "dataformat_id": 6,
                "forward": "scale_x,scale_y,scale_z,offset_x,offset_y,offset_z",
            },
        ],
        ", ".join(cloud.name for cloud in clouds),
    )


def _write_mark(cloud: Path, place: tuple[float, float, float], path: Path) -> tuple[float, float]:
    """Write one point at the corner of the box, so high that no cell takes it for ground; returns where it lies.

    The filter lays its cells from the outermost points that it sees. Without a point at the corner each tile would lay
    them elsewhere, and in one percent of the points neighbours would not agree (measured on 3.1 million points).
    """
    with laspy.open(cloud) as file:
        header = laspy.LasHeader(point_format=6, version="1.4")
        header.scales, header.offsets = file.header.scales, file.header.offsets
    mark = laspy.LasData(header)
    mark.x, mark.y, mark.z = (np.array([value]) for value in place)
    mark.return_number = mark.number_of_returns = np.array([1], dtype=np.uint8)
    mark.write(path)
    return float(mark.x[0]), float(mark.y[0])


def _write_grid(
    points: Any,  # noqa: ANN401  laspy's
    is_ground: NDArray[np.bool_],
    grid: Grid,
    fill: int,
    crs: str,
    folder: Path,
    raster: Path,
) -> None:
    """Interpolate the tile's cells by inverse distance, with the ground around it."""
    ring = fill + _RING
    around = Grid(
        grid.west - ring * grid.cell,
        grid.south - ring * grid.cell,
        grid.cell,
        grid.columns + 2 * ring,
        grid.rows + 2 * ring,
    )
    if not (is_ground & _inside(points, around)).any():
        write_tile(None, ring, grid, raster)
        return
    points[is_ground].write(folder / "ground.las")
    wide = folder / "wide.tif"
    run_pipeline([reader(folder / "ground.las", crs), idw_stage(around, fill, wide)], raster.name)
    write_tile(wide, ring, grid, raster)

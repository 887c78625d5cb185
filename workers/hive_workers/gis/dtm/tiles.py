"""An area that is too large for one machine: cut into tiles that fit together, and merged again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hive.errors import BadParameterError
from hive.task import Part, in_parts, part
from hive_workers.gis.cloud import CloudHeader
from hive_workers.gis.dtm.ground import Grid, Gridded, GroundFilter, aligned_grid, no_ground
from hive_workers.gis.dtm.terrain import merge_tiles
from hive_workers.gis.dtm.tile import TileGround, dtm_tile

# Cells beyond those that fill empty ones: inverse distance takes points as far as 1.4 cells away.
_MORE_CELLS = 2


@dataclass(frozen=True)
class Tile:
    """One tile: its part of the grid, and the box of points that it takes to get that part right.

    `box` is (west, east, south, north) in units of the CRS; its west and south edges lie on the ground filter's cells.
    """

    grid: Grid
    box: tuple[float, float, float, float]


def ground_of_area(
    clouds: Sequence[Path],
    headers: Sequence[CloudHeader],
    header: CloudHeader,
    cell: float,
    fill: int,
    tile: float,
    smrf: GroundFilter,
    crs: str | None,
    folder: Path,
) -> Gridded:
    """Cut an area into tiles, have each of them gridded by whichever worker is free, and merge the grids.

    Parameters
    ----------
    clouds, headers : the files and what each of them says; `header` is that of all together
    cell, tile : edge of a cell and of a tile [m]
    fill : how far an empty cell may be from the cells that it is filled from [cells]
    folder : for intermediate files

    Raises
    ------
    BadParameterError
        A tile is smaller than a cell.
    InputError
        The area has no ground.
    """
    if tile < cell:
        raise BadParameterError(f"tile must be at least as large as cell, {cell:g} m, not {tile:g} m.")
    plan: list[Part[TileGround]] = []
    rasters: list[tuple[Grid, Path]] = []
    for piece in plan_tiles(header, cell, fill, tile, smrf):
        near = [cloud for cloud, own in zip(clouds, headers, strict=True) if overlaps(own.region, piece.box)]
        if near:
            rasters.append((piece.grid, folder / f"{len(rasters)}.tif"))
            plan.append(_part_for(piece, near, rasters[-1][1], fill, smrf, crs))
    ground_points = sum(tile_ground.ground_points for tile_ground in in_parts(plan))
    if not ground_points:
        raise no_ground(f"{len(clouds)} files", header)
    raster = folder / "ground.plain.tif"
    merge_tiles(rasters, aligned_grid(header.region, cell / header.metres), raster)
    return Gridded(raster, ground_points)


def _part_for(
    tile: Tile, clouds: list[Path], raster: Path, fill: int, smrf: GroundFilter, crs: str | None
) -> Part[TileGround]:
    return part(
        dtm_tile,
        clouds,
        raster,
        corner=[tile.grid.west, tile.grid.south],
        edge=tile.grid.cell,
        columns=tile.grid.columns,
        rows=tile.grid.rows,
        box=list(tile.box),
        fill=fill,
        smrf=smrf,
        crs=crs,
    )


def plan_tiles(header: CloudHeader, cell: float, fill: int, tile: float, smrf: GroundFilter) -> list[Tile]:
    """Cut an area into tiles; lengths in metres, the tiles in units of the CRS.

    The points around a tile reach as far as the ground filter's window and the filling of empty cells. The filter lays
    its cells from the south-west corner of its points, so a tile's box begins where a cell of the whole area would.
    """
    unit = header.metres
    grid = aligned_grid(header.region, cell / unit)
    edge = max(1, round(tile / cell))
    buffer = (smrf.window + (fill + _MORE_CELLS) * cell) / unit
    return [
        Tile(cells, _box(cells, header, buffer, smrf.ground_cell / unit))
        for row in range(0, grid.rows, edge)
        for column in range(0, grid.columns, edge)
        for cells in [_cut(grid, column, row, edge)]
    ]


def _cut(grid: Grid, column: int, row: int, edge: int) -> Grid:
    """The cells of one tile. Its corner is computed as that of the whole is: from a multiple of the cell."""
    west, south = round(grid.west / grid.cell) + column, round(grid.south / grid.cell) + row
    columns, rows = min(edge, grid.columns - column), min(edge, grid.rows - row)
    return Grid(west * grid.cell, south * grid.cell, grid.cell, columns, rows)


def _box(grid: Grid, header: CloudHeader, buffer: float, step: float) -> tuple[float, float, float, float]:
    west, _, south, _ = header.region
    return (
        _on_step(grid.west - buffer, west, step),
        grid.west + grid.columns * grid.cell + buffer,
        _on_step(grid.south - buffer, south, step),
        grid.south + grid.rows * grid.cell + buffer,
    )


def _on_step(edge: float, first: float, step: float) -> float:
    """The last of the edges `first`, `first + step`, … that is not beyond `edge`; `first` itself where all are.

    >>> _on_step(7.0, 0.5, 2.0), _on_step(-3.0, 0.5, 2.0)
    (6.5, 0.5)
    """
    return first + max(0, math.floor((edge - first) / step)) * step


def overlaps(region: Sequence[float], box: Sequence[float]) -> bool:
    """Whether a file's region (west, east, south, north) has anything in a box."""
    return region[0] < box[1] and region[1] >= box[0] and region[2] < box[3] and region[3] >= box[2]

"""Cutting a large area into tiles that fit together, and putting their grids together again."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio import Affine
from rasterio.windows import Window

from hive_workers.gis.cloud import CloudHeader
from hive_workers.gis.dtm.ground import NO_DATA, Grid, GroundFilter, aligned_grid

# Cells beyond those that fill empty ones: inverse distance takes points as far as 1.4 cells away.
_MORE_CELLS = 2
_BLOCK = 256


@dataclass(frozen=True)
class Tile:
    """One tile: its part of the grid, and the box of points that it takes to get that part right.

    `box` is (west, east, south, north) in units of the CRS; its west and south edges lie on the ground filter's cells.
    """

    grid: Grid
    box: tuple[float, float, float, float]


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
        Tile(part, _box(part, header, buffer, smrf.cell / unit))
        for row in range(0, grid.rows, edge)
        for column in range(0, grid.columns, edge)
        for part in [_part(grid, column, row, edge)]
    ]


def _part(grid: Grid, column: int, row: int, edge: int) -> Grid:
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


@contextmanager
def _writing(path: Path, grid: Grid) -> Iterator[rasterio.io.DatasetWriter]:
    shape = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": NO_DATA}
    place = {
        "width": grid.columns,
        "height": grid.rows,
        "transform": Affine(grid.cell, 0, grid.west, 0, -grid.cell, grid.south + grid.rows * grid.cell),
    }
    blocks = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "DEFLATE", "BIGTIFF": "IF_SAFER"}
    with rasterio.open(path, "w", **shape, **place, **blocks) as file:
        yield file


def write_part(around: Path | None, ring: int, grid: Grid, path: Path) -> None:
    """Write a tile's own cells out of a raster that reaches `ring` cells beyond; without one, cells without value."""
    with _writing(path, grid) as file:
        if around is not None:
            with rasterio.open(around) as wide:
                file.write(wide.read(1, window=Window(ring, ring, grid.columns, grid.rows)), 1)


def put_together(parts: Sequence[tuple[Grid, Path]], grid: Grid, path: Path) -> None:
    """Write the grid of the whole area from those of its tiles, one after the other."""
    with _writing(path, grid) as file:
        for part, raster in parts:
            column = round((part.west - grid.west) / grid.cell)
            row = grid.rows - part.rows - round((part.south - grid.south) / grid.cell)
            with rasterio.open(raster) as one:
                file.write(one.read(1), 1, window=Window(column, row, part.columns, part.rows))

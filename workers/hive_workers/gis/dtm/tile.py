"""`gis.dtm_tile`, the part of `gis.dtm`: one tile of a larger terrain model."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from hive.task import PointCloud, Raster, Written
from hive.units import AtLeast, Help, MoreThan
from hive_workers.gis import gis
from hive_workers.gis.dtm.ground import Grid, GroundFilter

ClassifiedCloud = Annotated[Path, Written("classified point cloud", (".laz",))]


@dataclass(frozen=True)
class TileGround:
    """Points of the tile itself, without those around it and those marked as noise."""

    points: int
    ground_points: int


@gis.part
def dtm_tile(
    clouds: list[PointCloud],
    raster: Raster,
    classified: ClassifiedCloud | None = None,
    *,
    corner: Annotated[list[float], Help("South-west corner of the tile: west, south, in units of the CRS.")],
    edge: Annotated[float, MoreThan(0), Help("Edge of a cell, in units of the CRS.")],
    columns: Annotated[int, AtLeast(1), Help("Cells from west to east.")],
    rows: Annotated[int, AtLeast(1), Help("Cells from south to north.")],
    box: Annotated[list[float], Help("Points to look at: west, east, south, north, in units of the CRS.")],
    fill: Annotated[int, AtLeast(0), Help("As in gis.dtm.")] = 3,
    smrf: GroundFilter = GroundFilter(),
    crs: Annotated[str | None, Help("As in gis.dtm.")] = None,
) -> TileGround:
    """Grid the ground of one tile of a larger area; gis.dtm plans such tiles and merges them.

    The tile is given by its cells. The points around it, as far as the box reaches, influence what is ground and how
    empty cells are filled, but are not part of the result.
    """
    from hive_workers.gis.dtm.classify import tile_ground

    grid = Grid(corner[0], corner[1], edge, columns, rows)
    west, east, south, north = box
    with TemporaryDirectory(prefix=".tile-", dir=raster.parent) as scratch:
        points, ground_points = tile_ground(
            clouds, grid, (west, east, south, north), fill, smrf, crs, raster, classified, Path(scratch)
        )
    return TileGround(points, ground_points)

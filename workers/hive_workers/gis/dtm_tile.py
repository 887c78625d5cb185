"""`gis.dtm_tile`: one tile of a larger terrain model, as `gis.dtm` plans it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from hive.task import PointCloud, Raster, Written
from hive.units import AtLeast, Help, Metres, MoreThan
from hive_workers.gis import gis

ClassifiedCloud = Annotated[Path, Written("classified point cloud", (".laz",))]


@dataclass(frozen=True)
class TileGround:
    """What was found in the tile itself, without what lies around it; points marked as noise do not count."""

    points: int
    ground_points: int


@gis.task
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
    window: Annotated[Metres, MoreThan(0), Help("As in gis.dtm.")] = 18.0,
    slope: Annotated[float, MoreThan(0), Help("As in gis.dtm.")] = 0.15,
    threshold: Annotated[Metres, MoreThan(0), Help("As in gis.dtm.")] = 0.5,
    scalar: Annotated[float, AtLeast(0), Help("As in gis.dtm.")] = 1.25,
    ground_cell: Annotated[Metres, MoreThan(0), Help("As in gis.dtm.")] = 1.0,
    crs: Annotated[str | None, Help("As in gis.dtm.")] = None,
) -> TileGround:
    """Grid the ground of one tile of a larger area; gis.dtm plans such tiles and puts them together.

    The tile is given by its cells. The points around it, as far as the box reaches, have their say in what is ground
    and in how empty cells are filled, but do not come out.
    """
    from hive_workers.gis.dtm.classify import tile_ground
    from hive_workers.gis.dtm.ground import Grid, GroundFilter

    grid = Grid(corner[0], corner[1], edge, columns, rows)
    smrf = GroundFilter(window=window, slope=slope, threshold=threshold, scalar=scalar, cell=ground_cell)
    west, east, south, north = box
    with TemporaryDirectory(prefix=".tile-", dir=raster.parent) as passing:
        points, ground_points = tile_ground(
            clouds, grid, (west, east, south, north), fill, smrf, crs, raster, classified, Path(passing)
        )
    return TileGround(points, ground_points)

"""`gis.dtm`: from the points of one tile to a terrain model."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from hive.task import PointClouds, Preview, Raster, progress
from hive.units import AtLeast, Help, Matching, Metres, MoreThan, Share
from hive_workers.gis import gis
from hive_workers.gis.dtm.ground import GroundFilter
from hive_workers.gis.dtm.tile import dtm_tile

__all__ = ["Ground", "dtm", "dtm_tile"]  # the part is declared wherever its task is

_STEPS = 4
# Default edge of the tiles [m]: some ten million points of a dense survey.
_TILE_M = 500.0


@dataclass(frozen=True)
class Ground:
    """Ground points and elevations of a tile."""

    points: int
    ground_points: int
    lowest: Annotated[Metres, Help("Lowest elevation of the grid.")]
    mean: Annotated[Metres, Help("Mean elevation of the cells that have one.")]
    highest: Annotated[Metres, Help("Highest elevation of the grid.")]
    cells: int
    empty_share: Annotated[Share, Help("Cells without elevation, of all cells.")]
    elevation_unit: Annotated[str, Help("Unit of the elevations in the raster itself.")]


@gis.task
def dtm(
    cloud: PointClouds,
    raster: Raster,
    *,
    cell: Annotated[Metres, MoreThan(0), Help("Edge of a grid cell on the ground.")] = 1.0,
    fill: Annotated[int, AtLeast(0), Help("Fill an empty cell from cells at most that many cells away.")] = 3,
    smrf: GroundFilter = GroundFilter(),
    crs: Annotated[
        str | None,
        Matching(r"[A-Za-z]+:[0-9]+(\+[0-9]+)?", "a code such as EPSG:32610"),
        Help("Coordinate reference system, where the tile has none or a wrong one."),
    ] = None,
    tile: Annotated[
        Metres | None,
        MoreThan(0),
        Help("Cut the area into tiles of this edge, each for whichever worker is free; 500 m for a folder."),
    ] = None,
    preview: Preview | None = None,
) -> Ground:
    """Grid the ground returns of a point cloud, or of a folder of tiles (ASPRS class 2), to a GeoTIFF.

    Ground is classified anew with the Simple Morphological Filter (SMRF; Pingel, Clarke and McBride 2013); points
    that the tile marks as noise (classes 7 and 18) are left out. Elevations are interpolated by inverse distance and
    stay in the tile's own unit. The grid's edges are multiples of the cell, so that neighbouring tiles fit together.
    The raster is a Cloud-Optimised GeoTIFF; the preview is a hill-shade. A large area is processed in tiles, with the
    points around each, and merged again.
    """
    from hive_workers.gis.cloud import clouds_in, joined, read_header
    from hive_workers.gis.dtm.ground import grid_ground
    from hive_workers.gis.dtm.terrain import finish_raster
    from hive_workers.gis.dtm.tiles import ground_of_area

    progress(0, _STEPS, "steps", "reading the header")
    clouds = clouds_in(cloud)
    headers = [read_header(file, crs) for file in clouds]
    header = joined(headers, clouds)
    progress(1, _STEPS, "steps", f"finding the ground of {header.points:,} points")
    with TemporaryDirectory(prefix=".dtm-", dir=raster.parent) as scratch:
        if tile is None and not cloud.is_dir():
            gridded = grid_ground(cloud, header, crs, cell, fill, smrf, Path(scratch))
        else:
            edge = tile or _TILE_M
            gridded = ground_of_area(clouds, headers, header, cell, fill, edge, smrf, crs, Path(scratch))
        progress(3, _STEPS, "steps", "writing the raster")
        terrain = finish_raster(gridded.raster, header, raster, preview)
    progress(_STEPS, _STEPS, "steps", "done")
    return Ground(
        points=header.points,
        ground_points=gridded.ground_points,
        lowest=terrain.lowest * header.vertical_metres,
        mean=terrain.mean * header.vertical_metres,
        highest=terrain.highest * header.vertical_metres,
        cells=terrain.cells,
        empty_share=terrain.empty_share,
        elevation_unit=header.vertical_unit,
    )

"""The ground of an area that is too large for one machine: tile by tile, wherever a worker is free."""

from collections.abc import Sequence
from pathlib import Path

from hive.errors import BadParameterError
from hive.task import Part, in_parts, part
from hive_workers.gis.cloud import CloudHeader
from hive_workers.gis.dtm.ground import Gridded, GroundFilter, aligned_grid, no_ground
from hive_workers.gis.dtm.tiles import Tile, overlaps, plan_tiles, put_together
from hive_workers.gis.dtm_tile import TileGround, dtm_tile


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
    """Cut an area into tiles, have each of them gridded, and put the grids together.

    Parameters
    ----------
    clouds, headers : the files and what each of them says; `header` is that of all together
    cell, tile : edge of a cell and of a tile [m]
    fill : how far an empty cell may be from the cells that it is filled from [cells]
    folder : for what passes

    Raises
    ------
    BadParameterError
        A tile is smaller than a cell.
    InputError
        The area has no ground.
    """
    if tile < cell:
        raise BadParameterError(f"tile must be at least as large as cell, {cell:g} m, not {tile:g} m.")
    tiles = plan_tiles(header, cell, fill, tile, smrf)
    plan: list[Part[TileGround]] = []
    rasters: list[Path] = []
    kept: list[Tile] = []
    for one in tiles:
        near = [cloud for cloud, own in zip(clouds, headers, strict=True) if overlaps(own.region, one.box)]
        if not near:
            continue
        rasters.append(folder / f"{len(rasters)}.tif")
        kept.append(one)
        plan.append(
            part(
                dtm_tile,
                near,
                rasters[-1],
                corner=[one.grid.west, one.grid.south],
                edge=one.grid.cell,
                columns=one.grid.columns,
                rows=one.grid.rows,
                box=list(one.box),
                fill=fill,
                window=smrf.window,
                slope=smrf.slope,
                threshold=smrf.threshold,
                scalar=smrf.scalar,
                ground_cell=smrf.cell,
                crs=crs,
            )
        )
    found = in_parts(plan)
    ground_points = sum(one.ground_points for one in found)
    if not ground_points:
        raise no_ground(f"{len(clouds)} files", header)
    raster = folder / "ground.plain.tif"
    grid = aligned_grid(header.region, cell / header.metres)
    put_together(list(zip((one.grid for one in kept), rasters, strict=True)), grid, raster)
    return Gridded(raster, ground_points)

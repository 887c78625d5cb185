"""Raster files: grids of tiles, their mosaic, the Cloud-Optimised GeoTIFF, the hill-shade, statistics."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from hive.task import replaced_atomically
from hive_workers.gis.cloud import CloudHeader
from hive_workers.gis.dtm.ground import NO_DATA, Grid

_PREVIEW_PIXELS = 1024
_BLOCK = 256
# The light of a printed map: from the north-west, halfway up (Imhof 1982, Cartographic Relief Presentation).
_AZIMUTH_DEGREES = 315.0
_ALTITUDE_DEGREES = 45.0
# Flat ground differs little in brightness; the preview spreads what lies between these shares over black to white.
_STRETCH_PERCENT = (1.0, 99.0)


@dataclass(frozen=True)
class Terrain:
    """Statistics of a grid; elevations in the raster's own unit."""

    lowest: float
    mean: float
    highest: float
    cells: int
    empty_share: float


def finish_raster(plain: Path, header: CloudHeader, raster: Path, preview: Path | None) -> Terrain:
    """Write the Cloud-Optimised GeoTIFF and the hill-shade; returns the statistics of the grid."""
    with rasterio.open(plain, "r+") as file:
        file.crs = header.crs
        file.units = (header.vertical_unit,)
        file.descriptions = ("ground elevation",)
        elevation = file.read(1, masked=True)
        cell = file.transform.a
    with replaced_atomically(raster) as unfinished:
        rasterio.shutil.copy(
            plain, unfinished, driver="COG", compress="DEFLATE", predictor="YES", overview_resampling="AVERAGE"
        )
    if preview is not None:
        cell_in_elevation_units = cell * header.metres / header.vertical_metres
        _write_preview(elevation, cell_in_elevation_units, preview)
    valid = elevation.compressed().astype(np.float64)
    return Terrain(
        lowest=float(valid.min()),
        mean=float(valid.mean()),
        highest=float(valid.max()),
        cells=elevation.size,
        empty_share=1 - valid.size / elevation.size,
    )


def hillshade(elevation: NDArray[np.floating], cell: float) -> NDArray[np.float64]:
    """Brightness of a surface under a lamp in the north-west.

    Parameters
    ----------
    elevation : (rows north→south, columns west→east) float, in the unit of `cell`; NaN where there is none
    cell : edge of a cell

    Returns
    -------
    (rows, columns) float, cosine between surface normal and light: 0 in shadow, 1 towards the lamp; NaN beside NaN

    References
    ----------
    Lambert's cosine law on central differences; angles as in Horn (1981), Proc. IEEE 69(1), 14-47.
    """
    to_south, to_east = np.gradient(elevation.astype(np.float64), cell)
    azimuth, altitude = np.radians(_AZIMUTH_DEGREES), np.radians(_ALTITUDE_DEGREES)
    light_east, light_north = np.sin(azimuth) * np.cos(altitude), np.cos(azimuth) * np.cos(altitude)
    # The normal of z(east, north) is (-dz/deast, -dz/dnorth, 1); rows run to the south.
    brightness = (-to_east * light_east + to_south * light_north + np.sin(altitude)) / np.sqrt(
        1 + to_east**2 + to_south**2
    )
    shaded: NDArray[np.float64] = np.clip(brightness, 0.0, 1.0)
    return shaded


def _write_preview(elevation: np.ma.MaskedArray, cell: float, preview: Path) -> None:
    """Write a grey hill-shade as PNG, at most 1024 pixels wide and high, clear where there is no elevation."""
    step = max(1, -(-max(elevation.shape) // _PREVIEW_PIXELS))
    shade = hillshade(np.ma.filled(elevation.astype(np.float64), np.nan), cell)[::step, ::step]
    is_there = np.isfinite(shade)
    darkest, brightest = np.percentile(shade[is_there], _STRETCH_PERCENT) if is_there.any() else (0.0, 1.0)
    stretched = np.clip((np.nan_to_num(shade) - darkest) / max(brightest - darkest, 1e-6), 0, 1)
    grey = (255 * stretched).astype(np.uint8)
    alpha = np.where(is_there, 255, 0).astype(np.uint8)
    with warnings.catch_warnings(), replaced_atomically(preview) as unfinished:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture has no place on the Earth
        shape = {"height": grey.shape[0], "width": grey.shape[1], "count": 2, "dtype": "uint8"}
        with rasterio.open(unfinished, "w", driver="PNG", **shape) as file:
            file.write(np.stack([grey, alpha]))


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


def write_tile(around: Path | None, ring: int, grid: Grid, path: Path) -> None:
    """Write a tile's own cells out of a raster that reaches `ring` cells beyond; without one, cells without value."""
    with _writing(path, grid) as file:
        if around is not None:
            with rasterio.open(around) as wide:
                file.write(wide.read(1, window=Window(ring, ring, grid.columns, grid.rows)), 1)


def merge_tiles(tiles: Sequence[tuple[Grid, Path]], grid: Grid, path: Path) -> None:
    """Write the grid of the whole area from those of its tiles, one after the other."""
    with _writing(path, grid) as file:
        for tile, raster in tiles:
            column = round((tile.west - grid.west) / grid.cell)
            row = grid.rows - tile.rows - round((tile.south - grid.south) / grid.cell)
            with rasterio.open(raster) as cells:
                file.write(cells.read(1), 1, window=Window(column, row, tile.columns, tile.rows))

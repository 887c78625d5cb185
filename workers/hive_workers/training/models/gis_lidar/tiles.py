"""Reading classified LiDAR tiles: points in metres, and what the sensor says of each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import laspy
import numpy as np
from numpy.typing import NDArray

from hive.errors import InputError

logger = logging.getLogger(__name__)

_POINTS_AT_ONCE = 1_000_000
# ASPRS LAS Specification 1.4 R15, table 17. Class 0 says that nobody has looked; noise is no class to learn.
_NO_CLASS = 0
_NOISE = (7, 18)
_NAMES = {
    1: "other", 2: "ground", 3: "low vegetation", 4: "medium vegetation", 5: "high vegetation", 6: "building",
    9: "water", 10: "rail", 11: "road", 13: "wire guard", 14: "wire", 15: "tower", 16: "wire connector",
    17: "bridge deck",
}  # fmt: skip


@dataclass(frozen=True)
class Points:
    """The points of all tiles.

    Parameters
    ----------
    place : (point, 3) float32, easting, northing, elevation [m] above the south-west corner of all tiles
    sensor : (point, 4) float32: intensity by the tile's 99th percentile, number of the return, returns of the pulse,
        1 for the last return
    label : (point,) int64, index into `names`; -1 where the tile says no class
    names : the classes
    """

    place: NDArray[np.float32]
    sensor: NDArray[np.float32]
    label: NDArray[np.int64]
    names: tuple[str, ...]


def read_tiles(tiles: Sequence[Path]) -> Points:
    """Read tiles in pieces, so that no more than their points in single precision is in memory.

    Raises
    ------
    InputError
        A tile cannot be read, is in degrees, or all tiles together have fewer than two classes.
    """
    read = [_read_tile(tile) for tile in tiles]
    corner = np.min([place.min(axis=0) for place, _, _ in read], axis=0)
    classes = np.concatenate([classification for _, _, classification in read])
    present = [int(number) for number in np.unique(classes) if number != _NO_CLASS]
    _check_classes(tiles, classes, present)
    label = np.full(256, -1)
    label[present] = np.arange(len(present))
    return Points(
        np.concatenate([(place - corner).astype(np.float32) for place, _, _ in read]),
        np.concatenate([sensor for _, sensor, _ in read]),
        label[classes],
        tuple(_NAMES.get(number, f"class {number}") for number in present),
    )


def _check_classes(tiles: Sequence[Path], classes: NDArray[np.uint8], present: list[int]) -> None:
    where = tiles[0].name if len(tiles) == 1 else f"these {len(tiles)} tiles"
    if not present:
        raise InputError(
            f"The {len(classes):,} points of {where} have no classes (all are class 0); gis-lidar learns from tiles "
            "that somebody has classified."
        )
    if len(present) == 1:
        raise InputError(
            f"All classified points of {where} are of class {present[0]} ({_NAMES.get(present[0], 'no name')}); "
            "two classes or more are needed."
        )


_Tile = tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.uint8]]


def _read_tile(tile: Path) -> _Tile:
    try:
        with laspy.open(tile) as file:
            scale = _metres(tile, file.header)
            parts = [_read_part(points, scale) for points in file.chunk_iterator(_POINTS_AT_ONCE)]
    except (laspy.errors.LaspyException, ValueError, RuntimeError) as error:
        raise InputError(f"{tile.name} cannot be read: {error}.") from error
    if not sum(len(place) for place, _, _ in parts):
        raise InputError(f"{tile.name} has no points, or only noise.")
    place, sensor, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
    sensor[:, 0] /= max(np.percentile(sensor[:, 0], 99), 1)
    return place, sensor, classes


def _read_part(points: Any, scale: NDArray[np.float64]) -> _Tile:  # noqa: ANN401  laspy has no types
    """One piece of a tile without its noise."""
    classes = np.asarray(points.classification, dtype=np.uint8)
    is_kept = ~np.isin(classes, _NOISE)
    place = np.column_stack([points.x, points.y, points.z])[is_kept] * scale
    number, of = np.asarray(points.return_number)[is_kept], np.asarray(points.number_of_returns)[is_kept]
    sensor = np.column_stack([np.asarray(points.intensity)[is_kept], number, of, number == of]).astype(np.float32)
    return place, sensor, classes[is_kept]


def _metres(tile: Path, header: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """The lengths of the tile's units of easting, northing and elevation [m]."""
    crs = header.parse_crs()
    if crs is None:
        logger.info("%s does not say its coordinate reference system; its units are taken to be metres", tile.name)
        return np.ones(3)
    if crs.is_geographic:
        raise InputError(f"{tile.name} is in degrees; reproject it to a projected system first.")
    lengths = [axis.unit_conversion_factor for axis in crs.axis_info]
    return np.array([lengths[0], lengths[0], lengths[2] if len(lengths) > 2 else lengths[0]])

"""The images of a scan: reading them whole, and telling a wrong depth scale."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d

from hive.errors import InputError
from hive_workers.threed._triangles.surface import warnings_of_open3d
from hive_workers.threed.fuse.scan import Camera

logger = logging.getLogger(__name__)
# Units per metre that depth cameras and their recordings use: millimetres, the fifths of TUM's RGB-D benchmark,
# tenths of a millimetre, centimetres, metres.
_SCALES = (1000.0, 5000.0, 10000.0, 100.0, 1.0)
_PLAUSIBLE = (0.2, 10.0)  # what a depth camera indoors measures [m]
_START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"  # ITU-T T.81, table B.1: SOI, EOI
_TAIL = 1024  # bytes that cameras may write behind it
_ENOUGH_SHARE = 0.01
# Open3D's volume looks at 8 voxels before and behind a surface; a scene smaller than that has none.
_TRUNCATION_VOXELS = 8


@dataclass(frozen=True)
class DepthCount:
    """Pixels of one depth image: with a depth, with one in reach, and the median of all depths [m]."""

    measured: int
    near: int
    median: float

    @classmethod
    def of(cls, depth: Any, scale: float, furthest: float) -> "DepthCount":  # noqa: ANN401  Open3D's own type
        """Count the pixels of an image."""
        metres = depth.as_tensor().numpy().astype(np.float64) / scale
        there = metres[metres > 0]
        return cls(there.size, int((there < furthest).sum()), float(np.median(there)) if there.size else 0.0)


def read_depth(path: Path, camera: Camera) -> Any:  # noqa: ANN401  Open3D's own type
    """Read a depth image: one channel of 16 bits.

    Raises
    ------
    InputError
        It cannot be read, has another form, or does not fit the camera.
    """
    image = _read(path, camera)
    if image.dtype != o3d.core.uint16 or image.channels != 1:
        raise InputError(
            f"{path.name} is no depth image: it has {image.channels} channels of {8 * image.dtype.byte_size()} bits; "
            "one of 16 bits is wanted."
        )
    return image


def read_colour(path: Path, camera: Camera) -> Any:  # noqa: ANN401  Open3D's own type
    """Read a colour image: red, green and blue of 8 bits; opacity is left out.

    Raises
    ------
    InputError
        It cannot be read, has another form, or does not fit the camera.
    """
    image = _read(path, camera)
    if image.dtype != o3d.core.uint8 or image.channels not in (3, 4):
        raise InputError(
            f"{path.name} is no colour image: it has {image.channels} channels of {8 * image.dtype.byte_size()} bits; "
            "three of 8 bits are wanted."
        )
    if image.channels == 4:
        return o3d.t.geometry.Image(image.as_tensor()[:, :, :3].contiguous())
    return image


def _read(path: Path, camera: Camera) -> Any:  # noqa: ANN401  Open3D's own type
    with warnings_of_open3d() as warnings:
        image = o3d.t.io.read_image(str(path))
    if warnings or image.is_empty() or _is_cut_jpeg(path):
        raise InputError(f"{path.name} cannot be read as an image: it is damaged or cut. Copy or export it again.")
    if (image.columns, image.rows) != (camera.width, camera.height):
        raise InputError(
            f"{path.name} has {image.columns} x {image.rows} pixels, the camera {camera.width} x {camera.height}. Name "
            "the intrinsics of this camera, at this size."
        )
    return image


def _is_cut_jpeg(path: Path) -> bool:
    """Whether a JPEG lacks its end mark; Open3D fills what is missing with grey."""
    with path.open("rb") as file:
        if file.read(2) != _START_OF_JPEG:
            return False
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _END_OF_JPEG not in file.read()


def refuse_wrong_scale(counts: Sequence[DepthCount], scale: float, furthest: float, voxel: float) -> None:
    """Refuse depths that are far beyond reach, or tiny; say which scale would fit.

    Raises
    ------
    InputError
        No image has a depth, next to none is in reach, or all are within a few voxels.
    """
    measured = sum(count.measured for count in counts)
    if not measured:
        raise InputError(f"None of the {len(counts)} depth images has a depth: all pixels are 0.")
    near = sum(count.near for count in counts)
    median = float(np.median([count.median for count in counts if count.measured]))
    if near < _ENOUGH_SHARE * measured:
        raise InputError(
            f"{1 - near / measured:.1%} of the depths are beyond {furthest:g} m: their median is {_metres(median)} at "
            f"{scale:g} units per metre.{_advice(median * scale, furthest)}"
        )
    if median < _TRUNCATION_VOXELS * voxel:
        raise InputError(
            f"The median depth is {median:.4g} m at {scale:g} units per metre, less than {_TRUNCATION_VOXELS} voxels "
            f"of {voxel:g} m.{_advice(median * scale, furthest)}"
        )
    if median > furthest:
        logger.warning("more than half of the depths are beyond %g m and left out; their median is %g m",
                       furthest, median)  # fmt: skip


def _metres(length: float) -> str:
    """A length as messages write it: millimetres do not matter from 100 m on."""
    return f"{length:.4g} m" if length < 100 else f"{length:,.0f} m"


def _advice(median_units: float, furthest: float) -> str:
    """Words about the scale that makes the median plausible."""
    nearest, limit = _PLAUSIBLE[0], min(furthest, _PLAUSIBLE[1])
    for scale in _SCALES:
        if nearest <= median_units / scale < limit:
            return f" With --depth-scale {scale:g} it would be {median_units / scale:.4g} m."
    return " Give the camera's --depth-scale, or another --depth-max."

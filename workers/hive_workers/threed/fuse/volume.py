"""From the frames of a scan to a surface: a truncated signed distance function on blocks of voxels.

References
----------
Curless and Levoy (1996), SIGGRAPH, 303-312; blocks by hash as in Niessner et al. (2013), ACM Trans. Graph. 32(6), 169.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d

from hive.errors import InputError
from hive_workers.threed._triangles.axes import nearest_axis
from hive_workers.threed._triangles.surface import Surface, from_tensor
from hive_workers.threed.fuse.images import DepthCount, read_colour, read_depth, refuse_wrong_scale
from hive_workers.threed.fuse.memory import refuse_too_large
from hive_workers.threed.fuse.scan import Camera, Frame, Scan

logger = logging.getLogger(__name__)
_ATTRIBUTES = {"tsdf": 1, "weight": 1, "color": 3}  # float32 each
_DEVICE = o3d.core.Device("CPU:0")
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Fusion:
    """How to fuse.

    Parameters
    ----------
    voxel : edge of a voxel [m]
    block : voxels along the edge of a block
    depth_scale : units of a depth image per metre
    depth_max : depths beyond are left out [m]
    weight : voxels are kept that more frames than this have seen
    """

    voxel: float
    block: int
    depth_scale: float
    depth_max: float
    weight: float


@dataclass(frozen=True)
class Plan:
    """What a first look at all depth images found.

    Parameters
    ----------
    frames : those that will be fused
    skipped : reasons, and how many frames each
    blocks : blocks of voxels that the frames touch
    cut_share : measured pixels beyond `depth_max`, of all measured pixels
    """

    frames: tuple[Frame, ...]
    skipped: dict[str, int]
    blocks: int
    cut_share: float


@dataclass(frozen=True)
class Fused:
    """The surface, and which axis of the scan points up."""

    surface: Surface
    up: str


def plan_fusion(scan: Scan, how: Fusion, report: Report) -> Plan:
    """Look at every depth image: count what is in reach, and the blocks of voxels that fusing will need.

    Raises
    ------
    InputError
        An image cannot be read or does not fit the camera, the depth scale is wrong, or the blocks need more memory
        than there is.
    """
    grid = _grid(how, blocks=1)
    kept, skipped, counts, blocks = [], dict[str, int](), [], np.empty((0, 3), np.int32)
    for number, frame in enumerate(scan.frames):
        report(0, f"looking at frame {number + 1} of {len(scan.frames)}")
        depth = read_depth(frame.depth, scan.camera)
        count = DepthCount.of(depth, how.depth_scale, how.depth_max)
        counts.append(count)
        reason = "" if frame.has_pose else "its pose is lost"
        reason = reason or ("" if count.near else f"no depth nearer than {how.depth_max:g} m")
        if reason:
            logger.info("frame %s is left out: %s", frame.depth.name, reason)
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        kept.append(frame)
        found = _touched(grid, depth, scan.camera, frame, how).numpy()
        blocks = np.unique(np.concatenate([blocks, found]), axis=0)
    refuse_wrong_scale(counts, how.depth_scale, how.depth_max, how.voxel)
    if not kept:
        raise InputError(f"None of the {len(scan.frames)} frames can be used: {', '.join(skipped)}.")
    refuse_too_large(len(blocks), how.block, how.voxel)
    measured = sum(count.measured for count in counts)
    near = sum(count.near for count in counts)
    return Plan(tuple(kept), skipped, len(blocks), 1 - near / measured)


def fuse_frames(plan: Plan, camera: Camera, how: Fusion, report: Report) -> Fused:
    """Put all frames into one volume and take the surface out of it.

    Raises
    ------
    InputError
        An image cannot be read or does not fit the camera, or no voxel was seen often enough.
    """
    grid = _grid(how, plan.blocks)
    matrix = o3d.core.Tensor(camera.matrix)
    for number, frame in enumerate(plan.frames):
        report(number, f"fusing {frame.depth.name}")
        depth = read_depth(frame.depth, camera)
        colour = read_colour(frame.colour, camera)
        touched = _touched(grid, depth, camera, frame, how)
        grid.integrate(touched, depth, colour, matrix, matrix, _to_camera(frame), *_reach(how))
        logger.debug("%s: %d blocks", frame.depth.name, len(touched))
    report(len(plan.frames), "taking the surface out")
    mesh = grid.extract_triangle_mesh(float(how.weight))
    if mesh.is_empty() or not len(mesh.triangle.indices):
        raise InputError(
            f"No surface: no voxel of {how.voxel:g} m was seen by more than {how.weight:g} of {len(plan.frames)} "
            "frames. Try a smaller --weight or a larger --voxel."
        )
    # People hold cameras upright, and images count their rows downwards.
    return Fused(from_tensor(mesh), nearest_axis(-np.sum([frame.pose[:3, 1] for frame in plan.frames], axis=0)))


def _grid(how: Fusion, blocks: int) -> Any:  # noqa: ANN401  Open3D's own type
    """An empty volume with room for so many blocks; it would grow by copying itself."""
    kinds = (o3d.core.float32,) * len(_ATTRIBUTES)
    channels = tuple(_ATTRIBUTES.values())
    return o3d.t.geometry.VoxelBlockGrid(tuple(_ATTRIBUTES), kinds, channels, how.voxel, how.block, blocks, _DEVICE)


def _touched(grid: Any, depth: Any, camera: Camera, frame: Frame, how: Fusion) -> Any:  # noqa: ANN401  Open3D's types
    """Blocks near the surface that one frame sees, (blocks, 3) int32."""
    matrix = o3d.core.Tensor(camera.matrix)
    return grid.compute_unique_block_coordinates(depth, matrix, _to_camera(frame), *_reach(how))


def _reach(how: Fusion) -> tuple[float, float]:
    """Depth scale and furthest depth, as numbers that Open3D takes: a whole one it refuses."""
    return float(how.depth_scale), float(how.depth_max)


def _to_camera(frame: Frame) -> Any:  # noqa: ANN401  Open3D's own type
    return o3d.core.Tensor(np.ascontiguousarray(np.linalg.inv(frame.pose)))

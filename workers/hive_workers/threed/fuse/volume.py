"""From the frames of a scan to a surface: a truncated signed distance function on blocks of voxels.

References
----------
Curless and Levoy (1996), SIGGRAPH, 303-312; blocks by hash as in Niessner et al. (2013), ACM Trans. Graph. 32(6), 169.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d
import psutil

from hive.errors import InputError
from hive_workers.threed._triangles.surface import Surface, from_tensor, nearest_axis
from hive_workers.threed.fuse.images import DepthCount, read_colour, read_depth, refuse_wrong_scale
from hive_workers.threed.fuse.scan import Camera, Frame, Scan
from hive_workers.threed.parameters import Fusion

logger = logging.getLogger(__name__)
_ATTRIBUTES = {"tsdf": 1, "weight": 1, "color": 3}  # float32 each
_DEVICE = o3d.core.Device("CPU:0")
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Plan:
    """Which frames will be fused, and the blocks they need, from a first look at all depth images.

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


def plan_fusion(scan: Scan, fusion: Fusion, report: Report) -> Plan:
    """Look at every depth image: count what is in reach, and the blocks of voxels that fusing will need.

    Raises
    ------
    InputError
        An image cannot be read or does not fit the camera, the depth scale is wrong, or the blocks need more memory
        than there is.
    """
    grid = _grid(fusion, blocks=1)
    usable, skipped, counts, blocks = [], dict[str, int](), [], np.empty((0, 3), np.int32)
    for number, frame in enumerate(scan.frames):
        report(0, f"looking at frame {number + 1} of {len(scan.frames)}")
        depth = read_depth(frame.depth, scan.camera)
        count = DepthCount.of(depth, fusion.depth_scale, fusion.depth_max)
        counts.append(count)
        reason = "" if frame.has_pose else "its pose is lost"
        reason = reason or ("" if count.near else f"no depth nearer than {fusion.depth_max:g} m")
        if reason:
            logger.info("frame %s is left out: %s", frame.depth.name, reason)
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        usable.append(frame)
        touched = _touched(grid, depth, scan.camera, frame, fusion).numpy()
        blocks = np.unique(np.concatenate([blocks, touched]), axis=0)
    refuse_wrong_scale(counts, fusion.depth_scale, fusion.depth_max, fusion.voxel)
    if not usable:
        raise InputError(f"None of the {len(scan.frames)} frames can be used: {', '.join(skipped)}.")
    refuse_too_large(len(blocks), fusion.block, fusion.voxel)
    measured = sum(count.measured for count in counts)
    near = sum(count.near for count in counts)
    return Plan(tuple(usable), skipped, len(blocks), 1 - near / measured)


def fuse_frames(plan: Plan, camera: Camera, fusion: Fusion, report: Report) -> Fused:
    """Put all frames into one volume and take the surface out of it.

    Raises
    ------
    InputError
        An image cannot be read or does not fit the camera, or no voxel was seen often enough.
    """
    grid = _grid(fusion, plan.blocks)
    matrix = o3d.core.Tensor(camera.matrix)
    for number, frame in enumerate(plan.frames):
        report(number, f"fusing {frame.depth.name}")
        depth = read_depth(frame.depth, camera)
        colour = read_colour(frame.colour, camera)
        touched = _touched(grid, depth, camera, frame, fusion)
        grid.integrate(touched, depth, colour, matrix, matrix, _to_camera(frame), *_reach(fusion))
        logger.debug("%s: %d blocks", frame.depth.name, len(touched))
    report(len(plan.frames), "taking the surface out")
    mesh = grid.extract_triangle_mesh(float(fusion.weight))
    if mesh.is_empty() or not len(mesh.triangle.indices):
        raise InputError(
            f"No surface: no voxel of {fusion.voxel:g} m was seen by more than {fusion.weight:g} of {len(plan.frames)} "
            "frames. Try a smaller --weight or a larger --voxel."
        )
    # People hold cameras upright, and images count their rows downwards.
    return Fused(from_tensor(mesh), nearest_axis(-np.sum([frame.pose[:3, 1] for frame in plan.frames], axis=0)))


def _grid(fusion: Fusion, blocks: int) -> Any:  # noqa: ANN401  Open3D's own type
    """An empty volume with room for so many blocks; it would grow by copying itself."""
    kinds = (o3d.core.float32,) * len(_ATTRIBUTES)
    channels = tuple(_ATTRIBUTES.values())
    return o3d.t.geometry.VoxelBlockGrid(
        tuple(_ATTRIBUTES), kinds, channels, fusion.voxel, fusion.block, blocks, _DEVICE
    )


def _touched(grid: Any, depth: Any, camera: Camera, frame: Frame, fusion: Fusion) -> Any:  # noqa: ANN401  Open3D's types
    """Blocks near the surface that one frame sees, (blocks, 3) int32."""
    matrix = o3d.core.Tensor(camera.matrix)
    return grid.compute_unique_block_coordinates(depth, matrix, _to_camera(frame), *_reach(fusion))


def _reach(fusion: Fusion) -> tuple[float, float]:
    """Depth scale and furthest depth, as numbers that Open3D takes: a whole one it refuses."""
    return float(fusion.depth_scale), float(fusion.depth_max)


def _to_camera(frame: Frame) -> Any:  # noqa: ANN401  Open3D's own type
    return o3d.core.Tensor(np.ascontiguousarray(np.linalg.inv(frame.pose)))


# What a process took at its peak, for 1,927 to 14,824 blocks of 16^3 voxels and 9,665 of 8^3 (Open3D 0.20.0): 5 float32
# in the volume, 4 int32 while the surface is taken out, the surface itself and copies of it.
_BYTES_PER_VOXEL = 58
# Open3D 0.20.0 counts the bytes of a table of 16 B per voxel with 32 bits: 28,470 blocks of 16^3 voxels gave a surface,
# 33,517 ended the process by SIGSEGV.
_MOST_VOXELS = 2**31 // 16
_CGROUP = Path("/sys/fs/cgroup")


def needed_bytes(blocks: int, block: int) -> int:
    """Memory that so many blocks of block^3 voxels need [bytes].

    >>> needed_bytes(1927, 16) // 1_000_000
    457
    """
    return blocks * block**3 * _BYTES_PER_VOXEL


def available_bytes() -> int:
    """Memory that this process may still take [bytes]: the machine's, or less where a container is limited."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return min(free, int(limit) - int(used)) if limit.isdecimal() else free


def refuse_too_large(blocks: int, block: int, voxel: float) -> None:
    """Refuse a volume that does not fit into memory or Open3D's counters, before any of it is made.

    Raises
    ------
    InputError
        Says how much it needs, and which voxel would fit.
    """
    needed, available = needed_bytes(blocks, block), available_bytes()
    most = needed_bytes(1, block) * (_MOST_VOXELS // block**3)
    # A surface has blocks by the square of their number along an edge.
    fits = voxel * (needed / max(min(available, most), 1)) ** 0.5
    advice = f"About --voxel {fits:.2g} would fit; or take a smaller --depth-max."
    if needed > most:
        raise InputError(
            f"Voxels of {voxel:g} m need {blocks:,} blocks of {block}^3 voxels, {blocks * block**3:,} voxels; Open3D "
            f"takes {_MOST_VOXELS:,}. {advice}"
        )
    if needed > available:
        raise InputError(
            f"Voxels of {voxel:g} m need {blocks:,} blocks, {needed / 1e9:.3g} GB of memory; this worker has "
            f"{available / 1e9:.3g} GB. {advice}"
        )

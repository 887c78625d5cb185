"""`3d-generation.fuse`: from the frames of a depth camera to a mesh."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hive.task import Preview, Read, progress
from hive.units import Help, Metres, Share
from hive_workers.threed import threed
from hive_workers.threed.fuse.layout import check_scan
from hive_workers.threed.parameters import CameraFile, Fusion, Mesh, Ply, Up

Scan = Annotated[Path, Read("scan", is_folder=True, inspect=check_scan)]


@dataclass(frozen=True)
class Room:
    """Frames, blocks and mesh of a scan."""

    frames: Annotated[int, Help("Frames in the scan.")]
    used: Annotated[int, Help("Frames that were fused.")]
    skipped: Annotated[dict[str, int], Help("Frames that were left out, by reason.")]
    cut_share: Annotated[Share, Help("Measured pixels further away than depth_max, of all measured pixels.")]
    blocks: Annotated[int, Help("Blocks of voxels around the surface.")]
    vertices: int
    triangles: int
    extent_x: Annotated[Metres, Help("Length of the mesh along x of the scan.")]
    extent_y: Annotated[Metres, Help("Length of the mesh along y of the scan.")]
    extent_z: Annotated[Metres, Help("Length of the mesh along z of the scan.")]
    up: Annotated[str, Help("Axis of the scan that points up.")]


@threed.task
def fuse(
    scan: Scan,
    mesh: Mesh,
    *,
    intrinsics: Annotated[
        CameraFile | None, Help("Camera file: width, height, intrinsic_matrix; where the scan has none.")
    ] = None,
    fusion: Fusion = Fusion(),
    up: Annotated[Up | None, Help("Axis of the scan that points up; default: as the camera was held.")] = None,
    ply: Ply | None = None,
    preview: Preview | None = None,
) -> Room:
    """Fuse depth and colour images of a moving camera to one mesh.

    The scan is a folder with `depth/`, `image/` (or `color/`, `rgb/`), `trajectory.log` with the camera's poses (camera
    to world) and `intrinsic.json`. The images are averaged in voxels near the surface (truncated signed distance;
    Curless and Levoy 1996). The mesh is in metres, in the axes of the trajectory; a GLB is also turned upright. The
    preview shows it from six sides.
    """
    from hive_workers.threed._triangles.files import write_mesh
    from hive_workers.threed._triangles.picture import write_turntable
    from hive_workers.threed.fuse.scan import read_scan
    from hive_workers.threed.fuse.volume import fuse_frames, plan_fusion

    room = read_scan(scan, intrinsics)
    frames = len(room.frames)
    plan = plan_fusion(room, fusion, lambda done, message: progress(done, frames, "frames", message))
    fused = fuse_frames(plan, room.camera, fusion, lambda done, message: progress(done, frames, "frames", message))
    upright = up or fused.up
    for path in (mesh, ply):
        if path is not None:
            write_mesh(fused.surface, upright, {"unit": "m"}, path)
    if preview is not None:
        progress(frames, frames, "frames", "drawing the preview")
        write_turntable(fused.surface, upright, preview)
    progress(frames, frames, "frames", "done")
    extent = fused.surface.extent
    return Room(
        frames=frames,
        used=len(plan.frames),
        skipped=plan.skipped,
        cut_share=plan.cut_share,
        blocks=plan.blocks,
        vertices=len(fused.surface.positions),
        triangles=len(fused.surface.corners),
        extent_x=extent[0],
        extent_y=extent[1],
        extent_z=extent[2],
        up=upright,
    )

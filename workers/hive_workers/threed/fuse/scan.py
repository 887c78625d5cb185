"""Reading a scan: the frames of a depth camera, where the camera was, and what kind of camera it is."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hive.errors import InputError
from hive_workers.threed.fuse.layout import LINES_PER_POSE, find_camera, find_parts, trajectory_lines

# Poses are written with four to eight digits; a matrix that is scaled or mirrored is off by far more.
_RIGID_TOLERANCE = 1e-3

Pose = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: size of its images, focal lengths and principal point [pixels]."""

    width: int
    height: int
    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) float: from (x, y, z) in front of the camera to pixels, times z."""
        return np.array([[self.focal_x, 0, self.centre_x], [0, self.focal_y, self.centre_y], [0, 0, 1]])


@dataclass(frozen=True)
class Frame:
    """One moment of a scan: depth image, colour image, and (4, 4) pose of the camera, camera to world [m]."""

    depth: Path
    colour: Path
    pose: Pose

    @property
    def has_pose(self) -> bool:
        """Whether the camera knew where it was; lost poses are written as nan or inf."""
        return bool(np.isfinite(self.pose).all())


@dataclass(frozen=True)
class Scan:
    """All frames of one camera."""

    frames: tuple[Frame, ...]
    camera: Camera


def read_scan(folder: Path, intrinsics: Path | None) -> Scan:
    """Find the parts of a scan in its folder and read all but the images.

    Raises
    ------
    BadFileError
        A part is missing, or there are not as many depth images as colour images and poses.
    InputError
        A part cannot be read.
    """
    parts = find_parts(folder)
    camera = read_camera(intrinsics or find_camera(folder))
    poses = read_trajectory(parts.trajectory)
    frames = tuple(Frame(*files) for files in zip(parts.depth, parts.colour, poses, strict=True))
    return Scan(frames, camera)


def read_trajectory(path: Path) -> list[Pose]:
    """Read poses, camera to world: per frame a line of three numbers and four lines of a (4, 4) matrix.

    Raises
    ------
    InputError
        The file has another form, or a matrix turns and shifts nothing but scales, shears or mirrors.
    """
    lines = trajectory_lines(path)
    starts = range(0, len(lines), LINES_PER_POSE)
    return [_pose(path, number, lines[at + 1 : at + LINES_PER_POSE]) for number, at in enumerate(starts)]


def _pose(path: Path, number: int, rows: list[str]) -> Pose:
    try:
        pose = np.array([[float(word) for word in row.split()] for row in rows])
    except ValueError as error:
        raise InputError(f"Pose {number} of {path.name} is no matrix of four rows and columns: {error}.") from error
    if pose.shape != (4, 4):
        raise InputError(f"Pose {number} of {path.name} is no matrix of four rows and columns.")
    if np.isfinite(pose).all():
        _check_rigid(path, number, pose)
    return pose


def _check_rigid(path: Path, number: int, pose: Pose) -> None:
    turn = pose[:3, :3]
    off = np.abs(turn.T @ turn - np.eye(3)).max()
    if off > _RIGID_TOLERANCE or np.linalg.det(turn) < 0 or np.abs(pose[3] - (0, 0, 0, 1)).max() > _RIGID_TOLERANCE:
        lengths = ", ".join(f"{length:.4g}" for length in np.linalg.norm(turn, axis=0))
        kind = "mirrors" if np.linalg.det(turn) < 0 else "is no rigid motion"
        raise InputError(
            f"Pose {number} of {path.name} {kind}: its axes are {lengths} long and off a rotation by {off:.3g}. A "
            "rotation and a shift in metres are wanted, camera to world."
        )


def read_camera(path: Path) -> Camera:
    """Read a camera as Open3D writes it: `width`, `height`, `intrinsic_matrix` by column.

    Raises
    ------
    InputError
        The file has another form, or its numbers describe no camera.
    """
    try:
        intrinsics_json = json.loads(path.read_bytes())
        fx, _, _, _, fy, _, cx, cy, _ = (float(number) for number in intrinsics_json["intrinsic_matrix"])
        camera = Camera(int(intrinsics_json["width"]), int(intrinsics_json["height"]), fx, fy, cx, cy)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path.name} is no camera: width, height and an intrinsic_matrix of nine numbers, by column, are wanted."
        ) from error
    if not all(0 < number < math.inf for number in (fx, fy)) or not (0 < cx < camera.width and 0 < cy < camera.height):
        raise InputError(
            f"{path.name} is no camera: its focal lengths are {fx:g} and {fy:g} pixels, its centre is at {cx:g}, "
            f"{cy:g} of {camera.width} x {camera.height} pixels. The matrix is written by column: "
            "fx, 0, 0, 0, fy, 0, cx, cy, 1."
        )
    return camera

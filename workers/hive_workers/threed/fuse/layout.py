"""What lies where in the folder of a scan; looked at on the laptop too, so with the standard library only."""

import re
from dataclasses import dataclass
from pathlib import Path

from hive.errors import BadFileError

# Names of Open3D's reconstruction system, and those of TUM's RGB-D benchmark.
_DEPTH_FOLDERS = ("depth",)
_COLOUR_FOLDERS = ("image", "color", "rgb")
_TRAJECTORIES = ("trajectory.log",)
_CAMERAS = ("intrinsic.json", "intrinsics.json", "camera.json", "camera_primesense.json")
_DEPTH_ENDS, _COLOUR_ENDS = (".png",), (".jpg", ".jpeg", ".png")
LINES_PER_POSE = 5  # one with three numbers of the frame, four with the rows of the matrix


@dataclass(frozen=True)
class Parts:
    """The files of a scan; images in the order of their frames."""

    depth: tuple[Path, ...]
    colour: tuple[Path, ...]
    trajectory: Path


def check_scan(folder: Path) -> None:
    """Refuse a folder that is no scan, before it is sent.

    Raises
    ------
    BadFileError
        A part is missing, or there are not as many depth images as colour images and poses.
    """
    find_parts(folder)


def find_parts(folder: Path) -> Parts:
    """Find the parts of a scan in its folder.

    Raises
    ------
    BadFileError
        A part is missing, or there are not as many depth images as colour images and poses.
    """
    depth = _images(_part(folder, _DEPTH_FOLDERS, "the depth images"), _DEPTH_ENDS)
    colour = _images(_part(folder, _COLOUR_FOLDERS, "the colour images"), _COLOUR_ENDS)
    trajectory = _part(folder, _TRAJECTORIES, "the poses of the camera")
    poses = len(trajectory_lines(trajectory)) // LINES_PER_POSE
    if not len(depth) == len(colour) == poses:
        raise BadFileError(
            f"{folder.name} has {len(depth)} depth images, {len(colour)} colour images and {poses} poses; each frame "
            "needs one of each."
        )
    return Parts(depth, colour, trajectory)


def find_camera(folder: Path) -> Path:
    """Find the file of the camera's focal lengths in the folder of a scan.

    Raises
    ------
    BadFileError
        There is none.
    """
    return _part(folder, _CAMERAS, "the focal lengths of the camera", " Put it there, or name it: --intrinsics FILE.")


def trajectory_lines(path: Path) -> list[str]:
    """The lines of a file of poses, five for each frame.

    Raises
    ------
    BadFileError
        It is no text, or has another number of lines.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path.name} is no text; poses are wanted, five lines each.") from error
    if not lines or len(lines) % LINES_PER_POSE:
        raise BadFileError(
            f"{path.name} has {len(lines)} lines; five for each frame are wanted: one with three numbers, four with "
            "the rows of the camera-to-world matrix."
        )
    return lines


def _part(folder: Path, names: tuple[str, ...], what: str, otherwise: str = "") -> Path:
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise BadFileError(f"{folder.name} has no {' or '.join(names)} with {what}.{otherwise}")
    return path


def _images(folder: Path, ends: tuple[str, ...]) -> tuple[Path, ...]:
    """The images of a folder, in the order of their numbers: 2.png before 10.png."""
    images = [path for path in folder.iterdir() if path.suffix.lower() in ends and not path.name.startswith(".")]
    if not images:
        raise BadFileError(f"{folder.parent.name}/{folder.name} has no images ({', '.join(ends)}).")
    return tuple(sorted(images, key=lambda path: _numbers_in(path.stem)))


def _numbers_in(name: str) -> list[tuple[bool, int, str]]:
    """A name cut into words and numbers, to be sorted by.

    >>> sorted(["frame10", "frame2"], key=_numbers_in)
    ['frame2', 'frame10']
    """
    return [(word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in re.split(r"(\d+)", name)]

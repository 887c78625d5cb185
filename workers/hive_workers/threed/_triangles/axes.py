"""Which way is up: from the axes of a scan to those of glTF, where y is up."""

import numpy as np
from numpy.typing import NDArray

# Rows: where x, y and z of glTF lie in the axes of the scan. Each is a rotation, so nothing is mirrored.
_TO_Y_UP: dict[str, tuple[tuple[int, int, int], ...]] = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def to_y_up(up: str) -> NDArray[np.float64]:
    """Rotation that turns the axis `up` of a scan (`z`, `-y`, …) into y.

    Returns
    -------
    (3, 3) float, to be multiplied with columns (x, y, z)

    >>> (to_y_up("z") @ [0, 0, 1]).tolist()
    [0.0, 1.0, 0.0]
    """
    return np.array(_TO_Y_UP[up], dtype=np.float64)


def nearest_axis(direction: NDArray[np.float64]) -> str:
    """Name the axis that is nearest to a direction.

    >>> nearest_axis(np.array([0.1, -0.9, 0.2]))
    '-y'
    """
    axis = int(np.argmax(np.abs(direction)))
    return ("-" if direction[axis] < 0 else "") + "xyz"[axis]

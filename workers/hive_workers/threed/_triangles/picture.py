"""A turntable of a mesh as one PNG, by ray casting on the processor.

Rays need no screen, no OpenGL and no graphics driver: the picture comes on every worker, and is the same on each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from hive.task import replaced_atomically
from hive_workers.threed._triangles.surface import Surface, to_y_up

_VIEWS = (3, 2)  # columns and rows
_TILE = (400, 320)  # pixels of one view, wide and high
_FINER = 2  # rays per pixel along each edge: edges become smooth
_LOOK_DOWN_DEGREES = 25.0
_OPENING_DEGREES = 40.0  # angle of view from top to bottom
_MARGIN = 0.94  # share of a view that the mesh may fill
_AIMS = 5  # times that the middle is sought again: near things are larger, so it moves with the distance
_BEHIND = 8  # surfaces seen from behind that a ray may pass in search of one seen from the front

_PAPER = np.array([0.96, 0.965, 0.975])
_CLAY = np.array([0.80, 0.77, 0.72])  # of a mesh without colours
_BACK = np.array([0.62, 0.65, 0.70])  # of a surface seen from behind
_AMBIENT = 0.5
_LAMP = np.array([-0.35, 0.50, 0.79])  # over the left shoulder: right, up, towards the viewer; one long


@dataclass(frozen=True)
class _Eye:
    """A pinhole: where it is, and what is right, up and back for it, as rows."""

    place: NDArray[np.float64]
    axes: NDArray[np.float64]


def write_turntable(surface: Surface, up: str, path: Path) -> None:
    """Write views from all around as one PNG.

    Surfaces are seen from the outside only, so that one looks into a room through its walls; where a ray meets nothing
    else, their grey backs are shown.
    """
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(surface.positions), o3d.core.Tensor(surface.corners))
    columns, rows = _VIEWS
    positions, upright = surface.positions.astype(np.float64), to_y_up(up)
    turns = [_axes(360 * number / (columns * rows), _LOOK_DOWN_DEGREES) @ upright for number in range(columns * rows)]
    views = [_view(scene, surface, _eye(positions, axes)) for axes in turns]
    lines = [np.concatenate(views[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    pixels = np.round(np.concatenate(lines) * 255).astype(np.uint8)
    with replaced_atomically(path) as unfinished:
        o3d.io.write_image(str(unfinished), o3d.geometry.Image(np.ascontiguousarray(pixels)), 9)


def _eye(positions: NDArray[np.float64], axes: NDArray[np.float64]) -> _Eye:
    """The place from which the mesh fills the view and is in its middle, for somebody with these axes."""
    seen = positions @ axes.T
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    for _ in range(_AIMS):
        distance = _distance(seen - middle)
        picture = (seen - middle)[:, :2] / (distance - (seen - middle)[:, 2:])
        middle[:2] += (picture.min(axis=0) + picture.max(axis=0)) / 2 * distance
    middle[2] += _distance(seen - middle)
    return _Eye(middle @ axes, axes)


def _axes(turn: float, down: float) -> NDArray[np.float64]:
    """Right, up and back of somebody who walked round by `turn` degrees and looks down by `down` degrees; y is up."""
    walked, tilted = np.radians(turn), np.radians(down)
    back = np.array([np.sin(walked) * np.cos(tilted), np.sin(tilted), np.cos(walked) * np.cos(tilted)])
    right = np.array([np.cos(walked), 0.0, -np.sin(walked)])
    return np.stack([right, np.cross(back, right), back])


def _distance(seen: NDArray[np.float64]) -> float:
    """Distance to the middle from which all points, given as (right, up, back), are inside the view."""
    half_height = np.tan(np.radians(_OPENING_DEGREES / 2)) * _MARGIN
    half_width = half_height * _TILE[0] / _TILE[1]
    needed = np.maximum(np.abs(seen[:, 0]) / half_width, np.abs(seen[:, 1]) / half_height)
    return float((needed + seen[:, 2]).max())


def _view(scene: Any, surface: Surface, eye: _Eye) -> NDArray[np.float64]:  # noqa: ANN401  Open3D's own type
    """One view, (rows top→bottom, columns left→right, 3) float, 0 to 1."""
    width, height = _TILE[0] * _FINER, _TILE[1] * _FINER
    half_height = np.tan(np.radians(_OPENING_DEGREES / 2))
    across = (np.arange(width) + 0.5 - width / 2) / (height / 2) * half_height
    upwards = -(np.arange(height) + 0.5 - height / 2) / (height / 2) * half_height
    rays = np.stack(np.broadcast_arrays(across[None, :], upwards[:, None], -1.0), axis=-1).reshape(-1, 3) @ eye.axes
    shaded = _shade(surface, eye, rays.astype(np.float32), scene)
    fine = shaded.reshape(_TILE[1], _FINER, _TILE[0], _FINER, 3)
    view: NDArray[np.float64] = fine.mean(axis=(1, 3))
    return view


def _shade(surface: Surface, eye: _Eye, rays: NDArray[np.float32], scene: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Colour at the end of each ray, by Lambert's cosine law and a lamp that walks with the viewer."""
    hit = _first_front(scene, eye, rays)
    colours = np.broadcast_to(_PAPER, (len(rays), 3)).copy()
    is_hit = hit.triangle >= 0
    corners, weights = surface.corners[hit.triangle[is_hit]], hit.weights[is_hit][:, :, None]
    normals = (surface.normals[corners] * weights).sum(axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    is_back = hit.is_back[is_hit]
    normals[is_back] *= -1
    own = (surface.colours[corners] * weights).sum(axis=1) if surface.colours is not None else _CLAY
    own = np.where(is_back[:, None], _BACK, own)
    light = np.clip(normals @ (_LAMP @ eye.axes), 0, 1)[:, None]
    colours[is_hit] = np.clip(own * (_AMBIENT + (1 - _AMBIENT) * 1.15 * light), 0, 1)
    return colours


@dataclass(frozen=True)
class _Hits:
    """Where rays end: the triangle (-1 for none), the weights of its corners, and whether it is seen from behind."""

    triangle: NDArray[np.int64]
    weights: NDArray[np.float32]
    is_back: NDArray[np.bool_]


def _first_front(scene: Any, eye: _Eye, rays: NDArray[np.float32]) -> _Hits:  # noqa: ANN401  Open3D's own type
    """Follow each ray to the first surface seen from the front; to the first from behind where there is none."""
    triangle = np.full(len(rays), -1, dtype=np.int64)
    weights = np.zeros((len(rays), 3), dtype=np.float32)
    is_back = np.zeros(len(rays), dtype=np.bool_)
    along = np.zeros(len(rays), dtype=np.float32)
    going = np.arange(len(rays))
    place = eye.place.astype(np.float32)
    for passed in range(_BEHIND):
        here = place + rays[going] * along[going, None]
        hits = scene.cast_rays(o3d.core.Tensor(np.concatenate([here, rays[going]], axis=1)))
        steps, faces = hits["t_hit"].numpy(), hits["primitive_normals"].numpy()
        is_hit = np.isfinite(steps)
        is_front = is_hit & ((faces * rays[going]).sum(axis=1) < 0)
        takes = is_front | (is_hit if passed == 0 else False)
        chosen = going[takes]
        u, v = hits["primitive_uvs"].numpy()[takes].T
        triangle[chosen] = hits["primitive_ids"].numpy()[takes]
        weights[chosen] = np.stack([1 - u - v, u, v], axis=1)
        is_back[chosen] = ~is_front[takes]
        goes_on = is_hit & ~is_front
        # One part in ten thousand further, so that rounding does not meet the same surface again.
        along[going[goes_on]] = (along[going[goes_on]] + steps[goes_on]) * 1.0001
        going = going[goes_on]
        if not len(going):
            break
    return _Hits(triangle, weights, is_back)

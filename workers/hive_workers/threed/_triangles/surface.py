"""Triangles: vertices with colours and normals, which way is up, and what a mesh is like."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

Positions = NDArray[np.float32]
Corners = NDArray[np.uint32]


@dataclass(frozen=True)
class Surface:
    """A triangle mesh.

    Parameters
    ----------
    positions : (vertices, 3) float32, x, y, z [m]
    normals : (vertices, 3) float32, unit vectors to the outside
    colours : (vertices, 3) float32, red, green, blue, 0 to 1, sRGB; None where nothing was known
    corners : (triangles, 3) uint32, vertices of each triangle, counter-clockwise seen from outside
    """

    positions: Positions
    normals: Positions
    colours: Positions | None
    corners: Corners

    @property
    def extent(self) -> tuple[float, float, float]:
        """Lengths along x, y and z [m]."""
        x, y, z = np.ptp(self.positions.astype(np.float64), axis=0)
        return float(x), float(y), float(z)


def from_tensor(mesh: Any) -> Surface:  # noqa: ANN401  Open3D's own type
    """Take over an `open3d.t.geometry.TriangleMesh`."""
    vertex = mesh.vertex
    return Surface(
        positions=vertex.positions.numpy().astype(np.float32),
        normals=_unit(vertex.normals.numpy()),
        colours=_within(vertex.colors.numpy()) if "colors" in vertex else None,
        corners=mesh.triangle.indices.numpy().astype(np.uint32),
    )


def from_legacy(mesh: Any, *, has_colours: bool) -> Surface:  # noqa: ANN401  Open3D's own type
    """Take over an `open3d.geometry.TriangleMesh`; normals are those of the triangles around each vertex.

    `has_colours` says whether the mesh's colours mean something: Poisson's are black where the points had none.
    """
    mesh.compute_vertex_normals()
    return Surface(
        positions=np.asarray(mesh.vertices).astype(np.float32),
        normals=_unit(np.asarray(mesh.vertex_normals)),
        colours=_within(np.asarray(mesh.vertex_colors)) if has_colours else None,
        corners=np.asarray(mesh.triangles).astype(np.uint32),
    )


def _unit(vectors: NDArray[Any]) -> Positions:
    """Make vectors one long; those without length, which glTF forbids, point up."""
    wide = vectors.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    is_there = length > 0
    unit: Positions = np.where(is_there, wide / np.where(is_there, length, 1), (0.0, 0.0, 1.0)).astype(np.float32)
    return unit


def _within(colours: NDArray[Any]) -> Positions:
    """Interpolated colours may leave 0 to 1 by rounding."""
    clipped: Positions = np.clip(colours, 0, 1).astype(np.float32)
    return clipped


@dataclass(frozen=True)
class Findings:
    """Edges, parts and distances [m] of a mesh."""

    is_watertight: bool
    is_edge_manifold: bool
    components: int
    mean_distance: float
    distance_95: float


def inspect(surface: Surface, points: Any) -> Findings:  # noqa: ANN401  Open3D's own type
    """Look at a mesh, and at the points that it was made from."""
    edges = np.sort(surface.corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, triangles = np.unique(edges, axis=0, return_counts=True)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(surface.positions), o3d.core.Tensor(surface.corners))
    distances = scene.compute_distance(o3d.core.Tensor(np.asarray(points).astype(np.float32))).numpy()
    return Findings(
        is_watertight=bool((triangles == 2).all()),
        is_edge_manifold=bool((triangles <= 2).all()),
        components=_components(surface),
        mean_distance=float(distances.mean(dtype=np.float64)),
        distance_95=float(np.quantile(distances, 0.95)),
    )


def _components(surface: Surface) -> int:
    """Parts whose triangles share edges."""
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(surface.positions.astype(np.float64)),
        o3d.utility.Vector3iVector(surface.corners.astype(np.int32)),
    )
    _, sizes, _ = mesh.cluster_connected_triangles()
    return len(sizes)


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


_WARNING = "[Open3D WARNING]"


@contextlib.contextmanager
def warnings_of_open3d() -> Iterator[list[str]]:
    """Collect the warnings that Open3D prints in this block; the list is filled when the block ends."""
    warnings_printed: list[str] = []
    printed = io.StringIO()
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Warning), contextlib.redirect_stdout(printed):
        yield warnings_printed
    warnings_printed += [line for line in printed.getvalue().splitlines() if _WARNING in line]

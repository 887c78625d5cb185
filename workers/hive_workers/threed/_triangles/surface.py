"""A triangle mesh as arrays, taken over from Open3D."""

from dataclasses import dataclass
from typing import Any

import numpy as np
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

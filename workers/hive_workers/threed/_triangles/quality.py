"""What a mesh is like: edges, parts, and its distance from points."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d

from hive_workers.threed._triangles.surface import Surface


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

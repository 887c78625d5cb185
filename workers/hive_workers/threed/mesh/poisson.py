"""From points to a surface: cleaning, normals, Poisson's equation, trimming, decimation.

References
----------
Kazhdan and Hoppe (2013), ACM Trans. Graph. 32(3), 29: screened Poisson surface reconstruction.
Hoppe et al. (1992), SIGGRAPH, 71-78: consistent normals along a spanning tree of neighbours.
Garland and Heckbert (1997), SIGGRAPH, 209-216: decimation by quadric error metrics.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from hive.errors import InputError
from hive_workers.threed._triangles.surface import Surface, from_legacy
from hive_workers.threed.mesh.cloud import PointSet
from hive_workers.threed.parameters import Cleaning, Normals, Shaping

logger = logging.getLogger(__name__)
FEWEST_POINTS = 100  # fewer make no surface worth the name
_LINE = 1e-6  # points so much wider than long lie on a line: float32 files round to 6e-8
_SHAKE = 1e-7  # of the longest edge
# Open3D gives the solver a cube this much wider than the points, so that the surface does not touch its walls.
_WIDER = 1.1


@dataclass(frozen=True)
class Shaped:
    """The surface, and the edge of the finest cell that it was computed on [m]."""

    surface: Surface
    finest_cell: float


def clean(point_set: PointSet, cleaning: Cleaning) -> Any:  # noqa: ANN401  Open3D's own type
    """Thin points by voxels, and leave out those that are far from their neighbours.

    Raises
    ------
    InputError
        Too few points are left.
    """
    cloud = point_set.local
    _refuse_few(len(cloud.points), "The cloud has", "")
    if cleaning.voxel is not None:
        before = len(cloud.points)
        cloud = cloud.voxel_down_sample(cleaning.voxel)
        words = f"of {before:,} points are left by voxels of {cleaning.voxel:g} m"
        _refuse_few(len(cloud.points), "Only", words + "; take a smaller --voxel")
        logger.info("%d %s", len(cloud.points), words)
    if cleaning.outlier_neighbours:
        before = len(cloud.points)
        cloud, _ = cloud.remove_statistical_outlier(cleaning.outlier_neighbours, cleaning.outlier_ratio)
        words = f"of {before:,} points are left by the outlier filter"
        _refuse_few(len(cloud.points), "Only", words + "; take a larger --outlier-ratio")
        logger.info("%d %s", len(cloud.points), words)
    return cloud


def _refuse_few(count: int, before: str, words: str) -> None:
    if count < FEWEST_POINTS:
        raise InputError(f"{before} {count:,} {words or 'points'}. At least {FEWEST_POINTS} are needed.")


def _refuse_line(points: NDArray[np.float64], name: str) -> None:
    length, width, _ = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if width <= _LINE * length:
        where = f"on a line, {np.ptp(points, axis=0).max():.4g} m long" if length > 0 else "at one place"
        raise InputError(f"The points of {name} lie {where}; a surface has two directions.")


def with_normals(
    cloud: Any,  # noqa: ANN401  Open3D's own type
    normals: Normals,
    upwards: NDArray[np.float64],
    viewpoint: NDArray[np.float64],
    name: str,
) -> Any:  # noqa: ANN401  Open3D's own type
    """Estimate normals and turn them to the outside.

    Parameters
    ----------
    upwards : direction that is up
    viewpoint : position of the scanner [m]

    Raises
    ------
    InputError
        The file has no normals though it should, or the points lie on a line or do not tell their outside.
    """
    _refuse_line(np.asarray(cloud.points), name)
    if normals.normals == "file":
        if not cloud.has_normals():
            raise InputError(f"{name} has no normals. Let them be estimated: --normals consistent.")
        cloud.normalize_normals()
        return cloud
    search = (
        o3d.geometry.KDTreeSearchParamKNN(normals.neighbours)
        if normals.radius is None
        else o3d.geometry.KDTreeSearchParamHybrid(normals.radius, normals.neighbours)
    )
    cloud.estimate_normals(search)
    if normals.normals == "up":
        cloud.orient_normals_to_align_with_direction(upwards)
    elif normals.normals == "viewpoint":
        cloud.orient_normals_towards_camera_location(viewpoint)
    else:
        _orient_alike(cloud, normals.neighbours, name)
    return cloud


def _orient_alike(cloud: Any, neighbours: int, name: str) -> None:  # noqa: ANN401  Open3D's own type
    """Turn normals as those of their neighbours are turned, along a spanning tree.

    The tree comes from tetrahedra between the points (Delaunay), and points that lie exactly on a plane or a sphere
    have none. A copy that is shaken by less than float32 files round has.
    """
    try:
        cloud.orient_normals_consistent_tangent_plane(neighbours)
    except RuntimeError:
        logger.info("%s: the points lie on a plane or a sphere; they are shaken to tell their outside", name)
        shaken = o3d.geometry.PointCloud(cloud)
        noise = np.random.default_rng(0).uniform(-1, 1, (len(cloud.points), 3)) * _SHAKE * _longest(cloud)
        shaken.points = o3d.utility.Vector3dVector(np.asarray(cloud.points) + noise)
        try:
            shaken.orient_normals_consistent_tangent_plane(neighbours)
        except RuntimeError as error:  # qhull, which makes the tetrahedra
            raise InputError(
                f"The points of {name} do not tell their outside from their neighbours. Say it: --normals up, or "
                "--normals viewpoint."
            ) from error
        cloud.normals = shaken.normals


def make_surface(cloud: Any, shaping: Shaping, name: str) -> Shaped:  # noqa: ANN401  Open3D's own type
    """Solve Poisson's equation for points with normals, trim and decimate.

    One thread: with several, Open3D's solver may give another mesh each time.

    Raises
    ------
    InputError
        Nothing is left of the surface.
    """
    mesh, densities = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
        cloud, depth=shaping.depth, scale=_WIDER, n_threads=1
    )
    if shaping.trim:
        density = np.asarray(densities)
        mesh.remove_vertices_by_mask(density < np.quantile(density, shaping.trim))
    if shaping.faces is not None and len(mesh.triangles) > shaping.faces:
        mesh = mesh.simplify_quadric_decimation(shaping.faces)
    if not len(mesh.triangles):
        raise InputError(f"Nothing is left of the surface of {name}. Take a smaller --trim, or more --faces.")
    return Shaped(from_legacy(mesh, has_colours=cloud.has_colors()), _longest(cloud) * _WIDER / 2**shaping.depth)


def _longest(cloud: Any) -> float:  # noqa: ANN401  Open3D's own type
    """Longest edge of the box around the points [m]."""
    return float(np.ptp(np.asarray(cloud.points), axis=0).max())

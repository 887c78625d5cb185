"""`3d-generation.mesh`: from a point cloud to a mesh."""

from dataclasses import dataclass
from typing import Annotated, Literal

from hive.task import Preview, progress
from hive.units import AtLeast, AtMost, Help, LessThan, Matching, Metres, MoreThan
from hive_workers.threed import threed
from hive_workers.threed.files import Cloud, Mesh, Ply, Up

_STEPS = 5
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


@dataclass(frozen=True)
class Quality:
    """What the mesh is like, and how near it is to the points."""

    points: Annotated[int, Help("Points in the file.")]
    dropped_points: Annotated[int, Help("Points without a place (NaN), and those that a LAS marks as noise.")]
    used_points: Annotated[int, Help("Points that the surface was made from.")]
    vertices: int
    triangles: int
    components: Annotated[int, Help("Parts that hang together.")]
    watertight: Annotated[bool, Help("Whether every edge belongs to two triangles.")]
    edge_manifold: Annotated[bool, Help("Whether no edge belongs to more than two triangles.")]
    finest_cell: Annotated[Metres, Help("Edge of the smallest cell that Poisson's equation was solved on.")]
    mean_distance: Annotated[Metres, Help("Mean distance of the points that were used from the mesh.")]
    distance_95: Annotated[Metres, Help("Distance that 95 % of these points do not exceed.")]
    extent_x: Annotated[Metres, Help("Length of the mesh along x.")]
    extent_y: Annotated[Metres, Help("Length of the mesh along y.")]
    extent_z: Annotated[Metres, Help("Length of the mesh along z.")]
    origin: Annotated[list[float], Help("Where 0, 0, 0 of the mesh lies, in coordinates and units of the cloud.")]
    unit: Annotated[str, Help("Unit of the cloud's coordinates; the mesh is in metres.")]


@threed.task
def mesh(
    cloud: Cloud,
    mesh: Mesh,
    *,
    voxel: Annotated[Metres | None, MoreThan(0), Help("Make one point of all in a voxel; left out, keep all.")] = None,
    outlier_neighbours: Annotated[int, AtLeast(0), Help("Outlier filter: neighbours to look at; 0 is no filter.")] = 20,
    outlier_ratio: Annotated[
        float, MoreThan(0), Help("Outlier filter: standard deviations beyond the mean distance to neighbours.")
    ] = 2.0,
    normals: Annotated[
        Literal["consistent", "up", "viewpoint", "file"],
        Help("How to tell outside: as neighbours do, towards --up, towards --viewpoint, or as the file says."),
    ] = "consistent",
    neighbours: Annotated[int, AtLeast(3), Help("Neighbours that a normal is estimated from.")] = 30,
    radius: Annotated[Metres | None, MoreThan(0), Help("Only neighbours within this distance.")] = None,
    viewpoint: Annotated[
        str,
        Matching(rf"{_NUMBER},{_NUMBER},{_NUMBER}", "three numbers such as 0,0,1.5"),
        Help("Where the scanner stood, in coordinates of the cloud."),
    ] = "0,0,0",
    depth: Annotated[int, AtLeast(3), AtMost(13), Help("Poisson: 2^depth cells along the longest edge.")] = 8,
    trim: Annotated[
        float, AtLeast(0), LessThan(1), Help("Leave out this share of the vertices, where points are rarest.")
    ] = 0.01,
    faces: Annotated[int | None, AtLeast(4), Help("Decimate to that many triangles; left out, keep all.")] = None,
    unit: Annotated[
        Literal["mm", "cm", "m", "ft", "us-ft"] | None,
        Help("Unit of the cloud's coordinates; left out, that of its LAS record, m for other files."),
    ] = None,
    up: Annotated[Up, Help("Axis of the cloud that points up.")] = "z",
    ply: Ply | None = None,
    preview: Preview | None = None,
) -> Quality:
    """Make a mesh of a point cloud: clean, estimate normals, solve Poisson's equation, trim, decimate.

    The surface is that of Kazhdan and Hoppe (2013), screened Poisson reconstruction. It closes holes; trimming opens
    them again where there were next to no points. The mesh is in metres. Far from 0 (more than 1 km) its coordinates
    count from `origin`, because meshes hold 7 digits only. The preview shows it from six sides.
    """
    from hive_workers.threed._triangles.axes import to_y_up
    from hive_workers.threed._triangles.files import write_mesh
    from hive_workers.threed._triangles.picture import write_turntable
    from hive_workers.threed._triangles.quality import inspect
    from hive_workers.threed.mesh.cloud import read_cloud
    from hive_workers.threed.mesh.poisson import Cleaning, Normals, Shaping, clean, make_surface, with_normals

    progress(0, _STEPS, "steps", "reading the points")
    found = read_cloud(cloud, unit)
    progress(1, _STEPS, "steps", f"cleaning {found.points:,} points")
    cleaned = clean(found, Cleaning(voxel, outlier_neighbours, outlier_ratio))
    place = found.to_local([float(number) for number in viewpoint.split(",")])
    progress(2, _STEPS, "steps", f"estimating {len(cleaned.points):,} normals")
    oriented = with_normals(cleaned, Normals(normals, neighbours, radius, to_y_up(up)[1], place), cloud.name)
    progress(3, _STEPS, "steps", "solving Poisson's equation")
    shaped = make_surface(oriented, Shaping(depth, trim, faces), cloud.name)
    progress(4, _STEPS, "steps", f"writing {len(shaped.surface.corners):,} triangles")
    about = {"unit": "m", "origin": list(found.origin), "origin_unit": found.unit, "crs": found.crs}
    for path in (mesh, ply):
        if path is not None:
            write_mesh(shaped.surface, up, about, path)
    if preview is not None:
        write_turntable(shaped.surface, up, preview)
    told = inspect(shaped.surface, oriented.points)
    progress(_STEPS, _STEPS, "steps", "done")
    extent = shaped.surface.extent
    return Quality(
        points=found.points,
        dropped_points=found.dropped,
        used_points=len(oriented.points),
        vertices=len(shaped.surface.positions),
        triangles=len(shaped.surface.corners),
        components=told.components,
        watertight=told.is_watertight,
        edge_manifold=told.is_edge_manifold,
        finest_cell=shaped.finest_cell,
        mean_distance=told.mean_distance,
        distance_95=told.distance_95,
        extent_x=extent[0],
        extent_y=extent[1],
        extent_z=extent[2],
        origin=list(found.origin),
        unit=found.unit,
    )

"""`3d-generation.mesh`: from a point cloud to a mesh."""

from dataclasses import dataclass
from typing import Annotated, Literal

from hive.task import Preview, progress
from hive.units import Help, Metres
from hive_workers.threed import threed
from hive_workers.threed.parameters import Cleaning, Cloud, Mesh, Normals, Ply, Shaping, Up

_STEPS = 5


@dataclass(frozen=True)
class Quality:
    """Quality of the mesh, and its distance from the points."""

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
    cleaning: Cleaning = Cleaning(),
    normal_settings: Normals = Normals(),
    shaping: Shaping = Shaping(),
    unit: Annotated[
        Literal["mm", "cm", "m", "ft", "us-ft"] | None,
        Help("Unit of the cloud's coordinates; default: that of its LAS record, m for other files."),
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
    from hive_workers.threed._triangles.files import write_mesh
    from hive_workers.threed._triangles.picture import write_turntable
    from hive_workers.threed._triangles.surface import inspect, to_y_up
    from hive_workers.threed.mesh.cloud import read_cloud
    from hive_workers.threed.mesh.poisson import clean, make_surface, with_normals

    progress(0, _STEPS, "steps", "reading the points")
    raw_cloud = read_cloud(cloud, unit)
    progress(1, _STEPS, "steps", f"cleaning {raw_cloud.points:,} points")
    cleaned = clean(raw_cloud, cleaning)
    viewpoint = raw_cloud.to_local([float(number) for number in normal_settings.viewpoint.split(",")])
    progress(2, _STEPS, "steps", f"estimating {len(cleaned.points):,} normals")
    oriented = with_normals(cleaned, normal_settings, to_y_up(up)[1], viewpoint, cloud.name)
    progress(3, _STEPS, "steps", "solving Poisson's equation")
    shaped = make_surface(oriented, shaping, cloud.name)
    progress(4, _STEPS, "steps", f"writing {len(shaped.surface.corners):,} triangles")
    about = {"unit": "m", "origin": list(raw_cloud.origin), "origin_unit": raw_cloud.unit, "crs": raw_cloud.crs}
    for path in (mesh, ply):
        if path is not None:
            write_mesh(shaped.surface, up, about, path)
    if preview is not None:
        write_turntable(shaped.surface, up, preview)
    quality = inspect(shaped.surface, oriented.points)
    progress(_STEPS, _STEPS, "steps", "done")
    extent = shaped.surface.extent
    return Quality(
        points=raw_cloud.points,
        dropped_points=raw_cloud.dropped,
        used_points=len(oriented.points),
        vertices=len(shaped.surface.positions),
        triangles=len(shaped.surface.corners),
        components=quality.components,
        watertight=quality.is_watertight,
        edge_manifold=quality.is_edge_manifold,
        finest_cell=shaped.finest_cell,
        mean_distance=quality.mean_distance,
        distance_95=quality.distance_95,
        extent_x=extent[0],
        extent_y=extent[1],
        extent_z=extent[2],
        origin=list(raw_cloud.origin),
        unit=raw_cloud.unit,
    )

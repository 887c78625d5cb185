"""3d-generation.mesh against Open3D run by hand, its figures of reference, and against spheres and planes."""

import logging

import numpy as np
import pytest

from hive.catalog import find_task
from hive.client.request import make_request
from hive.errors import BadFileError, BadParameterError, InputError
from tests.science.meshes import (
    SCANS,
    expect_refusal,
    filled,
    in_order,
    read_glb,
    read_ply,
    require_open3d,
    to_srgb,
    views_of,
)
from tests.support import DATA, TILE

pytestmark = pytest.mark.science
FRAGMENT = SCANS / "fragment.pcd"
# As the reference was computed: all points of a voxel to one, normals towards the camera that made the scan.
BY_REFERENCE = {"voxel": 0.02, "outlier_neighbours": 0, "normals": "viewpoint", "radius": 0.1, "up": "-y"}


@pytest.fixture(scope="module")
def mesh(o3d):
    from hive_workers.threed.mesh import mesh

    return mesh


@pytest.fixture(scope="module")
def wall(mesh, tmp_path_factory):
    """The corner of a room, meshed and decimated."""
    folder = tmp_path_factory.mktemp("wall")
    files = {"ply": folder / "wall.ply", "preview": folder / "wall.png"}
    return mesh(FRAGMENT, folder / "wall.glb", faces=10_000, **BY_REFERENCE, **files), folder


def test_it_equals_plain_open3d_on_the_same_points(o3d, wall):
    """15,678 points, 5,057 vertices, 9,999 triangles: Open3D 0.20.0."""
    measured, folder = wall
    cloud = o3d.io.read_point_cloud(str(FRAGMENT)).voxel_down_sample(0.02)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(0.1, 30))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    whole, density = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=8, n_threads=1)
    assert (len(whole.vertices), len(whole.triangles)) == (25_292, 50_419)
    whole.remove_vertices_by_mask(np.asarray(density) < np.quantile(density, 0.01))
    assert (len(whole.vertices), len(whole.triangles)) == (25_105, 50_031)
    wanted = np.asarray(whole.simplify_quadric_decimation(10_000).vertices).astype(np.float32)
    assert (measured.points, measured.used_points) == (113_662, 15_678)
    assert (measured.vertices, measured.triangles) == (5_057, 9_999)
    found = np.asarray(read_ply(folder / "wall.ply").vertices).astype(np.float32)
    assert np.array_equal(in_order(found), in_order(wanted))


def test_another_depth_gives_the_figures_of_the_reference(mesh, tmp_path):
    measured = mesh(FRAGMENT, tmp_path / "a.glb", depth=7, trim=0, **BY_REFERENCE)
    assert (measured.vertices, measured.triangles) == (21_774, 43_433)
    assert measured.finest_cell == pytest.approx(2.3575 * 1.1 / 2**7, rel=0.01)  # the cloud is 2.36 m long


def test_the_outlier_filter_leaves_the_points_of_the_reference(mesh, tmp_path):
    measured = mesh(FRAGMENT, tmp_path / "a.glb", depth=5, **(BY_REFERENCE | {"outlier_neighbours": 20}))
    assert measured.used_points == 15_315


def test_a_rabbit_has_the_figures_of_the_reference(mesh, tmp_path):
    measured = mesh(
        SCANS / "bunny.pts", tmp_path / "a.glb", outlier_neighbours=0, trim=0, up="y", preview=tmp_path / "a.png"
    )
    assert (measured.points, measured.vertices, measured.triangles) == (30_571, 41_946, 83_783)
    assert (measured.components, measured.edge_manifold) == (1, True)
    assert measured.mean_distance < 0.0001  # 0.1 mm of 15 cm
    assert read_glb(tmp_path / "a.glb")[2] is None  # points without colours make a mesh without
    views = views_of(tmp_path / "a.png")
    assert (filled(views) > 0.25).all()
    assert (views.std(axis=(1, 2)).min(axis=1) > 20).all()


def test_the_wall_keeps_its_colours_and_stands_upright(wall):
    _, folder = wall
    ply = read_ply(folder / "wall.ply")
    positions, triangles, colours = read_glb(folder / "wall.glb")
    assert np.allclose(positions, np.asarray(ply.vertices) * (1, -1, -1))
    assert np.array_equal(triangles, ply.faces)
    assert np.abs(to_srgb(colours) - ply.visual.vertex_colors[:, :3]).max() < 0.6
    assert ply.visual.vertex_colors[:, :3].std(axis=0).min() > 20
    views = views_of(folder / "wall.png")
    assert (filled(views) > 0.1).all()
    assert views[0].std(axis=(0, 1)).min() > 25


def test_quality_is_what_another_library_finds(wall):
    measured, folder = wall
    found = read_ply(folder / "wall.ply")
    assert measured.watertight == found.is_watertight
    assert (measured.extent_x, measured.extent_y, measured.extent_z) == pytest.approx(found.extents)
    assert measured.components == parts(found)
    assert 0 < measured.mean_distance < measured.distance_95 < 0.01  # the points are 2 cm apart


def parts(found):
    """Parts whose triangles share edges: all triangles of an edge take their smallest number, until all agree."""
    edges = np.sort(np.asarray(found.faces)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, edge_of_side = np.unique(edges, axis=0, return_inverse=True)
    labels, before = np.arange(len(found.faces)), None
    while not np.array_equal(labels, before):
        before, smallest = labels, np.full(edge_of_side.max() + 1, len(labels))
        np.minimum.at(smallest, edge_of_side, np.repeat(labels, 3))
        labels = smallest[edge_of_side].reshape(-1, 3).min(axis=1)
    return len(np.unique(labels))


def sphere(count=20_000, radius=0.5, centre=(1.0, 2.0, 3.0)):
    """Points spread evenly over a sphere, along a spiral of the golden angle (Vogel 1979, Math. Biosci. 44, 179)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.array(centre) + radius * np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


def write_cloud(o3d, path, points, colours=None, normals=None):
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    if colours is not None:
        cloud.colors = o3d.utility.Vector3dVector(colours)
    if normals is not None:
        cloud.normals = o3d.utility.Vector3dVector(normals)
    o3d.io.write_point_cloud(str(path), cloud)
    return path


def test_a_sphere_has_its_volume_and_its_extent(o3d, mesh, tmp_path):
    cloud = write_cloud(o3d, tmp_path / "sphere.ply", sphere())
    measured = mesh(cloud, tmp_path / "a.ply", depth=7, trim=0, preview=tmp_path / "a.png")
    found = read_ply(tmp_path / "a.ply")
    # Cells of 1 cm: the surface is smoothed by less than a tenth of one.
    assert found.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.005)  # positive: triangles face outwards
    assert found.extents == pytest.approx([1.0, 1.0, 1.0], abs=0.003)
    assert found.bounds.mean(axis=0) == pytest.approx([1.0, 2.0, 3.0], abs=0.002)
    assert (measured.watertight, measured.edge_manifold, measured.components) == (True, True, 1)
    assert measured.mean_distance < 0.001
    outwards = (np.asarray(found.vertices) - (1, 2, 3)) * np.asarray(found.vertex_normals)
    assert (outwards.sum(axis=1) > 0.49).all()


def test_a_sphere_fills_the_same_part_of_every_view(o3d, mesh, tmp_path):
    """A circle over 94 % of the height of views of 400 x 320 pixels."""
    cloud = write_cloud(o3d, tmp_path / "sphere.ply", sphere(5_000))
    mesh(cloud, tmp_path / "a.glb", depth=6, preview=tmp_path / "a.png", trim=0)
    assert filled(views_of(tmp_path / "a.png")) == pytest.approx(np.pi / 4 * (0.94 * 320) ** 2 / (400 * 320), rel=0.02)


def test_a_room_is_seen_through_its_walls_and_a_back_is_grey(o3d, tmp_path):
    """Of a box whose walls face inwards, every view shows the inside; of one wall alone, half the views its back."""
    from hive_workers.threed._triangles.picture import write_turntable
    from hive_workers.threed._triangles.surface import from_legacy

    box = o3d.geometry.TriangleMesh.create_box(4, 3, 3)
    box.paint_uniform_color([1, 0, 0])
    box.triangles = o3d.utility.Vector3iVector(np.asarray(box.triangles)[:, ::-1])
    write_turntable(from_legacy(box, has_colours=True), "z", tmp_path / "room.png")
    inside = views_of(tmp_path / "room.png")
    there = np.abs(inside - inside[0, 0, 0]).max(axis=-1) > 3
    assert (filled(inside) > 0.2).all()
    assert (inside[..., 1][there] < 120).mean() > 0.98  # red, but for the smooth edge
    front = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1.0]]),
        o3d.utility.Vector3iVector([[0, 1, 2], [0, 2, 3]]),
    )
    front.paint_uniform_color([1, 0, 0])
    write_turntable(from_legacy(front, has_colours=True), "z", tmp_path / "front.png")
    views = views_of(tmp_path / "front.png")
    is_red = ((views[..., 0] > 100) & (views[..., 2] < 50)).any(axis=(1, 2))
    assert is_red.tolist() == [True, True, False, False, False, True]
    assert (filled(views) > 0.05).all()


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_turning_upright_turns_and_does_not_mirror(up):
    require_open3d()
    from hive_workers.threed._triangles.surface import nearest_axis, to_y_up

    turn = to_y_up(up)
    assert np.linalg.det(turn) == 1
    assert np.array_equal(turn @ turn.T, np.eye(3))
    assert nearest_axis(turn[1]) == up


@pytest.mark.parametrize("name", ["a.ply", "a.pcd", "a.pts"])
def test_the_same_points_give_the_same_mesh_in_every_format(o3d, mesh, tmp_path, name):
    points = sphere(3_000).round(3)
    cloud = tmp_path / name
    if name.endswith(".pts"):
        cloud.write_text("3000\n" + "\n".join(f"{x:.3f} {y:.3f} {z:.3f}" for x, y, z in points) + "\n")
    else:
        write_cloud(o3d, cloud, points)
    measured = mesh(cloud, tmp_path / "m.glb", depth=5)
    wanted = mesh(write_cloud(o3d, tmp_path / "b.ply", points), tmp_path / "b.glb", depth=5)
    assert measured.triangles == wanted.triangles > 500
    assert measured.mean_distance == pytest.approx(wanted.mean_distance, rel=0.01)  # PCD keeps float32


def write_las(path, points, crs=None, noise=0, withheld=0, colour=None):
    import laspy
    import pyproj

    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = [0.001] * 3, np.floor(points.min(axis=0))
    if crs:
        header.add_crs(pyproj.CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    classes, hidden = np.zeros(len(points), np.uint8), np.zeros(len(points), np.uint8)
    classes[:noise], hidden[noise : noise + withheld] = 7, 1
    cloud.classification, cloud.withheld = classes, hidden
    if colour is not None:
        cloud.red, cloud.green, cloud.blue = (np.full(len(points), band, np.uint16) for band in colour)
    cloud.write(path)
    return path


UTM = np.array([500_123.0, 5_400_456.0, 321.0])


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_points_in_utm_are_counted_from_an_origin(mesh, tmp_path, name):
    """float32 has steps of half a metre at 5,400 km: without a shift the sphere would be a stair."""
    cloud = write_las(tmp_path / name, UTM + sphere(centre=(5, 5, 5)), "EPSG:32610")
    measured = mesh(cloud, tmp_path / "a.glb", ply=tmp_path / "a.ply", depth=7, trim=0)
    assert (measured.origin, measured.unit) == ([500_127.0, 5_400_460.0, 325.0], "m")
    found = read_ply(tmp_path / "a.ply")
    assert found.volume == pytest.approx(np.pi / 6, rel=0.005)
    middle = found.bounds.mean(axis=0) + measured.origin
    assert middle == pytest.approx(UTM + 5, abs=0.003)
    header = (tmp_path / "a.ply").read_bytes().partition(b"end_header")[0].decode()
    assert "comment origin [500127.0, 5400460.0, 325.0]" in header
    assert 'comment crs "WGS 84 / UTM zone 10N"' in header


@pytest.mark.parametrize(("crs", "unit", "foot"), [("EPSG:2992", "ft", 0.3048), ("EPSG:2227", "us-ft", 1200 / 3937)])
def test_feet_become_metres(mesh, tmp_path, crs, unit, foot):
    cloud = write_las(tmp_path / "a.laz", UTM + sphere(centre=(5, 5, 5), radius=1.0), crs)
    measured = mesh(cloud, tmp_path / "a.ply", depth=6)
    assert measured.unit == unit
    assert measured.extent_z == pytest.approx(2 * foot, rel=0.01)


def test_a_unit_that_is_said_goes_before_that_of_the_file(mesh, tmp_path):
    cloud = write_las(tmp_path / "a.laz", UTM + sphere(centre=(5, 5, 5), radius=1.0), "EPSG:2992")
    assert mesh(cloud, tmp_path / "a.ply", depth=6, unit="m").extent_z == pytest.approx(2.0, rel=0.01)


def test_a_scan_in_millimetres_becomes_metres(o3d, mesh, tmp_path):
    cloud = write_cloud(o3d, tmp_path / "a.ply", sphere(3_000) * 1000)
    measured = mesh(cloud, tmp_path / "b.ply", depth=5, unit="mm", voxel=0.01)
    assert measured.extent_x == pytest.approx(1.0, rel=0.02)
    assert measured.origin == [0.0, 0.0, 0.0]  # 3,500 mm are near enough


def test_a_las_without_crs_asks_for_its_unit(mesh, tmp_path):
    cloud = DATA / "gis" / "sample_c.las"
    expect_refusal(InputError, "does not say its coordinate .* --unit m", lambda: mesh(cloud, tmp_path / "a.glb"))
    assert mesh(cloud, tmp_path / "a.glb", unit="m", normals="up", depth=6).points == 14_408


def test_degrees_and_mixed_units_are_refused(mesh, tmp_path):
    cloud = write_las(tmp_path / "a.laz", sphere(500, centre=(10, 50, 3)), "EPSG:4326")
    expect_refusal(InputError, "a.laz is in degrees", lambda: mesh(cloud, tmp_path / "a.glb"))
    mixed = write_las(tmp_path / "b.laz", UTM + sphere(500), "EPSG:2992+5703")  # feet, and metres above sea level
    expect_refusal(InputError, "b.laz has the units foot, metre; one for all", lambda: mesh(mixed, tmp_path / "a.glb"))


def test_noise_of_a_las_is_left_out_and_counted(mesh, tmp_path):
    points = sphere(5_000)
    points[:40] += (0, 0, 50)
    cloud = write_las(tmp_path / "a.laz", points, "EPSG:32610", noise=30, withheld=10)
    measured = mesh(cloud, tmp_path / "a.glb", depth=6, outlier_neighbours=0)
    assert (measured.points, measured.dropped_points, measured.used_points) == (5_000, 40, 4_960)
    assert measured.extent_z < 1.1
    all_noise = write_las(tmp_path / "b.laz", points, "EPSG:32610", noise=5_000)
    expect_refusal(InputError, "All 5,000 points of b.laz are noise", lambda: mesh(all_noise, tmp_path / "b.glb"))


@pytest.mark.parametrize("colour", [(200, 100, 50), (200 * 257, 100 * 257, 50 * 257)])
def test_colours_of_a_las_have_8_bits_or_16(mesh, tmp_path, colour):
    cloud = write_las(tmp_path / "a.laz", sphere(3_000), "EPSG:32610", colour=colour)
    mesh(cloud, tmp_path / "a.ply", depth=5)
    assert read_ply(tmp_path / "a.ply").visual.vertex_colors[:, :3] == pytest.approx(
        np.tile([200, 100, 50], (len(read_ply(tmp_path / "a.ply").vertices), 1)), abs=1
    )


def test_a_tile_of_lidar_becomes_a_landscape(mesh, tmp_path):
    measured = mesh(TILE, tmp_path / "a.glb", normals="up", depth=7, voxel=2, trim=0.05, preview=tmp_path / "a.png")
    assert (measured.points, measured.unit, measured.origin) == (110_000, "ft", [636_001.0, 848_935.0, 406.0])
    assert 330 < measured.extent_x < 400  # 1,177 ft are 359 m
    assert (filled(views_of(tmp_path / "a.png")) > 0.05).all()


def test_points_that_are_nowhere_are_left_out_and_counted(o3d, mesh, tmp_path, caplog):
    points = sphere(3_000)
    points[[5, 7]] = np.nan
    points[9, 1] = np.inf
    cloud = write_cloud(o3d, tmp_path / "a.ply", points)
    with caplog.at_level(logging.WARNING):
        measured = mesh(cloud, tmp_path / "a.glb", depth=5, outlier_neighbours=0)
    assert (measured.points, measured.dropped_points, measured.used_points) == (3_000, 3, 2_997)
    assert "a.ply: 3 points are NaN or infinite and left out" in caplog.text


def test_normals_of_the_file_are_taken_where_wanted(o3d, mesh, tmp_path):
    points = sphere(3_000)
    inwards = (1, 2, 3) - points
    cloud = write_cloud(o3d, tmp_path / "a.ply", points, normals=inwards)
    mesh(cloud, tmp_path / "b.ply", depth=5, normals="file", trim=0)
    assert read_ply(tmp_path / "b.ply").volume < -0.4  # inside out, as the file says
    bare = write_cloud(o3d, tmp_path / "c.ply", points)
    words = "c.ply has no normals. Let them be estimated: --normals consistent"
    expect_refusal(InputError, words, lambda: mesh(bare, tmp_path / "d.ply", normals="file"))


def test_a_viewpoint_inside_turns_a_room_inwards(o3d, mesh, tmp_path):
    cloud = write_cloud(o3d, tmp_path / "a.ply", sphere(3_000))
    mesh(cloud, tmp_path / "b.ply", depth=5, normals="viewpoint", viewpoint="1,2,3", trim=0)
    assert read_ply(tmp_path / "b.ply").volume < -0.4
    expect_refusal(
        BadParameterError,
        "viewpoint must be three numbers such as 0,0,1.5, not '1,2'",
        lambda: mesh(cloud, tmp_path / "b.ply", normals="viewpoint", viewpoint="1,2"),
    )


def flat(count=400):
    return np.c_[np.random.default_rng(3).random((count, 2)), np.zeros(count)]


@pytest.mark.parametrize("normals", ["up", "consistent"])
def test_a_flat_cloud_becomes_a_flat_mesh_that_faces_one_way(o3d, mesh, tmp_path, normals):
    cloud = write_cloud(o3d, tmp_path / "a.ply", flat(2_000))
    measured = mesh(cloud, tmp_path / "b.ply", depth=6, normals=normals, trim=0)
    found = read_ply(tmp_path / "b.ply")
    assert np.abs(np.asarray(found.vertices)[:, 2]).max() < 0.01
    steepness = np.asarray(found.vertex_normals)[:, 2]
    # Which side of a plane is outside nobody can tell, but it must be the same everywhere.
    assert (steepness > 0.9).all() or (normals == "consistent" and (steepness < -0.9).all())
    assert measured.mean_distance < 0.001


@pytest.mark.parametrize(
    ("points", "more", "words"),
    [
        (np.full((200, 3), np.nan), {}, "All 200 points of a.ply are NaN or infinite"),
        (np.zeros((0, 3)), {}, "a.ply has no points|a.ply cannot be read"),
        (flat(99), {}, "The cloud has 99 points. At least 100 are needed"),
        (flat(), {"voxel": 0.5}, r"Only [49] of 400 points are left by voxels of 0.5 m; take a smaller --voxel. At le"),
        (np.zeros((400, 3)), {}, "The points of a.ply lie at one place"),
        (np.linspace(0, 2, 400)[:, None] * (1, 0, 0), {}, "The points of a.ply lie on a line, 2 m long"),
        (sphere(400), {"trim": 0.9999}, "Nothing is left of the surface of a.ply. Take a smaller --trim"),
    ],
)
def test_a_cloud_without_a_surface_is_refused(o3d, mesh, tmp_path, points, more, words):
    cloud = write_cloud(o3d, tmp_path / "a.ply", points)
    if not len(points):  # Open3D writes no empty file
        cloud.write_text(
            "ply\nformat ascii 1.0\nelement vertex 0\n"
            "property float x\nproperty float y\nproperty float z\nend_header\n"
        )
    call = {"outlier_neighbours": 0, "depth": 4} | more
    expect_refusal(InputError, words, lambda: mesh(cloud, tmp_path / "a.glb", **call))
    assert not (tmp_path / "a.glb").exists()


def test_a_las_without_points_is_refused(mesh, tmp_path):
    cloud = write_las(tmp_path / "a.las", sphere(500), "EPSG:32610")
    import laspy

    empty = laspy.read(cloud)
    empty.points = empty.points[:0]
    empty.write(cloud)
    expect_refusal(InputError, "a.las has no points", lambda: mesh(cloud, tmp_path / "a.glb"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.ply", b"PK\x03\x04 not a ply", "a.ply is not a PLY file: it does not begin with ply"),
        ("a.pcd", b"nothing", "a.pcd is not a PCD file: it has no VERSION"),
        ("a.pts", b"x y z\n1 2 3\n", "a.pts is not a PTS file: its first line is not the number of points"),
        ("a.las", b"nothing", "a.las is not a LAS or LAZ file"),
    ],
)
def test_a_file_of_another_kind_is_refused_before_it_is_sent(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    task = find_task("3d-generation.mesh")
    values = {"cloud": tmp_path / name, "mesh": tmp_path / "a.glb"}
    expect_refusal(BadFileError, words, lambda: make_request(task, values))


@pytest.mark.parametrize(
    ("name", "words"), [("fragment.pcd", "cannot be read"), ("bunny.pts", "is truncated: it has 15,")]
)
def test_a_file_that_is_cut_is_refused(mesh, tmp_path, name, words):
    whole = (SCANS / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    expect_refusal(InputError, f"{name} {words}", lambda: mesh(tmp_path / name, tmp_path / "a.glb"))


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("name", ["a.ply", "a.pcd"])
def test_made_up_points_of_a_file_that_is_cut_are_not_taken(o3d, mesh, tmp_path, name, is_text):
    """Open3D fills what is missing with whatever is in its memory."""
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(sphere(3_000)))
    o3d.io.write_point_cloud(str(tmp_path / name), cloud, write_ascii=is_text)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    words = f"{name} (cannot be read as a point cloud: it is damaged or cut|is truncated: it has 1,4)"
    expect_refusal(InputError, words, lambda: mesh(tmp_path / name, tmp_path / "a.glb"))

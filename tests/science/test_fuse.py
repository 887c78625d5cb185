"""3d-generation.fuse against Open3D run by hand, and against planes at known distances."""

import json
import logging
import shutil

import numpy as np
import pytest

from hive.catalog import find_task
from hive.client.request import make_request
from hive.errors import BadFileError, InputError
from tests.science.meshes import (
    ROOM,
    expect_refusal,
    filled,
    in_order,
    read_glb,
    read_ply,
    to_srgb,
    views_of,
)

pytestmark = pytest.mark.science
VOXEL = 3 / 512


@pytest.fixture(scope="module")
def fuse(o3d):
    from hive_workers.threed.fuse import fuse

    return fuse


@pytest.fixture(scope="module")
def room(fuse, tmp_path_factory):
    """Ten frames of a real-looking room, fused with all defaults."""
    folder = tmp_path_factory.mktemp("room")
    return fuse(ROOM, folder / "room.glb", ply=folder / "room.ply", preview=folder / "room.png"), folder


def by_hand(o3d, weight):
    """The same frames through Open3D, as its own example writes it."""
    matrix = o3d.core.Tensor([[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]], o3d.core.float64)
    kinds, channels = (o3d.core.float32,) * 3, (1, 1, 3)
    grid = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight", "color"), kinds, channels, VOXEL, 16, 4000, o3d.core.Device("CPU:0")
    )
    poses = np.loadtxt(
        [line for number, line in enumerate((ROOM / "trajectory.log").read_text().splitlines()) if number % 5]
    )
    for number, pose in enumerate(poses.reshape(-1, 4, 4)):
        depth = o3d.t.io.read_image(str(ROOM / "depth" / f"{number:05}.png"))
        colour = o3d.t.io.read_image(str(ROOM / "image" / f"{number:05}.jpg"))
        to_camera = o3d.core.Tensor(np.linalg.inv(pose))
        blocks = grid.compute_unique_block_coordinates(depth, matrix, to_camera, 1000.0, 4.0)
        grid.integrate(blocks, depth, colour, matrix, matrix, to_camera, 1000.0, 4.0)
    return grid.hashmap().size(), grid.extract_triangle_mesh(weight)


def test_it_equals_plain_open3d_on_the_same_frames(o3d, room):
    """To the bit: a voxel's values depend on the order of the frames only."""
    measured, folder = room
    blocks, mesh = by_hand(o3d, 3.0)
    positions, triangles = mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy()
    assert (measured.blocks, measured.vertices, measured.triangles) == (blocks, len(positions), len(triangles))
    assert np.array_equal(in_order(np.asarray(read_ply(folder / "room.ply").vertices, np.float32)), in_order(positions))


def test_measures_are_those_of_the_mesh(room):
    measured, folder = room
    mesh = read_ply(folder / "room.ply")
    assert (measured.frames, measured.used, measured.skipped, measured.cut_share) == (10, 10, {}, 0.0)
    assert (measured.vertices, measured.triangles) == (len(mesh.vertices), len(mesh.faces))
    assert (measured.extent_x, measured.extent_y, measured.extent_z) == pytest.approx(mesh.extents)
    assert 2 < measured.extent_x < 4  # a corner of a living room


def test_the_glb_stands_upright_and_keeps_the_colours(room):
    """The camera looks along z with y downwards; in glTF y is up and what it looks at lies along -z."""
    measured, folder = room
    ply = read_ply(folder / "room.ply")
    positions, triangles, colours = read_glb(folder / "room.glb")
    assert measured.up == "-y"
    assert np.allclose(positions, np.asarray(ply.vertices) * (1, -1, -1))
    assert np.array_equal(triangles, ply.faces)
    # Colours of a PLY are rounded to 1/255; 16 linear bits are finer than that but for the darkest.
    assert np.abs(to_srgb(colours) - ply.visual.vertex_colors[:, :3]).max() < 0.6
    assert ply.visual.vertex_colors[:, :3].std(axis=0).min() > 20


def test_open3d_reads_both_files_too(o3d, room):
    measured, folder = room
    for name in ("room.glb", "room.ply"):
        mesh = o3d.io.read_triangle_mesh(str(folder / name))
        assert len(mesh.triangles) == measured.triangles
        assert mesh.has_vertex_colors()
        assert mesh.has_vertex_normals()


def test_the_preview_shows_the_room_from_six_sides(room):
    views = views_of(room[1] / "room.png")
    assert views.shape[0] == 6
    assert (filled(views) > 0.1).all()  # from no side is there only paper
    assert (filled(views) < 0.9).all()
    assert views[0].std(axis=(0, 1)).min() > 25  # floor, wall, chair: not one colour
    assert np.abs(views[0] - views[3]).mean() > 10


def test_nothing_but_the_named_files_is_left(room):
    assert sorted(path.name for path in room[1].iterdir()) == ["room.glb", "room.ply", "room.png"]


def make_scan(o3d, folder, depths, poses, size=(64, 48), colour=(200, 100, 50)):
    """A scan of depth images [units], all of one colour; the camera has a focal length of 60 pixels."""
    width, height = size
    for name in ("depth", "image"):
        (folder / name).mkdir(parents=True)
    lines = []
    for number, (depth, pose) in enumerate(zip(depths, poses, strict=True)):
        image = np.full((height, width), depth, np.uint16) if np.isscalar(depth) else depth.astype(np.uint16)
        o3d.io.write_image(str(folder / "depth" / f"{number}.png"), o3d.geometry.Image(image))
        plain = np.full((height, width, 3), colour, np.uint8)
        o3d.io.write_image(str(folder / "image" / f"{number}.png"), o3d.geometry.Image(plain))
        lines += [f"{number} {number} {number + 1}", *(" ".join(map(str, row)) for row in pose)]
    (folder / "trajectory.log").write_text("\n".join(lines) + "\n")
    matrix = [60, 0, 0, 0, 60, 0, width / 2 - 0.5, height / 2 - 0.5, 1]
    (folder / "intrinsic.json").write_text(json.dumps({"width": width, "height": height, "intrinsic_matrix": matrix}))
    return folder


def shifted(x=0.0, y=0.0, z=0.0):
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def test_a_wall_is_found_where_it_is(o3d, fuse, tmp_path):
    """2 m ahead of a camera at z = 1 m, 64 pixels at 60 pixels focal length wide."""
    scan = make_scan(o3d, tmp_path / "scan", [2000] * 5, [shifted(z=1.0)] * 5)
    measured = fuse(scan, tmp_path / "a.glb", ply=tmp_path / "a.ply", voxel=0.02)
    wall = read_ply(tmp_path / "a.ply")
    assert np.asarray(wall.vertices)[:, 2] == pytest.approx(3.0, abs=1e-5)  # float32 at 3 m
    assert measured.extent_x == pytest.approx(
        2.0 * 64 / 60, abs=0.06
    )  # between pixel centres, and a voxel at each edge
    assert measured.extent_z < 1e-5
    assert (wall.visual.vertex_colors[:, :3] == (200, 100, 50)).all()
    assert (np.asarray(wall.vertex_normals)[:, 2] < -0.99).all()  # towards the camera


def test_poses_turn_the_world_and_not_the_camera(o3d, fuse, tmp_path):
    """A camera that looks along +x sees its wall at x = 2 m."""
    along_x = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    scan = make_scan(o3d, tmp_path / "scan", [2000] * 5, [along_x] * 5)
    fuse(scan, tmp_path / "a.ply", voxel=0.02)
    assert np.asarray(read_ply(tmp_path / "a.ply").vertices)[:, 0] == pytest.approx(2.0, abs=1e-5)


def test_noise_is_averaged_over_frames(o3d, fuse, tmp_path):
    noise = np.random.default_rng(7)
    depths = [np.round(2000 + noise.normal(0, 10, (48, 64))) for _ in range(40)]
    fuse(make_scan(o3d, tmp_path / "scan", depths, [np.eye(4)] * 40), tmp_path / "a.ply", voxel=0.02)
    off = np.asarray(read_ply(tmp_path / "a.ply").vertices)[:, 2] - 2.0
    assert abs(off.mean()) < 0.001
    assert off.std() < 0.010 / 3  # 10 mm in each frame; 40 frames give 10 / sqrt(40) = 1.6 mm


def test_frames_that_cannot_be_used_are_left_out_and_counted(o3d, fuse, tmp_path, caplog):
    lost = np.full((4, 4), np.nan)
    poses = [np.eye(4), lost, np.eye(4), np.eye(4), np.eye(4), np.eye(4)]
    scan = make_scan(o3d, tmp_path / "scan", [2000, 2000, 0, 9000, 2000, 2000], poses)
    with caplog.at_level(logging.INFO):
        measured = fuse(scan, tmp_path / "a.glb", voxel=0.02, weight=2)
    assert (measured.frames, measured.used) == (6, 3)
    assert measured.skipped == {"its pose is lost": 1, "no depth nearer than 4 m": 2}
    assert measured.cut_share == pytest.approx(1 / 5)  # one of the five images that have depths
    assert "frame 1.png is left out: its pose is lost" in caplog.text


@pytest.mark.parametrize(("weight", "is_there"), [(2, True), (3, False)])
def test_a_voxel_must_be_seen_by_more_frames_than_the_weight(o3d, fuse, tmp_path, weight, is_there):
    scan = make_scan(o3d, tmp_path / "scan", [2000] * 3, [np.eye(4)] * 3)
    if is_there:
        assert fuse(scan, tmp_path / "a.glb", voxel=0.02, weight=weight).triangles > 1000
    else:
        words = "no voxel of 0.02 m was seen by more than 3 of 3 frames. Try a smaller --weight"
        expect_refusal(InputError, words, lambda: fuse(scan, tmp_path / "a.glb", voxel=0.02, weight=weight))


def test_images_are_taken_in_the_order_of_their_numbers(o3d, fuse, tmp_path):
    """2.png comes before 10.png, so that each has its own pose: here each camera is as far back as its wall away."""
    depths = [1500 + 20 * number for number in range(12)]
    scan = make_scan(o3d, tmp_path / "scan", depths, [shifted(z=3 - depth / 1000) for depth in depths])
    fuse(scan, tmp_path / "a.ply", voxel=0.02)
    assert np.asarray(read_ply(tmp_path / "a.ply").vertices)[:, 2] == pytest.approx(3.0, abs=1e-3)


def test_depths_in_other_units_give_the_same_wall(o3d, fuse, tmp_path):
    scan = make_scan(o3d, tmp_path / "scan", [10000] * 5, [np.eye(4)] * 5)
    fuse(scan, tmp_path / "a.ply", voxel=0.02, depth_scale=5000)
    assert np.asarray(read_ply(tmp_path / "a.ply").vertices)[:, 2] == pytest.approx(2.0, abs=1e-5)


def test_the_up_axis_can_be_said(o3d, fuse, tmp_path):
    scan = make_scan(o3d, tmp_path / "scan", [2000] * 5, [np.eye(4)] * 5)
    assert fuse(scan, tmp_path / "a.glb", voxel=0.02, up="z").up == "z"
    positions, _, _ = read_glb(tmp_path / "a.glb")
    assert positions[:, 1] == pytest.approx(2.0, abs=1e-5)  # z of the scan is y of glTF


@pytest.mark.parametrize(
    ("units", "words"),
    [
        (
            2_000,
            "100.0% of the depths are beyond 4 m: their median is 2,000 m at 1 units .* --depth-scale 1000 it would",
        ),
        (20_000, "their median is 20,000 m at 1 units per metre. With --depth-scale 10000 it would be 2 m"),
        (60_000, "their median is 60,000 m at 1 units per metre. Give the camera's --depth-scale, or another"),
    ],
)
def test_a_scale_that_puts_all_depths_out_of_reach_is_refused(o3d, fuse, tmp_path, units, words):
    scan = make_scan(o3d, tmp_path / "scan", [units] * 4, [np.eye(4)] * 4)
    expect_refusal(InputError, words, lambda: fuse(scan, tmp_path / "a.glb", voxel=0.02, depth_scale=1))


def test_a_scale_that_makes_the_scene_tiny_is_refused(o3d, fuse, tmp_path):
    scan = make_scan(o3d, tmp_path / "scan", [2000] * 4, [np.eye(4)] * 4)
    words = "median depth is 0.02 m at 100000 units per metre, less than 8 voxels of 0.02 m. With --depth-scale 1000"
    expect_refusal(InputError, words, lambda: fuse(scan, tmp_path / "a.glb", voxel=0.02, depth_scale=100_000))


def test_depths_that_are_all_zero_are_refused(o3d, fuse, tmp_path):
    scan = make_scan(o3d, tmp_path / "scan", [0] * 4, [np.eye(4)] * 4)
    expect_refusal(InputError, "None of the 4 depth images has a depth", lambda: fuse(scan, tmp_path / "a.glb"))


def test_voxels_that_need_more_memory_than_there_is_are_refused_beforehand(fuse, tmp_path, monkeypatch):
    from hive_workers.threed.fuse import volume

    monkeypatch.setattr(volume, "available_bytes", lambda: 100_000_000)
    words = r"Voxels of 0.00585938 m need 1,679 blocks, 0.399 GB of memory; this worker has 0.1 GB. About --voxel 0.012"
    expect_refusal(InputError, words, lambda: fuse(ROOM, tmp_path / "a.glb"))
    assert list(tmp_path.iterdir()) == []


def test_more_voxels_than_open3d_can_count_are_refused(fuse, monkeypatch):
    """33,517 blocks of 16^3 voxels end Open3D 0.20.0 by SIGSEGV, on whatever machine; 28,470 do not."""
    from hive_workers.threed.fuse import volume

    monkeypatch.setattr(volume, "available_bytes", lambda: 10**15)
    volume.refuse_too_large(28_470, 16, 0.0014)
    words = r"need 33,517 blocks of 16\^3 voxels, 137,285,632 voxels; Open3D takes 134,217,728. About --voxel 0.0013"
    expect_refusal(InputError, words, lambda: volume.refuse_too_large(33_517, 16, 0.0013))


@pytest.fixture
def copy(tmp_path):
    """A copy of the room that a test may damage."""
    return shutil.copytree(ROOM, tmp_path / "room")


def drop(name):
    return lambda scan: (scan / name).unlink()


def drop_folder(name):
    return lambda scan: shutil.rmtree(scan / name)


def write(name, content):
    return lambda scan: (scan / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(name):
    return lambda scan: (scan / name).write_bytes((scan / name).read_bytes()[:20_000])


def swap(source, place):
    return lambda scan: shutil.copy(scan / source, scan / place)


def edit(name, old, new):
    return lambda scan: (scan / name).write_text((scan / name).read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            drop("depth/00003.png"),
            "room has 9 depth images, 10 colour images and 10 poses; each frame needs one of each",
        ),
        (drop("image/00003.jpg"), "room has 10 depth images, 9 colour images and 10 poses"),
        (edit("trajectory.log", "0 0 1\n", ""), "trajectory.log has 49 lines; five for each frame are wanted"),
        (write("trajectory.log", ""), "trajectory.log has 0 lines"),
        (write("trajectory.log", b"\xff\xfe\x00"), "trajectory.log is no text"),
        (drop("trajectory.log"), "room has no trajectory.log with the poses of the camera"),
        (drop_folder("depth"), "room has no depth with the depth images"),
        (drop_folder("image"), "room has no image or color or rgb with the colour images"),
    ],
)
def test_a_folder_that_is_no_scan_is_refused_before_it_is_sent(fuse, copy, tmp_path, damage, words):
    damage(copy)
    task = find_task("3d-generation.fuse")
    expect_refusal(BadFileError, words, lambda: make_request(task, {"scan": copy, "mesh": tmp_path / "a.glb"}))
    expect_refusal(BadFileError, words, lambda: fuse(copy, tmp_path / "a.glb"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (write("depth/00003.png", b"\x89PNG no more"), "00003.png cannot be read as an image"),
        (write("image/00003.jpg", b"nothing"), "00003.jpg cannot be read as an image"),
        (cut("depth/00003.png"), "00003.png cannot be read as an image: it is damaged or cut"),
        (cut("image/00003.jpg"), "00003.jpg cannot be read as an image: it is damaged or cut"),
        (swap("image/00003.jpg", "depth/00003.png"), "00003.png is no depth image: it has 3 channels of 8 bits"),
        (swap("depth/00003.png", "image/00003.jpg"), "00003.jpg is no colour image: it has 1 channels of 16 bits"),
        (edit("intrinsic.json", "640", "320"), "00000.png has 640 x 480 pixels, the camera 320 x 480"),
        (edit("intrinsic.json", "480", "600"), "00000.png has 640 x 480 pixels, the camera 640 x 600. Name"),
        (edit("intrinsic.json", "525.0", "-525.0"), "its focal lengths are -525 and -525 pixels"),
        (edit("intrinsic.json", "width", "breadth"), "is no camera: width, height and an intrinsic_matrix"),
        (write("intrinsic.json", "{"), "intrinsic.json is no camera"),
        (write("intrinsic.json", "[1, 2]"), "intrinsic.json is no camera"),
        (edit("trajectory.log", "0.99999139", "0.9x"), "Pose 1 of trajectory.log is no matrix"),
        (edit("trajectory.log", " 0.00118646", ""), "Pose 1 of trajectory.log is no matrix of four rows and columns"),
        (edit("trajectory.log", "0.99999139", "1.99999139"), "Pose 1 of trajectory.log is no rigid motion"),
        (edit("trajectory.log", "1.00000000 -0.0", "-1.00000000 -0.0"), "Pose 0 of trajectory.log mirrors"),
    ],
)  # fmt: skip
def test_a_scan_that_is_wrong_inside_is_refused(fuse, copy, tmp_path, damage, words):
    damage(copy)
    expect_refusal(InputError, words, lambda: fuse(copy, tmp_path / "a.glb"))
    assert not (tmp_path / "a.glb").exists()


def test_a_scan_without_camera_asks_for_one(fuse, copy, tmp_path):
    (copy / "intrinsic.json").rename(tmp_path / "mine.json")
    words = "room has no intrinsic.json or .* with the focal lengths of the camera. .* --intrinsics FILE"
    expect_refusal(BadFileError, words, lambda: fuse(copy, tmp_path / "a.glb"))
    assert fuse(copy, tmp_path / "a.glb", intrinsics=tmp_path / "mine.json", voxel=0.03).used == 10

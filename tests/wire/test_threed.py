"""Fusing and meshing for real: a real redis-server, a real Celery worker, a real scan."""

import shutil

import pytest

from tests.support import DATA, Hive, missing

pytestmark = pytest.mark.wire
SCANS = DATA / "3d"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A Hive with Redis and one worker for 3d-generation; shared, so leave it as it was."""
    try:
        import open3d  # noqa: F401  looked for, not used
    except (ImportError, OSError) as error:
        missing(f"open3d ({error})")
    hive = Hive(tmp_path_factory.mktemp("studio"), HIVE_PRELOAD="1")
    with hive.up(), hive.worker("3d-generation", slots=1):
        yield hive


def test_a_folder_of_frames_comes_back_as_mesh_and_picture(studio, tmp_path):
    job = studio.json(
        "submit", "3d-generation", "fuse", SCANS / "livingroom1", tmp_path / "room.glb",
        "--ply", tmp_path / "room.ply", "--voxel", "2cm",
    )  # fmt: skip
    assert (job["state"], job["capability"], job["task"]) == ("succeeded", "3d-generation", "3d-generation.fuse")
    assert (job["measures"]["used"], job["measures"]["skipped"]) == (10, {})
    assert job["progress"]["unit"] == "frames"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["room.glb", "room.ply", "room.png"]
    assert (tmp_path / "room.glb").read_bytes()[:4] == b"glTF"


def test_a_cloud_is_meshed_and_what_is_not_named_lies_beside_it(studio, tmp_path):
    shutil.copy(SCANS / "bunny.pts", tmp_path)
    ended = studio.run("submit", "3d-generation", "mesh", "bunny.pts", "--up", "y", "--depth", "6", cwd=tmp_path)
    assert "points          30,571" in ended.stdout + ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bunny.pts", "bunny_mesh.glb", "bunny_mesh.png"]


def test_the_child_of_the_pool_draws_one_picture_after_another(studio, tmp_path):
    """Drawing must not leave a child that cannot draw again, as OpenGL may after a fork."""
    for number in range(3):
        studio.json("submit", "3d-generation", "mesh", SCANS / "bunny.pts", tmp_path / f"{number}.glb", "--depth", "5")
    first, *others = ((tmp_path / f"{number}.png").read_bytes() for number in range(3))
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fuse room", "room has 9 depth images, 10 colour images and 10 poses; each frame needs one of each."),
        ("fuse bunny.pts", "bunny.pts is a file; expected a scan."),
        ("fuse empty", "empty is empty; expected a folder with files."),
        ("fuse room a.obj", "mesh must be a mesh whose name ends in .glb or .ply, not 'a.obj'."),
        ("fuse room --voxel 0", "voxel must be more than 0 m, not 0 m."),
        ("fuse room --up w", "up must be one of x, y, z, -x, -y, -z, not 'w'."),
        ("mesh bunny.obj", "cloud must be a point cloud whose name ends in .ply or .pcd"),
        ("mesh bunny.pts --depth 20", "depth must be at most 13, not 20."),
        ("mesh bunny.pts --trim 1", "trim must be less than 1, not 1."),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(studio, tmp_path, words, says):
    shutil.copytree(SCANS / "livingroom1", tmp_path / "room")
    (tmp_path / "room" / "depth" / "00003.png").unlink()
    (tmp_path / "empty").mkdir()
    shutil.copy(SCANS / "bunny.pts", tmp_path)
    jobs = studio.redis.zcard("hive:jobs")
    ended = studio.run("submit", "3d-generation", *words.split(), code=2, cwd=tmp_path)
    assert ended.stderr.startswith("hive: ")
    assert says in ended.stderr
    assert (ended.stderr.count("\n"), studio.redis.zcard("hive:jobs")) == (1, jobs)


def test_what_only_the_worker_can_see_fails_with_its_reason(studio, tmp_path):
    room = SCANS / "livingroom1"
    ended = studio.run("submit", "3d-generation", "fuse", room, tmp_path / "a.glb", "--depth-scale", "1", code=1)
    assert "their median is 1,845 m at 1 units per metre. With --depth-scale 1000 it would be 1.845 m." in ended.stderr
    assert studio.json("jobs", "--limit", "1")[0]["error"]["kind"] == "bad-input"
    assert list(tmp_path.iterdir()) == []

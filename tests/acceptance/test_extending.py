"""A new task is one new file; a capability of somebody else is one package with an entry point."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import TILE, Hive

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]


@pytest.fixture
def with_path(tmp_path):
    """A Hive whose commands and workers find packages in a folder of their own first."""
    folder = tmp_path / "packages"
    folder.mkdir()
    hive = Hive(tmp_path / "home", PYTHONPATH=str(folder))
    with hive.up():
        yield hive, folder


def test_a_new_task_is_one_new_file_and_nothing_else(with_path, tmp_path):
    hive, folder = with_path
    shutil.copytree(ROOT / "workers" / "hive_workers", folder / "hive_workers")
    (folder / "hive_workers" / "gis" / "count.py").write_text(
        textwrap.dedent('''
            """Counting points."""

            from dataclasses import dataclass

            from hive.task import PointCloud
            from hive_workers.gis import gis


            @dataclass(frozen=True)
            class Count:
                points: int


            @gis.task
            def count(cloud: PointCloud) -> Count:
                """Count the points of a tile."""
                import laspy

                with laspy.open(cloud) as file:
                    return Count(file.header.point_count)
        ''')
    )
    assert re.search(r"count +Count the points of a tile\.", hive.run("submit", "gis", "--help").stdout)
    assert hive.json("describe", "gis.count")["parameters"]["required"] == ["cloud"]
    with hive.worker("gis"):
        assert hive.json("submit", "gis", "count", TILE)["measures"] == {"points": 110_000}


def install_rocks(folder, tmp_path):
    package = shutil.copytree(ROOT / "tests" / "packages" / "hive-rocks", tmp_path / "hive-rocks")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", folder]
    subprocess.run([*pip, package], check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def test_a_capability_of_another_package_works_like_hives_own(with_path, tmp_path):
    hive, folder = with_path
    install_rocks(folder, tmp_path)
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("3\n")
    assert re.search(r"rocks +Weigh rocks\.", hive.run("submit", "--help").stdout)
    with hive.worker("rocks"):
        job = hive.json("submit", "rocks", "weigh", "a.txt", "b.txt", "out.txt", "--density", "2000", cwd=tmp_path)
    assert job["measures"] == {"rocks": 3, "total_kg": 12000.0}
    assert [Path(one).name for one in job["inputs"]["tables"]] == ["a.txt", "b.txt"]
    assert (tmp_path / "out.txt").read_text() == "12000.0 kg\n"


def test_folders_and_many_small_files_travel_there_and_back(with_path, tmp_path):
    hive, folder = with_path
    install_rocks(folder, tmp_path)
    (tmp_path / "box" / "deep").mkdir(parents=True)
    for name in ("agate", "deep/basalt", "deep/amber", "skipped.tmp"):
        (tmp_path / "box" / name).write_text(name)
    (tmp_path / "box" / ".hiveignore").write_text("*.tmp\n.hiveignore\n")
    notes = [tmp_path / f"{number}.txt" for number in range(40)]
    for number, note in enumerate(notes):
        note.write_text(str(number))
    with hive.worker("rocks"):
        job = hive.json("submit", "rocks", "sort", "box", *notes, "-o", "drawers", cwd=tmp_path)
        assert job["measures"]["names"] == ["agate", "deep/amber", "deep/basalt"]
        assert job["measures"]["notes"] == [str(number) for number in range(40)]
        assert job["inputs"]["collection"].endswith("/box/")
        assert job["inputs"]["notes"].endswith("/notes/")  # one reference for all of them
        assert (tmp_path / "drawers" / "b" / "basalt").read_text() == "deep/basalt"
        (tmp_path / "drawers" / "a" / "amber").write_text("mine, and newer")
        (tmp_path / "drawers" / "own").write_text("stays")
        refused = hive.run("fetch", job["id"], code=2, cwd=tmp_path).stderr
        assert "drawers/a/amber is newer than the job" in refused
        hive.run("fetch", job["id"], "--force", cwd=tmp_path)
    assert (tmp_path / "drawers" / "a" / "amber").read_text() == "deep/amber"
    assert (tmp_path / "drawers" / "own").read_text() == "stays"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_package_that_cannot_be_imported_is_named(with_path):
    hive, folder = with_path
    information = folder / "broken-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[hive.capabilities]\nbroken = not_there\n")
    said = hive.run("submit", "--help", code=1).stderr
    assert "The capability of broken (not_there) cannot be imported" in said
    hive.run("submit", "gis", "dtm", "--help")  # Hive's own tasks do not suffer

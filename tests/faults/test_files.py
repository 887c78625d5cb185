"""Files that are damaged on their way, and disks that are full: the job fails with that reason, and nothing is used."""

import os
import shutil
import subprocess

import pytest

from tests.support import TILE, missing

pytestmark = pytest.mark.wire


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB."""
    if os.geteuid() != 0:
        missing("root, to mount a small disk,")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["/usr/bin/env", "mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["/usr/bin/env", "umount", "-l", disk], check=True)


def submit_tile(hive, tmp_path):
    tile = shutil.copy(TILE, tmp_path / "tile.laz")
    return hive.submit("gis", "dtm", tile, tmp_path / "out.tif")


def test_a_full_disk_on_the_worker_fails_the_job_with_that_reason(hive_up, tmp_path, small_disk):
    with hive_up.worker("gis", HIVE_CACHE=str(small_disk)):
        reading = hive_up.wait(submit_tile(hive_up, tmp_path), code=1)
        writing = hive_up.wait(hive_up.submit("test", tmp_path / "out.bin", "--output-bytes", "1MB"), code=1)
        assert hive_up.json("submit", "test")["state"] == "succeeded"  # the worker itself is well
    assert "tile.laz needs 0.6 MiB on this worker" in reading["error"]["message"]
    assert "No space left on device" in writing["error"]["message"]
    assert (reading["attempts"], writing["attempts"]) == (1, 1)
    assert not (tmp_path / "out.tif").exists()


def test_a_full_disk_under_the_store_refuses_the_submission(hive_up, tmp_path, small_disk):
    environment = {"HIVE_STORE": (small_disk / "store").as_uri()}
    tile = shutil.copy(TILE, tmp_path / "tile.laz")
    said = hive_up.run("submit", "gis", "dtm", tile, tmp_path / "out.tif", code=1, environment=environment).stderr
    assert "No space left on device" in said
    assert hive_up.json("jobs") == []
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_file_that_is_damaged_in_the_store_is_never_used(hive_up, tmp_path, damage):
    job_id = submit_tile(hive_up, tmp_path)
    [blob] = [path for path in (hive_up.home / "store").rglob("*") if path.is_file()]
    whole = blob.read_bytes()
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"x" + whole[1:])
    with hive_up.worker("gis"):
        job = hive_up.wait(job_id, code=1)
        assert job["error"]["kind"] == "staging"
        assert ("is not in the store" if damage == "gone" else "its digest was wrong") in job["error"]["message"]
        assert [path for path in (hive_up.home / "cache" / "sha256").rglob("*") if path.is_file()] == []

"""A worker on another machine, with a broker's address and a token: its files travel through the gateway, each once."""

import os
import time

import laspy
import pytest

from hive.staging import digest_of
from tests.faults.harness import Field, Host, Proxy, far_environment
from tests.support import TILE, wait_until

_PART = 16 << 20


@pytest.fixture
def size(full):
    """Size of what travels [bytes]."""
    return 10**9 if full else 60 * 10**6


@pytest.fixture
def far(tmp_path):
    """A Hive with a gateway; its lease is longer than the cuts of these tests."""
    field = Field(tmp_path, 15)
    with field.hive.up(gateway=True):
        yield field


def large_tile(path, size):
    """A real tile, uncompressed, with random bytes behind its points that LAS allows and nobody reads."""
    laspy.read(TILE).write(path)
    with path.open("ab") as file:
        left = size - path.stat().st_size
        while left > 0:
            file.write(os.urandom(min(left, 1 << 20)))
            left -= 1 << 20
    return path


def test_the_main_job_runs_on_a_far_machine_and_its_input_travels_once(far, size, tmp_path, note):
    tile = large_tile(tmp_path / "large.las", size)
    here = Proxy("127.0.0.1", far.hive.gateway_port)
    with Host(30) as host, Proxy(host.outside, far.hive.gateway_port) as there, here:
        elsewhere = far_environment(far.hive, here)
        with host.worker(far, "far", gateway=there):
            for cell in (2, 3):
                raster = tmp_path / f"dtm{cell}.tif"
                job = far.hive.json(
                    "submit", "gis", "dtm", tile, raster, "--cell", cell, environment=elsewhere, timeout_s=300
                )
                assert job["measures"]["points"] == 110_000
                assert job["outputs"]["raster"] == f"sha256:{digest_of(raster)}/{raster.name}"
        assert size <= here.up_bytes < size + 2_000_000  # the laptop sent it once
        assert size <= there.down_bytes < size + 2_000_000  # and the worker fetched it once
    far.ids = [one["id"] for one in far.hive.json("jobs")]
    assert note(far.row("a far worker, 2 jobs with one large input", far.wait_for_all(10))).lost == 0


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_cut_in_the_middle_of_a_transfer_costs_one_part_at_most(far, size, tmp_path, note, way):
    tile = large_tile(tmp_path / "large.las", size)
    with Host(31) as host, Proxy(host.outside, far.hive.gateway_port) as there, host.worker(far, "far", gateway=there):
        if way == "in":
            words = ["gis", "dtm", str(tile), str(tmp_path / "dtm.tif"), "--cell", "2"]
        else:
            words = ["test", str(tmp_path / "out.bin"), "--output-bytes", str(size), "--queue", "gis"]
        job_id = far.hive.submit(*words)
        far.ids.append(job_id)
        wait_until(lambda: moved(there, way) > size / 3, "a third of it has come", 120)
        host.pull_cable()
        cut = time.monotonic()
        wait_until(lambda: time.monotonic() - cut > 4, "the cut lasts for 4 s")
        there.cut()
        host.mend_cable()
        jobs = far.wait_for_all(300)
        far.hive.run("fetch", job_id, timeout_s=120)
    assert (jobs[0].state, jobs[0].attempts) == ("succeeded", 1)
    assert moved(there, way) < size + _PART + 2_000_000
    row = note(far.row(f"network cut for 4 s in the middle of a transfer ({way})", jobs))
    assert row.lost == 0


def moved(proxy, way):
    return proxy.down_bytes if way == "in" else proxy.up_bytes

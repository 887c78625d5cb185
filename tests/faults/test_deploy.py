"""Deployments as they are on machines that have nothing of Hive's: pip makes an environment, Docker builds an image."""

import json
import os

import pytest

from tests.containers.engine import BASE, HERE, find_engine
from tests.studio import hive_with, machine
from tests.support import TILE

# podman in Docker's clothes, with what it needs where there is no network of its own and no image to pull.
PODMAN = f"""\
#!/bin/sh
export CONTAINERS_CONF={HERE}/containers.conf
case $1 in
    build)
        shift
        exec podman build --isolation=chroot --network=host --build-arg BASE={BASE} --build-arg MICROMAMBA={BASE} "$@"
        ;;
    version) exec podman version ;;
    *) exec podman "$@" ;;
esac
"""


@pytest.fixture
def studio(full, tmp_path):
    if not full:
        pytest.skip("downloads half a gigabyte; make faults does it")
    with machine(tmp_path) as made:
        yield made


def do_the_main_job_and_leave(studio, tmp_path, *words):
    """Deploy, grid a tile there, and take everything away."""
    hive = hive_with(studio, tmp_path / "mac")
    with hive.up(gateway=True):
        said = hive.run("deploy", "ssh", "studio", *words, "--json", timeout_s=1200)
        assert json.loads(said.stdout)["workers"][0]["name"] == "gis@studio"
        job = hive.json("submit", "gis", "dtm", TILE, tmp_path / "dtm.tif", "--cell", "2", timeout_s=120)
        assert job["worker"] == "gis@studio"
        assert hive.json("deploy", "ssh", "studio", timeout_s=120)["is_changed"] is False
        hive.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
        left = {one.name for one in studio.home.iterdir()}
        assert left <= {".rustup"}  # pip asks rustc for its version, and where that is rustup's it makes a folder


def test_a_machine_with_nothing_but_python_gets_all_that_it_needs(studio, tmp_path):
    do_the_main_job_and_leave(studio, tmp_path)


def test_a_machine_with_docker_builds_an_image_and_runs_it(studio, tmp_path):
    engine = find_engine()
    if engine.program == "podman":
        (tmp_path / "docker").write_text(PODMAN)
        (tmp_path / "docker").chmod(0o755)
        studio.stop()
        studio.start(path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    do_the_main_job_and_leave(studio, tmp_path, "--runtime", "docker")

"""A deployment as it is on a machine that has nothing of Hive's: a real virtual environment, made there by pip."""

import json

import pytest

from tests.studio import hive_with, machine
from tests.support import TILE


def test_a_machine_with_nothing_but_python_gets_all_that_it_needs(full, tmp_path):
    if not full:
        pytest.skip("downloads half a gigabyte; make faults does it")
    with machine(tmp_path) as studio:
        hive = hive_with(studio, tmp_path / "mac")
        with hive.up(gateway=True):
            said = hive.run("deploy", "ssh", "studio", "--capabilities", "gis=1", "--json", timeout_s=1200)
            assert json.loads(said.stdout)["workers"][0]["name"] == "gis@studio"
            job = hive.json("submit", "gis", "dtm", TILE, tmp_path / "dtm.tif", "--cell", "2", timeout_s=120)
            assert job["worker"] == "gis@studio"
            hive.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
            left = {one.name for one in studio.home.iterdir()}
            assert left <= {".rustup"}  # pip asks rustc for its version, and where that is rustup's it makes a folder

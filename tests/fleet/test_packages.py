"""A provider of another package: installed with pip, and used like Hive's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.clouds import RentedMachines, open_hive

pytestmark = pytest.mark.wire
SHED = Path(__file__).parents[1] / "packages" / "hive-shed"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("packages")
    source = shutil.copytree(SHED, folder.with_name("hive-shed"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", folder]
    subprocess.run([*pip, source], check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return folder


@pytest.fixture(scope="module")
def renter(tmp_path_factory, packages):
    folder = tmp_path_factory.mktemp("renter")
    (folder / "shed").mkdir()
    with open_hive(
        folder,
        PYTHONPATH=os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH", "")])),
        SHED=str(folder / "shed"),
        HIVE_FLEET_PACKAGE_URL="https://example.org/hive-1.tar.gz",
        HIVE_FLEET_CAPABILITIES="test=1",
        HIVE_FLEET_GC_PAUSE_S="0.5",
    ) as hive:
        yield hive


def test_a_provider_of_another_package_rents_lists_and_ends_machines(renter, tmp_path):
    shed = Path(renter.environment["SHED"])
    with RentedMachines(renter, tmp_path):
        started = renter.run("fleet", "up", "shed", "--size", "small", "--rack", "7", "--yes", "--json")
        assert "1 x small in all (2 vCPU, 4 GiB): $0.01 an hour each; at most $0.02 for 2 h" in started.stderr
        [machine] = json.loads(started.stdout)
        [file] = shed.iterdir()
        assert (file.name, json.loads(file.read_text())["rack"]) == (machine["id"], "7")
        [row] = renter.json("fleet", "ls")
        assert (row["provider"], row["region"], row["state"]) == ("shed", "garden", "idle")
        renter.run("fleet", "down", "--all")
    assert list(shed.iterdir()) == []
    gone = renter.run("fleet", "ls", "--all", "--json", environment={"PYTHONPATH": ""})  # the package is uninstalled
    assert "There is no provider 'shed'. Known are: aws, digitalocean." in gone.stderr
    assert [row["state"] for row in json.loads(gone.stdout)] == ["ended"]


def test_its_options_and_prices_are_its_own(renter):
    text = renter.run("fleet", "up", "shed", "--help").stdout
    assert "--rack NUMBER" in text
    assert "--spot" not in text
    assert "shed" in renter.run("fleet", "up", "--help").stdout
    assert "shed: 2 offers, 1 of them without a price" in renter.run("cost", "refresh", "shed").stderr
    estimate = ("cost", "estimate", "--type", "small", "--hours", "3", "--provider", "shed")
    assert renter.json(*estimate)["usd"] == pytest.approx(0.03)
    assert (
        "The shed has no size 'huge'" in renter.run("fleet", "up", "shed", "--size", "huge", "--dry-run", code=2).stderr
    )
    assert "Known are: aws, digitalocean, shed." in renter.run("fleet", "gc", "--provider", "gcp", code=2).stderr


def test_a_provider_that_cannot_be_imported_leaves_hives_own_alone(renter, packages):
    file = packages / "hive_shed" / "__init__.py"
    text = file.read_text()
    file.write_text("import nosuch\n")
    try:
        refused = renter.run("fleet", "up", "shed", "--size", "small", code=2).stderr
        assert "The provider of hive-shed (hive_shed) cannot be imported: No module named 'nosuch'" in refused
        assert "Amazon EC2" in renter.run("fleet", "up", "aws", "--help").stdout
    finally:
        file.write_text(text)

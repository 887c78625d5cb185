"""Every example runs as it is, on a real Hive."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import BIN, DATA, TILE, Hive, missing, require_program

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A Hive with a gateway and a worker for gis."""
    pytest.importorskip("laspy")
    hive = Hive(tmp_path_factory.mktemp("examples") / "home", HIVE_LEASE_S="3")
    with hive.up(gateway=True), hive.worker("gis"):
        yield hive


def run(hive: Hive, *command: str | Path, **environment: str) -> str:
    ended = subprocess.run(
        list(map(str, command)),
        env=hive.environment | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def tiles(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(TILE, folder / name)
    return folder


def test_every_example_is_listed_and_tested():
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    page, tests = (EXAMPLES / "README.md").read_text(), Path(__file__).read_text()
    assert {name for name in folders if f"[{name}]" not in page or f'"{name}"' not in tests} == set()


def test_a_survey_is_mapped_and_not_mapped_again(field, tmp_path):
    folder = tiles(tmp_path / "tiles", "a.laz", "b.laz")
    printed = run(field, EXAMPLES / "map-a-survey" / "run.sh", folder, tmp_path / "models")
    assert len(list((tmp_path / "models").glob("*.tif"))) == 2
    assert len(field.json("jobs")) == len({job["id"] for job in field.json("jobs")})
    assert "again" in printed


def test_a_job_with_nothing_but_curl(field, tmp_path):
    require_program("curl")
    out = tmp_path / "dtm.tif"
    run(field, EXAMPLES / "http-only" / "run.sh", TILE, out, GATEWAY=f"http://127.0.0.1:{field.gateway_port}")
    assert out.read_bytes()[:4] in (b"II*\0", b"II+\0")


def test_the_notebook_runs_from_top_to_bottom(field, tmp_path):
    tiles(tmp_path / "tiles", "a.laz", "b.laz")
    cells = json.loads((EXAMPLES / "notebook" / "survey.ipynb").read_text())["cells"]
    script = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    ended = field.python(script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("ground points") == 2


def test_an_own_task_is_one_file(field, tmp_path):
    for name in ("hive", "workers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "celeryconfig.py", tmp_path)
    printed = run(field, EXAMPLES / "own-task" / "run.sh", tmp_path, TILE)
    assert "Count(points=110000" in printed
    assert "Count the points of one tile" in printed


def test_an_own_capability_is_a_package(tmp_path):
    copy = shutil.copytree(EXAMPLES / "own-capability", tmp_path / "own-capability")
    folder = tmp_path / "packages"
    hive = Hive(tmp_path / "home", PYTHONPATH=str(folder), PIP_DISABLE_PIP_VERSION_CHECK="1")
    folder.mkdir()
    run(
        hive,
        BIN / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        folder,
        copy,
    )
    with hive.up(gateway=True), hive.worker("gravity"):
        printed = run(hive, copy / "run.sh", tmp_path / "again", PYTHONPATH=str(tmp_path / "again"))
        assert "--contrast" in printed
    # A sphere of 20 m radius and 500 kg/m3 in 60 m depth, as a point mass.
    assert "largest_mgal" in printed
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", copy / "test_sphere.py"]
    run(hive, *tests, PYTHONPATH=str(folder))


def test_a_training_goes_on_elsewhere(tmp_path):
    try:
        import lightning
    except ImportError:
        missing("the extra training")
    assert lightning
    hive = Hive(tmp_path / "home", HIVE_LEASE_S="3")
    with hive.up():
        printed = run(
            hive, EXAMPLES / "resume-a-training" / "run.sh", DATA / "training" / "digits.csv.gz", tmp_path / "out"
        )
    assert "attempts: 2, finished by second@example" in printed, printed
    assert (tmp_path / "out" / "weights.pt").exists()

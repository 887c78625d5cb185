"""Workers import the libraries of their capabilities once, before the processes of their pool are made."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import BIN

pytestmark = pytest.mark.wire


@pytest.mark.parametrize(
    ("queue", "library"), [("geophysics", "obspy"), ("training", "libtorch_cpu"), ("3d-generation", "open3d")]
)
@pytest.mark.parametrize("preload", ["1", "0"])
def test_a_process_of_the_pool_has_the_libraries_before_its_first_task(hive_up, queue, library, preload):
    with hive_up.worker(queue, slots=1, HIVE_PRELOAD=preload) as worker:
        children = [Path(f"/proc/{child.pid}/maps").read_text() for child in worker.children()]
    assert [library in mapped for mapped in children] == [preload == "1"]


def test_celerys_own_command_refuses_a_capability_whose_library_is_missing(hive_up, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'obspy' else find(name, *more)\n"
    )
    ended = subprocess.run(
        [BIN / "celery", "-A", "hive", "worker", "-Q", "geophysics", "-c", "1"],
        env=hive_up.environment | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "hive: geophysics needs obspy. Install them, in Hive's folder" in ended.stderr

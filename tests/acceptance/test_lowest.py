"""The lowest versions that pyproject.toml allows do what the tests ask."""

import subprocess
from pathlib import Path

import pytest

from tests.support import BIN

ROOT = Path(__file__).parents[2]


@pytest.mark.full
@pytest.mark.acceptance
def test_the_lowest_versions_that_are_allowed_pass_the_tests_that_touch_them(tmp_path):
    command = [ROOT / "tools" / "lowest.sh", tmp_path / "venv"]
    ended = subprocess.run(
        command,
        env={"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(Path.home()), "PYTHON": str(BIN / "python")},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]

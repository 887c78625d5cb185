"""The site of the docs builds without a warning, and a broken link fails it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import BIN, missing

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    if not (BIN / "mkdocs").exists():
        missing("mkdocs")
    return subprocess.run(
        [BIN / "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_builds_and_has_the_python_api(tmp_path):
    ended = build(ROOT, tmp_path / "site")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    api = (tmp_path / "site" / "api.html").read_text()
    assert "hive.client.job.Job" in api
    for page in ("index", "architecture", "contributing", "security", "changelog", "decisions/index"):
        assert (tmp_path / "site" / f"{page}.html").exists(), page


def test_a_broken_link_fails_the_build(tmp_path):
    for name in ("docs", "hive", "workers", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "docs" / "quickstart.md").open("a") as page:
        page.write("\n[nowhere](how-to/nowhere.md)\n")
    ended = build(tmp_path, tmp_path / "site")
    assert ended.returncode != 0
    assert "nowhere.md" in ended.stdout + ended.stderr

"""tools/install.sh: which redis-server is good enough, and which versions of libraries it takes."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "install.sh"


def has_redis(folder):
    """Ask the script's own function, with nothing on PATH but what the folder has."""
    [function] = re.findall(r"^has_redis\(\) \{.*?^\}", SCRIPT.read_text(), re.DOTALL | re.MULTILINE)
    (folder / "sed").symlink_to(shutil.which("sed"))
    command = [shutil.which("bash"), "-c", f"set -euo pipefail\n{function}\nif has_redis; then echo yes; fi"]
    return subprocess.run(command, env={"PATH": str(folder)}, check=True, capture_output=True).stdout == b"yes\n"


@pytest.mark.parametrize(
    ("says", "is_enough"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=1", True),
        ("Redis server v=10.0.0 sha=00000000:0", True),
        ("Redis server v=6.2.14 sha=00000000:0", False),
        ("no version at all", False),
    ],
)
def test_a_redis_that_is_too_old_counts_as_missing(tmp_path, says, is_enough):
    (tmp_path / "redis-server").write_text(f"#!/bin/sh\necho '{says}'\n")
    (tmp_path / "redis-server").chmod(0o755)
    assert has_redis(tmp_path) == is_enough


def test_no_redis_at_all_counts_as_missing(tmp_path):
    assert not has_redis(tmp_path)


def declared():
    """The requirements of pyproject.toml: name, versions and extra of each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for requirement in map(Requirement, lines):
            yield canonicalize_name(requirement.name), str(requirement.specifier), extra


def locked():
    """What the lock was made from."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    [own] = [package for package in packages if package["name"] == "hive-compute"]
    for requirement in own["metadata"]["requires-dist"]:
        [extra] = re.findall(r"extra == '([^']+)'", requirement.get("marker", "")) or [""]
        yield requirement["name"], str(SpecifierSet(requirement.get("specifier", ""))), extra


def test_the_lock_was_made_from_these_requirements():
    assert set(locked()) == set(declared()), "write it anew: make lock"


def test_the_lock_names_no_machine():
    sources = set(re.findall(r"https?://[^/\"]+", (ROOT / "uv.lock").read_text()))
    assert sources == {"https://pypi.org", "https://files.pythonhosted.org"}

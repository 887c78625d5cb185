"""What is copied to a machine: Hive's own source, from the checkout or from the package that runs here.

Nothing is fetched and nothing is built on this side. What `tools/install.sh` and the Dockerfile need is there in a
checkout; an installed package has it too, as its data files.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path

import hive
from hive.errors import DeployError

_PACKAGE = "hive-compute"
# Packages by their folder in a checkout.
_PACKAGES = {"hive": "hive", "hive_workers": "workers/hive_workers"}
_FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "celeryconfig.py",
    "Dockerfile",
    "tools/install.sh",
    "tools/install_pdal.sh",
    "tools/healthcheck.sh",
)
_LEFT_OUT = ("__pycache__", ".DS_Store")
_SCRIPTS = Path(__file__).with_name("scripts")


def script(name: str) -> str:
    """A script of ours for the other side."""
    return (_SCRIPTS / name).read_text()


@cache
def source() -> Mapping[str, bytes]:
    """Hive's own files by their path in a checkout, and what tells the version where they are not installed.

    Raises
    ------
    DeployError
        This Hive was installed in a way that leaves some of them out.
    """
    found = dict(_packages())
    for name in _FILES:
        file = _file(name)
        if not file.is_file():
            raise DeployError(
                f"This Hive has no {name} to copy. Install it anew with pip, or run it from its checkout."
            )
        found[name] = file.read_bytes()
    number = version(_PACKAGE)
    metadata = f"Metadata-Version: 2.1\nName: {_PACKAGE}\nVersion: {number}\n"
    found[f"{_PACKAGE.replace('-', '_')}-{number}.dist-info/METADATA"] = metadata.encode()
    return dict(sorted(found.items()))


def digest(files: Mapping[str, bytes], *more: str) -> str:
    """What changes when a file or one of the words does."""
    made = hashlib.sha256(json.dumps(more).encode())
    for name, content in sorted(files.items()):
        made.update(f"\0{name}\0{len(content)}\0".encode())
        made.update(content)
    return made.hexdigest()


def archive(files: Mapping[str, bytes], folder: str = "") -> bytes:
    """The files as a .tar.gz, which nobody but its owner can read where it is unpacked."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}{name}")
            entry.size = len(content)
            entry.mode = 0o700 if content.startswith(b"#!") else 0o600
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _packages() -> Iterator[tuple[str, bytes]]:
    for package, folder in _PACKAGES.items():
        found = find_spec(package)
        for place in (found.submodule_search_locations or []) if found else []:
            for path in sorted(Path(place).rglob("*")):
                if path.is_file() and not set(path.parts) & set(_LEFT_OUT):
                    yield f"{folder}/{path.relative_to(place).as_posix()}", path.read_bytes()


def _file(name: str) -> Path:
    root = Path(hive.__file__).parents[1]
    if (root / "tools" / "install.sh").is_file():
        return root / name
    if name.endswith(".py"):
        return root / name
    shared = [one for one in distribution(_PACKAGE).files or () if str(one).endswith(f"share/hive-compute/{name}")]
    return Path(str(shared[0].locate())) if shared else root / name

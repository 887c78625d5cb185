"""The bundle that is copied to a machine: Hive's own source, from the checkout or from the installed package.

Nothing is downloaded or built on this side. A checkout has all that `tools/install.sh` and the Dockerfile need; an
installed package has it as data files.
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
# Folder in a checkout, by package.
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
_EXCLUDED = ("__pycache__", ".DS_Store")
_SCRIPTS = Path(__file__).with_name("scripts")


def script(name: str) -> str:
    """The text of a script that runs on the other machine."""
    return (_SCRIPTS / name).read_text()


@cache
def source() -> Mapping[str, bytes]:
    """Hive's own files by their path in a checkout, with metadata for the version where they are not installed.

    Raises
    ------
    DeployError
        This installation lacks some of them.
    """
    files = dict(_packages())
    for name in _FILES:
        file = _file(name)
        if not file.is_file():
            raise DeployError(
                f"This installation of Hive lacks {name}. Reinstall it with pip, or run it from its checkout."
            )
        files[name] = file.read_bytes()
    number = version(_PACKAGE)
    metadata = f"Metadata-Version: 2.1\nName: {_PACKAGE}\nVersion: {number}\n"
    files[f"{_PACKAGE.replace('-', '_')}-{number}.dist-info/METADATA"] = metadata.encode()
    return dict(sorted(files.items()))


def digest(files: Mapping[str, bytes], *more: str) -> str:
    """SHA-256 over the files and further values."""
    hasher = hashlib.sha256(json.dumps(more).encode())
    for name, content in sorted(files.items()):
        hasher.update(f"\0{name}\0{len(content)}\0".encode())
        hasher.update(content)
    return hasher.hexdigest()


def archive(files: Mapping[str, bytes], folder: str = "") -> bytes:
    """The files as a .tar.gz; once unpacked, only their owner can read them."""
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
        spec = find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(location).rglob("*")):
                if path.is_file() and not set(path.parts) & set(_EXCLUDED):
                    yield f"{folder}/{path.relative_to(location).as_posix()}", path.read_bytes()


def _file(name: str) -> Path:
    root = Path(hive.__file__).parents[1]
    if (root / "tools" / "install.sh").is_file():
        return root / name
    if name.endswith(".py"):
        return root / name
    data = [path for path in distribution(_PACKAGE).files or () if str(path).endswith(f"share/hive-compute/{name}")]
    return Path(str(data[0].locate())) if data else root / name

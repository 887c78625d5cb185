"""The Python environments of scripts: made by uv, kept by what they are made from, the last used ones stay.

An environment cannot be moved, so it is made where it stays. The file `ready` beside it is written last: without it,
nobody uses what is there.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hive.errors import EngineError
from hive.task import progress
from hive_workers.run.needs import Needs
from hive_workers.run.process import run_program

# As many are kept on a machine; each job that uses one makes it the newest.
_MOST = 20


@dataclass(frozen=True)
class _Place:
    """Where the environment of some needs is, and what is beside it."""

    root: Path
    key: str

    @property
    def folder(self) -> Path:
        return self.root / "made" / self.key

    @property
    def environment(self) -> Path:
        return self.folder / "venv"

    @property
    def ready(self) -> Path:
        return self.folder / "ready"

    @property
    def last_used(self) -> float:
        """When it was used last, as seconds since 1970; 0 for one that was never finished."""
        with suppress(FileNotFoundError):
            return self.ready.stat().st_mtime
        return 0.0

    @contextmanager
    def held(self, how: int) -> Iterator[None]:
        """Hold its lock, which ends with this process: shared by those who use it, alone to change it."""
        file = self.root / "locks" / self.key
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as opened:
            fcntl.flock(opened, how)
            yield


@contextmanager
def environment(root: Path, needs: Needs) -> Iterator[Path]:
    """Give the environment that a script needs, made where this machine has none; it stays while the block runs.

    Raises
    ------
    EngineError
        uv is not here, or could not make it; with uv's own words.
    """
    place = _Place(root, _key(needs))
    while True:
        with place.held(fcntl.LOCK_SH):
            if place.ready.exists():
                place.ready.touch()
                yield place.environment
                return
        with place.held(fcntl.LOCK_EX):
            if not place.ready.exists():
                _make(place, needs)
        _forget_old(root)


def _key(needs: Needs) -> str:
    """What tells environments apart: all that decides what is in them, and the Python and system that they are for."""
    digest = hashlib.sha256()
    for part in (sys.version, sysconfig.get_platform(), *needs.decisive):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def _make(place: _Place, needs: Needs) -> None:
    progress(0, 2, "steps", "making the environment")
    shutil.rmtree(place.folder, ignore_errors=True)  # what an attempt that was killed has left
    place.folder.mkdir(parents=True)
    try:
        _uv(place, "venv", "--no-project", "--python", sys.executable, str(place.environment))
        if needs.install:
            _uv(place, *needs.install)
    except BaseException:
        shutil.rmtree(place.folder, ignore_errors=True)
        raise
    place.ready.touch()


def _uv(place: _Place, *words: str) -> None:
    program = shutil.which("uv", path=search_path())
    if program is None:
        raise EngineError("This worker has no uv, which makes the environments of scripts: pip install uv.")
    variables = uv_variables(place.environment, place.root / "uv")
    ended = run_program([program, *words], variables, place.folder)
    if ended.code != 0:
        first = next((number for number, line in enumerate(ended.errors) if line.startswith("error:")), 0)
        reason = " ".join(ended.errors[first:])[:1000] or f"exit code {ended.code}"
        raise EngineError(f"uv could not make the environment: {reason.removeprefix('error:').strip()}")


def _forget_old(root: Path) -> None:
    """Remove the environments that were not used for longest, where nobody uses them now."""
    places = [_Place(root, folder.name) for folder in (root / "made").iterdir()]
    for place in sorted(places, key=lambda environment: environment.last_used, reverse=True)[_MOST:]:
        with suppress(BlockingIOError), place.held(fcntl.LOCK_EX | fcntl.LOCK_NB):
            place.ready.unlink(missing_ok=True)
            shutil.rmtree(place.folder, ignore_errors=True)


_BASICS = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
# What the owner says about the machine's cores, accelerators and libraries.
_MACHINE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH", "GDAL_DATA", "PROJ_DATA")
_ACCELERATORS = ("CUDA_", "NVIDIA_", "ROCR_", "HIP_")
# How uv reaches its index and finds its settings; these may hold passwords and are for uv alone.
_UV = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")


def script_variables(environment: Path, scratch: Path) -> dict[str, str]:
    """What a script sees of the machine that it runs on.

    Parameters
    ----------
    environment : the Python environment that it runs in
    scratch : folder for its temporary files
    """
    shared = dict(_passed(_BASICS, _MACHINE, prefixes=("LC_", *_ACCELERATORS)))
    return shared | {
        "PATH": os.pathsep.join([str(environment / "bin"), shared.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(environment),
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",  # its output shall stream
    }


def uv_variables(environment: Path, cache: Path) -> Mapping[str, str]:
    """What uv sees; the owner's own settings of uv go before those made here."""
    upper = dict(_passed(_BASICS, _UV, prefixes=("LC_", "UV_")))
    lower = dict(_passed(tuple(name.lower() for name in _UV)))
    ours = {"UV_CACHE_DIR": str(cache), "UV_PYTHON_PREFERENCE": "system", "NO_COLOR": "1"}
    variables = {"VIRTUAL_ENV": str(environment), "UV_PROJECT_ENVIRONMENT": str(environment), "PATH": search_path()}
    return ours | lower | upper | variables


def search_path() -> str:
    """PATH with this environment's programs in front: a worker may be started without its venv activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _passed(*names: tuple[str, ...], prefixes: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if any(name in some for some in names) or name.startswith(prefixes):
            yield name, value

"""The environment variables that programs get: those of a list, so that no secret of the worker is among them."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    wanted = {"VIRTUAL_ENV": str(environment), "UV_PROJECT_ENVIRONMENT": str(environment), "PATH": search_path()}
    return ours | lower | upper | wanted


def search_path() -> str:
    """PATH with this environment's programs in front: a worker may be started without its venv activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _passed(*names: tuple[str, ...], prefixes: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if any(name in some for some in names) or name.startswith(prefixes):
            yield name, value

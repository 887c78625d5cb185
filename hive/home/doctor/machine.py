"""Checks of this machine: its disk, its secrets, the programs that Hive needs."""

import os
import shutil
import stat
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from hive.home.doctor.finding import Patient, Results, ok, problem, warning
from hive.settings import Settings

_LEAST_BYTES, _LEAST_SHARE = 2e9, 0.05
_GB = 1e9
_SECRETS = ("*.password", "*.token", "*.key", "*.secret", "*.acl", "redis.conf", "config.toml")


def free_space(patient: Patient) -> Results:
    """Whether the disks have room on which Redis, the store and the cache of this machine are."""
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, folder in _folders(patient.settings).items():
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        disks.setdefault(there.stat().st_dev, (there, []))[1].append(name)
    for folder, names in disks.values():
        disk = shutil.disk_usage(folder)
        words = f"{disk.free / _GB:.1f} GB of {disk.total / _GB:.0f} GB are free at {folder} ({', '.join(names)})."
        if disk.free < min(_LEAST_BYTES, disk.total) or disk.free < _LEAST_SHARE * disk.total:
            yield warning(
                words, "Make room there, or move them: HIVE_HOME, HIVE_STORE, HIVE_CACHE, HIVE_CACHE_MAX_BYTES."
            )
        else:
            yield ok(words)


def _folders(settings: Settings) -> dict[str, Path]:
    folders = {"Redis": settings.home / "redis", "cache": settings.cache}
    if settings.store.startswith("file:"):
        folders["store"] = Path(unquote(urlsplit(settings.store).path))
    return folders


def secrets(patient: Patient) -> Results:
    """Whether passwords, tokens and keys are readable by this user only."""
    settings = patient.settings
    files = sorted({*_secret_files(settings.home), *_named(settings)})
    bad = [words for file in files if (words := _weakness(file))]
    for words in bad:
        yield problem(words, f"chmod 600 FILE; then make it anew, for others may know it by now: see {settings.home}.")
    home = settings.home
    if home.exists() and stat.S_IMODE(home.stat().st_mode) & 0o077:
        yield warning(f"Others may look into {home}.", f"chmod 700 {home}")
    elif not bad:
        yield ok(f"{len(files)} files with secrets are readable by you only.")


def _secret_files(home: Path) -> Iterable[Path]:
    """Secrets in the home and in the folders right below it; not among the files of jobs."""
    for pattern in _SECRETS:
        yield from home.glob(pattern)
        yield from (file for file in home.glob(f"*/{pattern}") if file.parent.name not in ("store", "cache"))


def _named(settings: Settings) -> Iterable[Path]:
    return (file for file in (settings.password_file, settings.token_file) if file.exists())


def _weakness(file: Path) -> str:
    """Who else may read a file; empty where nobody may."""
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid():
        return f"{file} holds a secret and belongs to somebody else (user {status.st_uid})."
    return f"{file} holds a secret and others may read it (mode {mode:04o}, not 0600)." if mode & 0o077 else ""


_OURS = "hive-compute"
_OLDEST_REDIS = (7, 0)
# CVE-2025-49844: who may run Lua could run code on the host; the first release of each series with the remedy.
# https://github.com/redis/redis/security/advisories/GHSA-4789-qfc9-5f9q
_FIXED = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}


def packages(_: Patient) -> Results:
    """Whether what is installed here is what Hive asks for."""
    requirements = [Requirement(text) for text in requires(_OURS) or ()]
    ours = [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    wrong = [words for requirement in ours if (words := _wrong(requirement))]
    if wrong:
        remedy = "Install Hive anew, in its folder: .venv/bin/pip install -e ."
        yield problem(f"Packages are not as Hive {version(_OURS)} asks: {'; '.join(wrong)}.", remedy)
    else:
        yield ok(f"Hive {version(_OURS)} has the {len(ours)} packages that it asks for, celery {version('celery')}.")


def _wrong(requirement: Requirement) -> str:
    """What is wrong with a package; empty where nothing is."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    fits = requirement.specifier.contains(installed, prereleases=True)
    return "" if fits else f"{requirement.name} is {installed}, not {requirement.specifier}"


def redis_version(patient: Patient) -> Results:
    """Whether Redis is new enough, and may have a known hole."""
    name = str(patient.redis_info["redis_version"])
    series, patch = _read(name)
    if series < _OLDEST_REDIS:
        yield problem(f"Redis is {name}; Hive needs 7.0 or newer.", "Install a newer one: brew install redis.")
    elif _is_fixed(series, patch):
        yield ok(f"Redis is {name}.")
    else:
        yield warning(
            f"Redis is {name} and may have CVE-2025-49844, by which whoever knows its password can run programs on "
            "its machine; the number alone does not tell, for distributions fix it in older releases.",
            "Look for the CVE in what your system says of its package, such as: apt-get changelog redis-server. Where "
            "it is not there, install 8.2.2 or newer, or the newest of your series: brew upgrade redis.",
        )


def _read(name: str) -> tuple[tuple[int, int], int]:
    """Series and patch of a version.

    >>> _read("8.2.3")
    ((8, 2), 3)
    """
    major, minor, patch = (int(part) if part.isdecimal() else 0 for part in f"{name}.0.0".split(".")[:3])
    return (major, minor), patch


def _is_fixed(series: tuple[int, int], patch: int) -> bool:
    """Whether a release of Redis itself has the remedy.

    >>> _is_fixed((8, 2), 1), _is_fixed((8, 2), 2), _is_fixed((8, 4), 0), _is_fixed((7, 0), 15)
    (False, True, True, False)
    """
    return series > max(_FIXED) or patch >= _FIXED.get(series, patch + 1)

"""Room on the disks, and whether secrets are secret."""

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hive.orchestrator.doctor.finding import Found, Patient, ok, problem, warning
from hive.settings import Settings

_LEAST_BYTES, _LEAST_SHARE = 2e9, 0.05
_GB = 1e9
_SECRETS = ("*.password", "*.token", "*.key", "*.secret", "*.acl", "redis.conf", "config.toml")


def free_space(patient: Patient) -> Found:
    """Whether the disks have room on which Redis, the store and the cache of this machine are."""
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, folder in _folders(patient.settings).items():
        there = next(one for one in (folder, *folder.parents) if one.exists())
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
    found = {"Redis": settings.home / "redis", "cache": settings.cache}
    if settings.store.startswith("file:"):
        found["store"] = Path(unquote(urlsplit(settings.store).path))
    return found


def secrets(patient: Patient) -> Found:
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
        yield from (one for one in home.glob(f"*/{pattern}") if one.parent.name not in ("store", "cache"))


def _named(settings: Settings) -> Iterable[Path]:
    return (file for file in (settings.password_file, settings.token_file) if file.exists())


def _weakness(file: Path) -> str:
    """Who else may read a file; empty where nobody may."""
    found = file.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid():
        return f"{file} holds a secret and belongs to somebody else (user {found.st_uid})."
    return f"{file} holds a secret and others may read it (mode {mode:04o}, not 0600)." if mode & 0o077 else ""

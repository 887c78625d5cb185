"""Secrets in files that only their owner can read."""

import hashlib
import os
from pathlib import Path

from hive.errors import SettingError


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, and that is never seen half-written."""
    for folder in reversed([parent for parent in path.parents if not parent.exists()]):
        folder.mkdir(exist_ok=True, mode=0o700)  # `parents=True` would leave those above open
    unfinished = path.with_suffix(f".{os.getpid()}.new")  # others may write the same file at this moment
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def secret(file: Path) -> str:
    """The secret in a file; generated on first use, readable by its owner only."""
    if not file.exists():
        import secrets  # noqa: PLC0415  5 ms that most starts need not pay

        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def read_secret(file: Path) -> str:
    """The secret in a file; empty if there is no such file yet.

    Raises
    ------
    SettingError
        The file exists and cannot be read.
    """
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"Cannot read the secret in {file}: {error}.") from error


def worker_token(token: str, name: str) -> str:
    """The gateway token of the worker of that name: it gives access to files only, and does not reveal the token."""
    return f"{name}.{hashlib.sha256(f'worker {name} {token}'.encode()).hexdigest()}"

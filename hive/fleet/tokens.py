"""Secrets of a provider in files."""

import os
import stat
from pathlib import Path

from hive.errors import SettingError


def private_text(file: Path) -> str:
    """What a file of a secret holds.

    Raises
    ------
    SettingError
        It is not there, or others can read it.
    """
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingError(f"Others can read {file}, which holds a token. Run: chmod 600 {file}.")
            return opened.read().strip()
    except OSError as error:
        raise SettingError(f"{file} holds a token and cannot be read: {error.strerror}.") from error

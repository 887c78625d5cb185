"""How a setting is declared, and the kinds of values that settings have."""

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hive.errors import SettingError
from hive.units import BYTE

# Roles of the processes of one Hive; each has the rights in Redis that it needs and no others.
ROLES = ("submitter", "worker", "gateway", "admin")
# URL schemes that `hive.staging` can open.
_STORES = ("file", "http", "https", "s3", "gs", "az")


@dataclass(frozen=True)
class Setting:
    """One setting as it is declared.

    `variable` is its name in the environment, `name` in config.toml and in Python. The default of a path may be
    `under_home`, where `{role}` stands for the role of the process.
    """

    name: str
    group: str
    default: object
    variable: str
    help: str
    read: Callable[[str], object]
    is_secret: bool
    under_home: str

    def parse(self, text: str, origin: str) -> object:
        """The value that a text stands for.

        Raises
        ------
        SettingError
            The text stands for none; `origin` says where it came from.
        """
        try:
            return self.read(text)
        except ValueError as error:
            raise SettingError(f"{self.variable} cannot be {text!r} ({origin}): {error}.") from error


def setting(
    variable: str,
    help: str,
    read: Callable[[str], object] = str,
    *,
    default: object = "",
    is_secret: bool = False,
    under_home: str = "",
) -> Any:  # noqa: ANN401  dataclasses.field has no better type
    """Declare a setting: a field of one of the classes in `hive.settings.schema`."""
    metadata = {"variable": variable, "help": help, "read": read, "is_secret": is_secret, "under_home": under_home}
    return field(default=default, metadata=metadata)


def port(text: str) -> int:
    """A TCP port."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError("it must be a port, 1 to 65535")
    return number


def count(text: str) -> int:
    """A whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError("it must be at least 1")
    return number


def size_bytes(text: str) -> int:
    """A number of bytes, such as `50GB`."""
    number = int(BYTE.parse(text))
    if number < 1:
        raise ValueError("it must be at least 1 B")
    return number


def duration(text: str) -> float:
    """A time span of 0 or more, in the unit that the setting's name says."""
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError("it must be 0 or more")
    return number


def lease(text: str) -> float:
    """A time span of at least 1 s [s]."""
    number = duration(text)
    if number < 1:
        raise ValueError("it must be at least 1 s")
    return number


def dollars(text: str) -> float:
    """An amount of money [US$]."""
    number = float(text.removeprefix("$"))
    if not (math.isfinite(number) and number >= 0):
        raise ValueError("it must be 0 or more US$")
    return number


def moment(text: str) -> datetime:
    """A time with its zone, in UTC."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("it must be a time with its zone, such as 2026-11-26T20:00:00Z")
    return time.astimezone(UTC)


def switch(text: str) -> bool:
    """Yes or no."""
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError("it must be 1 or 0, true or false")
    return words[text.lower()]


def path(text: str) -> Path:
    """An absolute path of a file or folder."""
    return Path(text).expanduser().absolute()


def role(text: str) -> str:
    """One of the roles."""
    if text not in ROLES:
        raise ValueError(f"it must be one of {', '.join(ROLES)}")
    return text


def command(text: str) -> str:
    """A command line with its quotes closed."""
    shlex.split(text)
    return text


def web_address(text: str) -> str:
    """An address such as `https://mac:8000`."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("it must be http://HOST:PORT or https://HOST:PORT")
    return text.rstrip("/")


def store(text: str) -> str:
    """The URL of a store; refused here, before a command has hashed gigabytes for a store that it cannot open."""
    parts = urlsplit(text)
    if parts.scheme not in _STORES or not (parts.path if parts.scheme == "file" else parts.netloc):
        kinds = ", ".join(f"{name}://" for name in _STORES)
        raise ValueError(f"it must be file:///folder or another URL that begins with one of {kinds}")
    return text.rstrip("/")

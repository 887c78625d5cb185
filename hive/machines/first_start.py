"""The script that a rented machine runs at its first start.

Either the machine installs its worker itself (`first_start.sh`), or this side connects to it and does (`over_ssh.sh`).
"""

import base64
import gzip
import io
import re
import shlex
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from hive.catalog import find_capability
from hive.errors import SettingError
from hive.home import access
from hive.machines.records import Machine
from hive.providers.provider import Provider, find_provider, format_time
from hive.settings import SETTINGS, Settings
from hive.worker.starter import read_nodes

_END_COMMAND = "sudo /usr/local/sbin/hive-end"


@dataclass(frozen=True)
class Limits:
    """When a machine ends before its expiry."""

    idle_min: float
    budget_usd: float | None


class Installer(Protocol):
    """Installs workers on new machines. `advice` tells what to do if one got none; it begins with a space."""

    advice: str

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script of the machine's first start; it must end the machine even if nothing else of it works."""

    def ssh_key(self, user_key: str) -> str:
        """The public key that the provider installs, "" for none; `user_key` is the one that the user gave."""

    def install(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Do what is left to do from here once the machines have started; returns the failures: reason by name."""


def script(values: Mapping[str, str], *parts: str) -> str:
    """The script of a first start: values in front of the parts, which are shell scripts of this package."""
    assignments = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    texts = [Path(__file__).with_name(f"{part}.sh").read_text() for part in ("begin", *parts)]
    return "\n".join(["#!/bin/bash", assignments, *texts])


def common_values(settings: Settings, machine: Machine) -> dict[str, str]:
    """The values that every first start needs."""
    return {
        "HIVE_NAME": machine.name,
        "HIVE_CAPABILITIES": machine.capabilities,
        "HIVE_EXPIRES": machine.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "HIVE_IS_SPOT": "yes" if machine.is_spot else "no",
        "HIVE_END_SCRIPT": find_provider(machine.provider).end_script(settings),
    }


def worker_settings(machine: Machine, limits: Limits) -> dict[str, str]:
    """The settings with which the worker ends its machine: Hive's own words and numbers only."""
    values = {
        "expires_at": format_time(machine.expires_at),
        "end_when_idle_min": f"{limits.idle_min:g}",
        "end_command": _END_COMMAND,
        "paid_since": format_time(machine.created_at),
        "price_usd_per_h": "" if machine.price_usd_per_h is None else f"{machine.price_usd_per_h:g}",
        "machine_budget_usd": "" if limits.budget_usd is None else f"{limits.budget_usd:g}",
        "spot_notice": "http://169.254.169.254" if machine.is_spot else "",
    }
    return {name: value for name, value in values.items() if value}


class AtFirstStart:
    """The machine installs Hive itself, from the URL of a package, and its worker connects to this Hive."""

    advice = " Can machines reach this Hive and HIVE_FLEET_PACKAGE_URL?"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._package = _checked_url(settings.fleet_package_url)

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script, with a new identity in it."""
        queues = [node.capability for node in read_nodes(machine.capabilities, 1)]
        return self.script(machine, access.add(self._settings, machine.name, queues), limits)

    def script(self, machine: Machine, identity: Path, limits: Limits) -> str:
        """The script, with the values of this machine in front of it."""
        values = common_values(self._settings, machine) | {
            "HIVE_SHELL": "/usr/sbin/nologin",
            "HIVE_EXTRAS": ",".join(_extras(machine.capabilities)),
            "HIVE_PACKAGE": self._package._replace(fragment="").geturl(),
            "HIVE_PACKAGE_SHA256": self._package.fragment.removeprefix("sha256="),
            "HIVE_IDENTITY": _packed(identity),
            "HIVE_ENVIRONMENT": _environment(machine, limits),
        }
        return script(values, "first_start")

    def ssh_key(self, user_key: str) -> str:
        """The user's key: Hive needs none."""
        return user_key

    def install(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Nothing is left to do: the machine installs itself."""
        return {}


def _checked_url(url: str) -> SplitResult:
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" and bool(parts.netloc) and parts.path.endswith((".whl", ".tar.gz"))
    if not is_safe or not re.fullmatch(r"(sha256=[0-9a-f]{64})?", parts.fragment):
        raise SettingError(
            "HIVE_FLEET_PACKAGE_URL must name the package that new machines install: https://…, a wheel (.whl) or the "
            f"source (.tar.gz) of Hive, optionally with #sha256=…; it is {url!r}. Or use --via ssh, which copies Hive."
        )
    return parts


def _extras(capabilities: str) -> list[str]:
    extras = {find_capability(node.capability).extra for node in read_nodes(capabilities, 1)}
    return sorted(extras - {""})


def _packed(folder: Path) -> str:
    """The files of a folder as text: tar, gzip, base64."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name, filter=_without_owner)
    return base64.b64encode(gzip.compress(packed.getvalue(), mtime=0)).decode()


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _environment(machine: Machine, limits: Limits) -> str:
    """The settings of the worker there, as systemd reads them."""
    variables = {setting.name: setting.variable for setting in SETTINGS}
    values = worker_settings(machine, limits) | {"worker_capabilities": machine.capabilities}
    return "".join(f'{variables[name]}="{value}"\n' for name, value in values.items())

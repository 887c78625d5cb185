"""How a new machine gets its worker: a script that it runs at its first start, with everything in it.

Another way, such as copying through SSH from this machine, is another `Installer`.
"""

import base64
import gzip
import io
import re
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from hive.catalog import find_capability
from hive.errors import SettingError
from hive.fleet.machine import Machine, written
from hive.fleet.provider import Resource
from hive.fleet.tokens import private_text
from hive.settings import Settings
from hive.worker.starter import read_nodes

_SCRIPT = Path(__file__).with_name("machine.sh")
_END_COMMAND = "sudo /usr/local/sbin/hive-end"


@dataclass(frozen=True)
class Limits:
    """When a machine ends itself, beside its expiry."""

    idle_min: float
    budget_usd: float | None


class Installer(Protocol):
    """Brings a worker onto a new machine."""

    def user_data(self, machine: Machine, identity: Path, limits: Limits) -> str:
        """The script of the machine's first start; it must end the machine even where nothing else of it works."""

    def after_start(self, machine: Machine, resource: Resource) -> None:
        """Do what is left to do from here, once the machine is there."""


class AtFirstStart:
    """The machine installs Hive by itself, from the URL of a package."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._package = _checked(settings.fleet_package_url)

    def user_data(self, machine: Machine, identity: Path, limits: Limits) -> str:
        """The script, with the values of this machine in front of it."""
        values = {
            "HIVE_NAME": machine.name,
            "HIVE_CAPABILITIES": machine.capabilities,
            "HIVE_EXTRAS": ",".join(_extras(machine.capabilities)),
            "HIVE_EXPIRES": machine.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "HIVE_PACKAGE": self._package._replace(fragment="").geturl(),
            "HIVE_PACKAGE_SHA256": self._package.fragment.removeprefix("sha256="),
            "HIVE_IDENTITY": _packed(identity),
            "HIVE_ENVIRONMENT": _environment(machine, limits),
            "HIVE_IS_SPOT": "yes" if machine.is_spot else "no",
            **self._own_end(machine),
        }
        words = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        return f"#!/bin/bash\n{words}\n{_SCRIPT.read_text()}"

    def after_start(self, machine: Machine, resource: Resource) -> None:
        """Nothing: the machine does it all."""

    def _own_end(self, machine: Machine) -> dict[str, str]:
        """What a droplet needs to destroy itself; a machine of Amazon only powers itself off."""
        file = self._settings.do_machine_token_file
        if machine.provider != "digitalocean" or not file.exists():
            return {"HIVE_DO_URL": "", "HIVE_DO_TOKEN": ""}
        return {"HIVE_DO_URL": self._settings.do_url, "HIVE_DO_TOKEN": private_text(file)}


def _checked(url: str) -> SplitResult:
    """The address of the package, if it is one that a machine may install from."""
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" and bool(parts.netloc) and parts.path.endswith((".whl", ".tar.gz"))
    if not is_safe or not re.fullmatch(r"(sha256=[0-9a-f]{64})?", parts.fragment):
        raise SettingError(
            "HIVE_FLEET_PACKAGE_URL must say what new machines install: https://…, a wheel (.whl) or the source "
            f"(.tar.gz) of Hive, with #sha256=… behind it to be sure; it is {url!r}."
        )
    return parts


def _extras(capabilities: str) -> list[str]:
    found = {find_capability(node.capability).extra for node in read_nodes(capabilities, 1)}
    return sorted(found - {""})


def _packed(folder: Path) -> str:
    """The files of a folder as text, small."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name, filter=_nobodys)
    return base64.b64encode(gzip.compress(packed.getvalue(), mtime=0)).decode()


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _environment(machine: Machine, limits: Limits) -> str:
    """The settings of the worker there, as systemd reads them: nothing in them but our own words and numbers."""
    values: Mapping[str, str] = {
        "HIVE_EXPIRES_AT": written(machine.expires_at),
        "HIVE_END_WHEN_IDLE_MIN": f"{limits.idle_min:g}",
        "HIVE_END_COMMAND": _END_COMMAND,
        "HIVE_PAID_SINCE": written(machine.created_at),
        "HIVE_PRICE_USD_PER_H": "" if machine.price_usd_per_h is None else f"{machine.price_usd_per_h:g}",
        "HIVE_MACHINE_BUDGET_USD": "" if limits.budget_usd is None else f"{limits.budget_usd:g}",
        "HIVE_SPOT_NOTICE_URL": "http://169.254.169.254" if machine.is_spot else "",
        "WORKER_CAPABILITIES": machine.capabilities,
    }
    return "".join(f'{name}="{value}"\n' for name, value in values.items() if value)

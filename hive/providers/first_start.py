"""What a rented machine runs when it starts for the first time.

There are two ways: `first_start`, where the machine does it all by itself, and `over_ssh`, where this side goes to it.
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
from hive.providers.digitalocean import private_text
from hive.providers.machine import Machine, written
from hive.providers.provider import Provider
from hive.settings import SETTINGS, Settings
from hive.worker.starter import read_nodes

_END_COMMAND = "sudo /usr/local/sbin/hive-end"


@dataclass(frozen=True)
class Limits:
    """When a machine ends itself, beside its expiry."""

    idle_min: float
    budget_usd: float | None


class Installer(Protocol):
    """Brings workers onto new machines. `advice` is what to do where one got none, after a space."""

    advice: str

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script of the machine's first start; it must end the machine even where nothing else of it works."""

    def ssh_key(self, of_user: str) -> str:
        """The public key for which the provider lets somebody in, "" for nobody; the user may have named one."""

    def bring(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Do what is left to do from here, once the machines are started; returns by name why one got no worker."""


def script(values: Mapping[str, str], *parts: str) -> str:
    """The script of a first start: values in front of parts of ours, which are shell."""
    words = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    texts = [Path(__file__).with_name(f"{part}.sh").read_text() for part in ("begin", *parts)]
    return "\n".join(["#!/bin/bash", words, *texts])


def values_of(settings: Settings, machine: Machine) -> dict[str, str]:
    """The values that every way needs."""
    return {
        "HIVE_NAME": machine.name,
        "HIVE_CAPABILITIES": machine.capabilities,
        "HIVE_EXPIRES": machine.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "HIVE_IS_SPOT": "yes" if machine.is_spot else "no",
        **_own_end(settings, machine),
    }


def worker_settings(machine: Machine, limits: Limits) -> dict[str, str]:
    """The settings of the worker there that end its machine: our own words and numbers only."""
    values = {
        "expires_at": written(machine.expires_at),
        "end_when_idle_min": f"{limits.idle_min:g}",
        "end_command": _END_COMMAND,
        "paid_since": written(machine.created_at),
        "price_usd_per_h": "" if machine.price_usd_per_h is None else f"{machine.price_usd_per_h:g}",
        "machine_budget_usd": "" if limits.budget_usd is None else f"{limits.budget_usd:g}",
        "spot_notice": "http://169.254.169.254" if machine.is_spot else "",
    }
    return {name: value for name, value in values.items() if value}


def _own_end(settings: Settings, machine: Machine) -> dict[str, str]:
    """What a droplet needs to destroy itself; a machine of Amazon only powers itself off."""
    file = settings.do_machine_token_file
    if machine.provider != "digitalocean" or not file.exists():
        return {"HIVE_DO_URL": "", "HIVE_DO_TOKEN": ""}
    return {"HIVE_DO_URL": settings.do_url, "HIVE_DO_TOKEN": private_text(file)}


class AtFirstStart:
    """The machine installs Hive by itself, from the URL of a package, and its worker comes to this Hive."""

    advice = " Can machines reach this Hive and HIVE_FLEET_PACKAGE_URL?"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._package = _checked(settings.fleet_package_url)

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script, with a new identity in it."""
        queues = [node.capability for node in read_nodes(machine.capabilities, 1)]
        return self.script(machine, access.add(self._settings, machine.name, queues), limits)

    def script(self, machine: Machine, identity: Path, limits: Limits) -> str:
        """The script, with the values of this machine in front of it."""
        values = values_of(self._settings, machine) | {
            "HIVE_SHELL": "/usr/sbin/nologin",
            "HIVE_EXTRAS": ",".join(_extras(machine.capabilities)),
            "HIVE_PACKAGE": self._package._replace(fragment="").geturl(),
            "HIVE_PACKAGE_SHA256": self._package.fragment.removeprefix("sha256="),
            "HIVE_IDENTITY": _packed(identity),
            "HIVE_ENVIRONMENT": _environment(machine, limits),
        }
        return script(values, "first_start")

    def ssh_key(self, of_user: str) -> str:
        """That of the user: Hive needs none."""
        return of_user

    def bring(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Nothing: the machine does it all."""
        return {}


def _checked(url: str) -> SplitResult:
    """The address of the package, if it is one that a machine may install from."""
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" and bool(parts.netloc) and parts.path.endswith((".whl", ".tar.gz"))
    if not is_safe or not re.fullmatch(r"(sha256=[0-9a-f]{64})?", parts.fragment):
        raise SettingError(
            "HIVE_FLEET_PACKAGE_URL must say what new machines install: https://…, a wheel (.whl) or the source "
            f"(.tar.gz) of Hive, with #sha256=… behind it to be sure; it is {url!r}. Or: --via ssh, which copies Hive."
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
    """The settings of the worker there, as systemd reads them."""
    variables = {setting.name: setting.variable for setting in SETTINGS}
    values = worker_settings(machine, limits) | {"worker_capabilities": machine.capabilities}
    return "".join(f'{variables[name]}="{value}"\n' for name, value in values.items())

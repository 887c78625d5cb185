"""A machine that installs its worker by itself at its first start: its script has all of it, the identity too."""

import base64
import gzip
import io
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from hive.catalog import find_capability
from hive.errors import SettingError
from hive.fleet.installer import Limits, script, values_of, worker_settings
from hive.fleet.machine import Machine
from hive.fleet.provider import Provider
from hive.orchestrator import access
from hive.settings import VARIABLES, Settings
from hive.worker.starter import read_nodes


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
    variables = {one.name: one.metadata["variable"] for one in VARIABLES}
    values = worker_settings(machine, limits) | {"worker_capabilities": machine.capabilities}
    return "".join(f'{variables[name]}="{value}"\n' for name, value in values.items())

"""How a new machine gets its worker: what its first start runs, and what is then done from here.

There are two ways: `first_start`, where the machine does it all by itself, and `over_ssh`, where this side goes to it.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hive.digitalocean import private_text
from hive.fleet.machine import Machine, written
from hive.fleet.provider import Provider
from hive.settings import Settings

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

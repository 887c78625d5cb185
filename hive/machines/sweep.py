"""Ending machines: those that the user names, and those that Hive has forgotten."""

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

from hive.home import access
from hive.home.users import identity_file
from hive.machines import host_keys
from hive.machines.records import Machine, Records
from hive.providers.provider import Provider, Resource, now
from hive.remote import records
from hive.remote.tunnel import close_tunnel
from hive.settings import Settings

# Another process may be ordering the machine just now, or be about to record its id.
_ORDER_TAKES = timedelta(minutes=10)
_GONE = "it has ended itself, or was taken away"


def end(settings: Settings, provider: Provider, machines: Sequence[Machine], why: str) -> list[Machine]:
    """End machines, revoke their identities and close their tunnels.

    Machines whose id is unknown are looked up by name, twice: a new one may not be listed yet.

    Raises
    ------
    HiveError
        The provider does not answer; the machines' records stay, so that `hive fleet gc` tries again.
    """
    records = Records(settings)
    names = {machine.name for machine in machines}
    ids = [machine.resource_id for machine in machines if machine.resource_id]
    for machine in machines:
        revoke(settings, machine.name)
    provider.destroy(ids)
    for pause_s in (0.0, settings.fleet_gc_pause_s)[: 1 if len(ids) == len(names) else 2]:
        time.sleep(pause_s)
        provider.destroy([resource.id for resource in provider.list(records.hive) if resource.name in names])
    return [records.save(dataclasses.replace(machine, ended_at=now(), why=why)) for machine in machines]


def sweep(settings: Settings, providers: Iterable[Provider]) -> Iterator[tuple[Resource, str]]:
    """End what is tagged as this Hive's and must not exist, and record the end of what no longer exists.

    It looks twice, some seconds apart: a new machine may not be listed the first time. Yields each machine that it
    ended, and why.
    """
    records = Records(settings)
    listed: set[str] = set()
    places = list(providers)
    for pause_s in (0.0, settings.fleet_gc_pause_s):
        time.sleep(pause_s)
        machines = {machine.name: machine for machine in records.all()}
        for provider in places:
            for resource in provider.list(records.hive):
                why = reason_to_end(resource, machines, now())
                if why:
                    provider.destroy([resource.id])
                    revoke(settings, resource.name)
                    yield resource, why
                else:
                    listed.add(resource.name)
    record_ended(settings, places, listed)


def reason_to_end(resource: Resource, machines: Mapping[str, Machine], at: datetime) -> str:
    """Why a machine must end; empty if it may go on."""
    machine = machines.get(resource.name)
    if machine is None:
        return "this Hive has no record of it"
    if machine.ended_at is not None:
        return "it should have ended"
    if machine.expires_at <= at or (resource.expires_at is not None and resource.expires_at <= at):
        return "it is past its expiry"
    if machine.resource_id and machine.resource_id != resource.id:
        return f"it is a duplicate of {machine.resource_id}"
    if not machine.resource_id and at - machine.created_at >= _ORDER_TAKES:
        return "its launch was interrupted"
    return ""


def record_ended(settings: Settings, providers: Iterable[Provider], listed: Container[str]) -> None:
    """Record as ended the machines that these providers no longer list; `listed` has the names that they do.

    Such a machine cannot have cost more than until its expiry.
    """
    records, places = Records(settings), {(provider.name, provider.region) for provider in providers}
    for machine in records.alive():
        is_gone = (machine.provider, machine.region) in places and machine.name not in listed
        if is_gone and not _may_appear(settings, machine):
            revoke(settings, machine.name)
            records.save(dataclasses.replace(machine, ended_at=min(now(), machine.expires_at), why=_GONE))


def _may_appear(settings: Settings, machine: Machine) -> bool:
    """Whether a machine that is not listed may be listed soon: its order is new."""
    a_moment = timedelta(seconds=2 * settings.fleet_gc_pause_s)
    return now() - machine.created_at < (a_moment if machine.resource_id else _ORDER_TAKES)


def revoke(settings: Settings, name: str) -> None:
    """Revoke a machine's identity, close its tunnel and forget its deployment, if there are any."""
    if not name or "/" in name:  # it comes from a tag, which somebody may have changed by hand
        return
    if identity_file(settings, name).exists():
        access.remove(settings, name)
    record = records.find(settings, name)
    if record is not None and record.more:  # never the user's own machines, whatever a tag says
        close_tunnel(settings, name)
        records.forget(settings, name)
    host_keys.forget(settings, name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and a closed terminal act as Ctrl-C does, so that the clean-up runs."""
    with _handled(signal.default_int_handler, (signal.SIGTERM, signal.SIGHUP)):
        yield


@contextmanager
def uninterrupted(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP, or these signals: a clean-up must not be interrupted."""
    with _handled(signal.SIG_IGN, numbers or (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], Any] | signal.Handlers, numbers: Iterable[int]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)

"""Ending machines: those that are named, and those that Hive has forgotten."""

import dataclasses
import signal
import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from hive.home import access
from hive.home.users import identity_file
from hive.machines import host_keys
from hive.providers.machine import Machine, Records, now
from hive.providers.provider import Provider, Resource
from hive.remote import records
from hive.remote.ways import close_way
from hive.settings import Settings

# Somebody may be just about to ask for a machine, or to write down its id.
_BEING_ASKED_FOR = timedelta(minutes=10)
_GONE = "it has ended itself, or was taken away"


def end(settings: Settings, provider: Provider, machines: Sequence[Machine], why: str) -> list[Machine]:
    """End machines, revoke their identities and end their tunnels.

    Those whose id is not known are looked for by name, twice: what was just asked for may not be listed yet.

    Raises
    ------
    HiveError
        The provider does not answer; the machines' files stay, so that `hive fleet gc` tries again.
    """
    records = Records(settings)
    names = {one.name for one in machines}
    known = [one.resource_id for one in machines if one.resource_id]
    for one in machines:
        revoke(settings, one.name)
    provider.destroy(known)
    for pause_s in (0.0, settings.fleet_gc_pause_s)[: 1 if len(known) == len(names) else 2]:
        time.sleep(pause_s)
        provider.destroy([one.id for one in provider.list(records.hive) if one.name in names])
    return [records.keep(dataclasses.replace(one, ended_at=now(), why=why)) for one in machines]


def sweep(settings: Settings, providers: Iterable[Provider]) -> Iterator[tuple[Resource, str]]:
    """End what is tagged as this Hive's and should not be there, and forget what is not there any more.

    It looks twice, some seconds apart: a machine that was asked for a moment ago may not be listed the first time.
    Yields each machine that was ended, and why.
    """
    records = Records(settings)
    there: set[str] = set()
    looked_at = list(providers)
    for pause_s in (0.0, settings.fleet_gc_pause_s):
        time.sleep(pause_s)
        known = {one.name: one for one in records.all()}
        for provider in looked_at:
            for found in provider.list(records.hive):
                why = reason_to_end(found, known, now())
                if why:
                    provider.destroy([found.id])
                    revoke(settings, found.name)
                    yield found, why
                else:
                    there.add(found.name)
    note_gone(settings, looked_at, there)


def reason_to_end(found: Resource, known: Mapping[str, Machine], at: datetime) -> str:
    """Why a machine must not be there; empty where it may."""
    machine = known.get(found.name)
    if machine is None:
        return "nothing is known of it"
    if machine.ended_at is not None:
        return "it should have ended"
    if machine.expires_at <= at or (found.expires_at is not None and found.expires_at <= at):
        return "it is past its expiry"
    if machine.resource_id and machine.resource_id != found.id:
        return f"it is a twin of {machine.resource_id}"
    if not machine.resource_id and at - machine.created_at >= _BEING_ASKED_FOR:
        return "its launch was broken off"
    return ""


def may_come(settings: Settings, machine: Machine) -> bool:
    """Whether a machine that is not listed may be listed yet: it was asked for a moment ago."""
    a_moment = timedelta(seconds=2 * settings.fleet_gc_pause_s)
    return now() - machine.created_at < (a_moment if machine.resource_id else _BEING_ASKED_FOR)


def note_gone(settings: Settings, asked: Iterable[Provider], there: Container[str]) -> None:
    """Keep as ended what the providers that answered do not list any more; `there` has the names that they list.

    It cannot have cost more than until its expiry.
    """
    records, places = Records(settings), {(one.name, one.region) for one in asked}
    for machine in records.alive():
        is_asked_for = (machine.provider, machine.region) in places
        if is_asked_for and machine.name not in there and not may_come(settings, machine):
            revoke(settings, machine.name)
            records.keep(dataclasses.replace(machine, ended_at=min(now(), machine.expires_at), why=_GONE))


def revoke(settings: Settings, name: str) -> None:
    """Take a machine's identity back, end its tunnel and forget what was deployed there, as far as there is any."""
    if not name or "/" in name:  # it comes from a tag, which may have been changed by hand
        return
    if identity_file(settings, name).exists():
        access.remove(settings, name)
    record = records.find(settings, name)
    if record is not None and record.more:  # the user's own machines are none of ours, whatever a tag says
        close_way(settings, name)
        records.forget(settings, name)
    host_keys.forget(settings, name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a closed terminal and SIGTERM mean what Ctrl-C means: what was begun is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed(*numbers: signal.Signals) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, or these signals, pass unheard: what is cleaned up must be cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    which = numbers or (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in which}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)

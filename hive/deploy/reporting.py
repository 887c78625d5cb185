"""Waiting until a deployed worker reports, and saying why it does not."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from hive.broker import reachable
from hive.client import Session
from hive.deploy.host import Host
from hive.deploy.records import Record
from hive.deploy.target import nodes_of
from hive.deploy.ways import state_of
from hive.errors import DeployError
from hive.settings import Settings

_REPORT_S, _LOOK_EVERY_S = 120.0, 0.2
_ASK_EVERY_S = 3.0
_MOST_ENDS = 2


def names_of(record: Record) -> list[str]:
    """What the workers of a deployment are called: one for each capability."""
    return [f"{one.capability}@{record.name}" for one in nodes_of(record.capabilities)]


def reports(session: Session, record: Record) -> dict[str, Mapping[str, Any]]:
    """What the workers of a deployment have reported last, by name."""
    with reachable(session.settings):
        found = {one["name"]: one for one in session.registry.workers()}
    return {name: found[name] for name in names_of(record) if name in found}


def wait_for_workers(
    settings: Settings, record: Record, before: Mapping[str, Mapping[str, Any]], look: Callable[[], Host]
) -> tuple[Mapping[str, Any], ...]:
    """Wait until every worker reports by another process than `before`; returns what they report.

    Raises
    ------
    DeployError
        They do not; the text has the last words of their log.
    """
    end = time.monotonic() + _REPORT_S
    ask_at = time.monotonic() + _ASK_EVERY_S
    names, session = names_of(record), Session(settings)
    while time.monotonic() < end:
        found = reports(session, record)
        if all(name in found and found[name]["pid"] != before.get(name, {}).get("pid") for name in names):
            return tuple(found[name] for name in names)
        if time.monotonic() > ask_at and _is_failing(host := look()):
            raise DeployError(_why(settings, record, host))
        ask_at = ask_at if time.monotonic() < ask_at else time.monotonic() + _ASK_EVERY_S
        time.sleep(_LOOK_EVERY_S)
    raise DeployError(_why(settings, record, look()))


def _is_failing(host: Host) -> bool:
    return not host.is_running or host.ends >= _MOST_ENDS


def _why(settings: Settings, record: Record, host: Host) -> str:
    tunnel = state_of(settings, record.name)
    if tunnel is not None and tunnel.state != "up":
        return f"The tunnel to {record.destination} is {tunnel.state}: {tunnel.error or 'ssh says nothing'}."
    place = f"{host.home}/.hive-worker/{record.name}/worker.log"
    words = f" Its last words: {host.log.rstrip('.')}." if host.log else ""
    what = "ends as soon as it is started" if _is_failing(host) else f"does not report within {_REPORT_S:g} s"
    return f"The worker on {record.destination} {what}.{words} Its log there: {place}."

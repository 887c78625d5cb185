"""What `hive fleet ls` shows: what this Hive knows, what the provider says, and what the workers report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hive.errors import UnreachableError
from hive.fleet.launch import nodes
from hive.fleet.machine import Machine, Records, now, read_time, written
from hive.fleet.provider import Provider, Resource
from hive.fleet.sweep import note_gone
from hive.settings import Settings


@dataclass(frozen=True)
class Row:
    """One machine as it is shown."""

    name: str
    provider: str
    id: str
    type: str
    region: str
    is_spot: bool
    state: str
    age_s: float
    idle_s: float | None
    cost_usd: float | None
    expires_at: str
    workers: list[str]
    why: str


def rows(
    settings: Settings,
    providers: Iterable[Provider],
    reports: Iterable[Mapping[str, Any]],
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """All machines. Those of which the provider knows nothing any more have ended, and are kept as such.

    A provider that does not answer is said; what is known of its machines without it is shown.
    """
    records, at = Records(settings), now()
    found: dict[str, Resource] = {}
    asked: list[Provider] = []
    for provider in providers:
        try:
            found |= {one.name: one for one in provider.list(records.hive)}
            asked.append(provider)
        except UnreachableError as error:
            say(str(error))
    note_gone(settings, asked, found)
    by_name = {one["name"]: one for one in reports}
    return [_row(machine, found.get(machine.name), by_name, at) for machine in records.all()]


def _row(machine: Machine, resource: Resource | None, reports: Mapping[str, Mapping[str, Any]], at: datetime) -> Row:
    said = [reports[name] for name in sorted(nodes(machine)) if name in reports]
    over = machine.ended_at or at
    return Row(
        name=machine.name,
        provider=machine.provider,
        id=machine.resource_id,
        type=machine.type,
        region=machine.region,
        is_spot=machine.is_spot,
        state=_state(machine, resource, said),
        age_s=(over - machine.created_at).total_seconds(),
        idle_s=_idle_s(said, at) if machine.ended_at is None else None,
        cost_usd=machine.cost_usd(at),
        expires_at=written(machine.expires_at),
        workers=[str(one["name"]) for one in said],
        why=machine.why,
    )


def _state(machine: Machine, resource: Resource | None, said: list[Mapping[str, Any]]) -> str:
    if machine.ended_at is not None:
        return "ended"
    if said:
        return "busy" if any(one["busy"] for one in said) else "idle"
    return "unknown" if resource is None else f"{resource.state}, silent"


def _idle_s(said: list[Mapping[str, Any]], at: datetime) -> float | None:
    """For how long none of its workers has had a job [s]."""
    idle = []
    for one in said:
        seen = read_time(one["last_seen"])
        if seen is None or one.get("idle_s") is None:
            return None
        idle.append(one["idle_s"] + max(0.0, (at - seen).total_seconds()) if not one["busy"] else 0.0)
    return min(idle, default=None)

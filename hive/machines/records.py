"""The machines that this Hive rents: one file for each, written before the machine is ordered."""

import dataclasses
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hive.errors import NotFoundError
from hive.providers.provider import format_time
from hive.settings import Settings, secret, write_private
from hive.wire.record import read_record


@dataclass(frozen=True)
class Machine:
    """A rented machine, from before its order until after its end. Its worker and its identity have the same name."""

    name: str
    launch: str
    count: int
    token: str
    provider: str
    type: str
    region: str
    is_spot: bool
    capabilities: str
    price_usd_per_h: float | None
    created_at: datetime
    expires_at: datetime
    resource_id: str = ""
    ended_at: datetime | None = None
    why: str = ""

    def cost_usd(self, now: datetime) -> float | None:
        """Upper bound of the cost so far; None if the price is unknown."""
        if self.price_usd_per_h is None:
            return None
        hours = max(0.0, ((self.ended_at or now) - self.created_at).total_seconds() / 3600)
        return self.price_usd_per_h * hours


class Records:
    """The machines of one Hive, each in a file of its own."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "fleet"

    @property
    def hive(self) -> str:
        """The id that tells this Hive's machines from those of others in the same account."""
        file = self._folder / "id"
        if not file.exists():
            write_private(file, secrets.token_hex(6))
        return secret(file)

    def save(self, machine: Machine) -> Machine:
        """Write a machine's file atomically."""
        text = json.dumps(dataclasses.asdict(machine), default=format_time)
        write_private(self._folder / f"{machine.name}.json", text)
        return machine

    def all(self) -> list[Machine]:
        """All machines, the oldest first, including those that have ended."""
        machines = map(_read, self._folder.glob("*.json"))
        return sorted(machines, key=lambda machine: (machine.created_at, machine.name))

    def alive(self) -> list[Machine]:
        """The machines that have not ended, as far as this Hive knows."""
        return [machine for machine in self.all() if machine.ended_at is None]

    def find(self, words: Sequence[str]) -> Iterator[Machine]:
        """Find machines by names, by the provider's ids, or by the first letters of either.

        Raises
        ------
        NotFoundError
            No machine has that name, or several begin like it.
        """
        machines = self.alive()
        for word in words:
            matches = [each for each in machines if word in (each.name, each.resource_id)] or [
                each for each in machines if each.name.startswith(word) or each.resource_id.startswith(word)
            ]
            names = ", ".join(each.name for each in matches or machines) or "none"
            if not matches:
                raise NotFoundError(f"There is no rented machine {word!r}. Known are: {names}.")
            if len(matches) > 1:
                raise NotFoundError(f"{word!r} is ambiguous: {names}. Write more of the name.")
            yield matches[0]


def _read(file: Path) -> Machine:
    return read_record(Machine, file.read_bytes(), str(file))

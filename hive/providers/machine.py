"""What this Hive knows of the machines that it rents: a file for each, written before the machine is asked for."""

import dataclasses
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hive.errors import NotFoundError
from hive.settings import Settings, secret, write_private


@dataclass(frozen=True)
class Machine:
    """A rented machine, from the intent to have it until after its end. Its name is that of its worker and identity."""

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
        """What it has cost so far, at most; None where its price is not known."""
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
        """What tells this Hive's machines from those of others in the same account."""
        file = self._folder / "id"
        if not file.exists():
            write_private(file, secrets.token_hex(6))
        return secret(file)

    def keep(self, machine: Machine) -> Machine:
        """Write a machine's file; it is never seen half-written."""
        write_private(self._folder / f"{machine.name}.json", json.dumps(dataclasses.asdict(machine), default=written))
        return machine

    def all(self) -> list[Machine]:
        """Every machine, ended ones too, the oldest first."""
        return sorted(map(_read, self._folder.glob("*.json")), key=lambda one: (one.created_at, one.name))

    def alive(self) -> list[Machine]:
        """Those of which no end is known."""
        return [one for one in self.all() if one.ended_at is None]

    def find(self, words: Sequence[str]) -> Iterator[Machine]:
        """The machines that are meant by names, by their provider's ids, or by the first letters of either.

        Raises
        ------
        NotFoundError
            Nothing is called so, or several are.
        """
        known = self.alive()
        for word in words:
            found = [one for one in known if word in (one.name, one.resource_id)] or [
                one for one in known if one.name.startswith(word) or one.resource_id.startswith(word)
            ]
            names = ", ".join(one.name for one in found or known) or "none"
            if not found:
                raise NotFoundError(f"There is no rented machine {word!r}. Known are: {names}.")
            if len(found) > 1:
                raise NotFoundError(f"{word!r} begins several machines: {names}. Write more of it.")
            yield found[0]


def now() -> datetime:
    """The time now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def written(time: datetime) -> str:
    """A time as it is kept, tagged and sent.

    >>> written(datetime(2026, 11, 26, 23, 5, tzinfo=UTC))
    '2026-11-26T23:05:00Z'
    """
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime | None:
    """Read a time that was written so; None where it is none: a tag may have been changed by hand."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(file: Path) -> Machine:
    values = json.loads(file.read_text())
    times = {name: read_time(values[name] or "") for name in ("created_at", "expires_at", "ended_at")}
    return Machine(**(values | times))

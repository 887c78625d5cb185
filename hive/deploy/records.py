"""What this Mac side remembers of the machines that it has deployed to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hive.errors import NotFoundError
from hive.settings import Settings, write_private


@dataclass(frozen=True)
class Record:
    """One deployment. `ports` are those at which its tunnel ends there, for Redis and the gateway; None: no tunnel.

    `more` are settings of the worker there, by the name of their field: a rented machine's say when it ends. `is_left`
    says that the deployment was taken back while the machine was away, which still has its files.
    """

    name: str
    destination: str
    ssh_config: str
    capabilities: str
    via: str
    python: str
    allows_scripts: bool
    ports: tuple[int, int] | None
    is_left: bool = False
    more: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        names = ("name", "destination", "capabilities", "via")
        return {name: getattr(self, name) for name in names} | {"is_left": self.is_left}


def find(settings: Settings, name: str) -> Record | None:
    """The deployment of that name; None where there is none."""
    file = _file(settings, name)
    return _read(file) if file.exists() else None


def find_all(settings: Settings) -> list[Record]:
    """All deployments, by name."""
    return [_read(file) for file in sorted(_folder(settings).glob("*.json"))]


def find_or_refuse(settings: Settings, name: str) -> Record:
    """The deployment of that name.

    Raises
    ------
    NotFoundError
        Lists those that there are.
    """
    found = find(settings, name)
    if found is None:
        known = ", ".join(one.name for one in find_all(settings)) or "none"
        raise NotFoundError(f"Nothing is deployed as {name!r}. Known are: {known}.")
    return found


def keep(settings: Settings, record: Record) -> None:
    """Write a deployment down."""
    write_private(_file(settings, record.name), json.dumps(asdict(record)))


def forget(settings: Settings, name: str) -> None:
    """Forget a deployment."""
    _file(settings, name).unlink(missing_ok=True)


def _read(file: Path) -> Record:
    read = json.loads(file.read_text())
    return Record(**{**read, "ports": read["ports"] and (read["ports"][0], read["ports"][1])})


def _folder(settings: Settings) -> Path:
    return settings.home / "deployed"


def _file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.json"

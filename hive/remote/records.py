"""The records of deployed workers, and the identity and settings of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hive.errors import DeployError, NotFoundError
from hive.home import access
from hive.home.network import network_access
from hive.home.service import HOST
from hive.home.users import identities
from hive.remote.host import nodes_of
from hive.settings import ROLES, SETTINGS, Settings, write_private
from hive.versions import store_kind
from hive.wire.record import read_record


@dataclass(frozen=True)
class Record:
    """One deployment. `ports` are the ends of its tunnel there, for Redis and the gateway; None: no tunnel.

    `more` are settings of the worker by field name: those of a rented machine tell when it ends. `is_left` means that
    the deployment was removed while the machine did not answer, and its files are still there.
    """

    name: str
    destination: str
    ssh_config: str
    capabilities: str
    runtime: str
    python: str
    allows_scripts: bool
    ports: tuple[int, int] | None
    is_left: bool = False
    more: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        names = ("name", "destination", "capabilities", "runtime")
        return {name: getattr(self, name) for name in names} | {"is_left": self.is_left}


def find(settings: Settings, name: str) -> Record | None:
    """The deployment of that name; None if there is none."""
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
        Lists the known ones.
    """
    record = find(settings, name)
    if record is None:
        names = ", ".join(record.name for record in find_all(settings)) or "none"
        raise NotFoundError(f"Nothing is deployed as {name!r}. Known are: {names}.")
    return record


def save(settings: Settings, record: Record) -> None:
    """Write the record of a deployment."""
    write_private(_file(settings, record.name), json.dumps(asdict(record)))


def forget(settings: Settings, name: str) -> None:
    """Delete the record of a deployment."""
    _file(settings, name).unlink(missing_ok=True)


def _read(file: Path) -> Record:
    text = file.read_bytes().replace(b'"via":', b'"runtime":')  # its name before 0.1.0
    return read_record(Record, text, str(file))


def _folder(settings: Settings) -> Path:
    return settings.home / "deployed"


def _file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.json"


_LOCAL_STORES = ("folder", "gateway")  # kinds of stores that the gateway serves
# Both sides must agree on these settings.
_SHARED = ("lease_s", "max_attempts")
_CERTIFICATE = "cert.pem"


def is_outdated(settings: Settings, record: Record) -> bool:
    """Whether the worker needs a new identity: for other capabilities, or for another route to this machine."""
    queues = [node.capability for node in nodes_of(record.capabilities)]
    queues_by_name = {identity.name: list(identity.queues) for identity in identities(settings)}
    return queues_by_name.get(record.name) != queues or not _fits(settings, _identity_folder(settings, record))


def identity_for(settings: Settings, record: Record) -> Path:
    """The folder of the worker's identity; makes a new one if it is outdated."""
    if not is_outdated(settings, record):
        return _identity_folder(settings, record)
    revoke(settings, record.name)
    return access.add(settings, record.name, [node.capability for node in nodes_of(record.capabilities)])


def refuse_foreign(settings: Settings, name: str) -> None:
    """Refuse the name of a role, or of an identity that the user has added.

    Raises
    ------
    DeployError
        The message tells how to choose another one.
    """
    if name in (*ROLES, "default"):
        raise DeployError(f"A worker cannot be called {name}. Choose another name: --name NAME.")
    if name in {identity.name for identity in identities(settings)}:
        raise DeployError(f"{name} is an identity of `hive access add`. Choose another name: --name NAME.")


def revoke(settings: Settings, name: str) -> None:
    """Revoke an identity, if it exists."""
    try:
        access.remove(settings, name)
    except NotFoundError:
        return


def home_files(settings: Settings, record: Record, folder: Path) -> Mapping[str, bytes]:
    """The files of the machine's HIVE_HOME: the identity, with settings for its route to this machine."""
    files = {f"home/{path.name}": path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    values = _values(settings, record)
    config = files["home/config.toml"].decode().splitlines()
    others = [line for line in config if line.partition("=")[0].strip() not in values]
    lines = [*others, *(f"{name} = {toml(value)}" for name, value in values.items()), ""]
    return files | {"home/config.toml": "\n".join(lines).encode()}


def _identity_folder(settings: Settings, record: Record) -> Path:
    return settings.home / "access" / record.name


def _values(settings: Settings, record: Record) -> dict[str, object]:
    values: dict[str, object] = {"worker_capabilities": record.capabilities}
    if record.ports is not None:
        redis, gateway = record.ports
        secure = "s" if network_access(settings) else ""
        values["broker_url"] = f"redis{secure}://{record.name}@{HOST}:{redis}/0"
        values["gateway_url"] = f"http{secure}://{HOST}:{gateway}"
    if record.allows_scripts:
        values["allow_scripts"] = True
    if store_kind(settings.store) not in _LOCAL_STORES:
        values["store"] = settings.store
    return values | changed(settings, _SHARED) | dict(record.more)


def changed(settings: Settings, names: Sequence[str]) -> dict[str, object]:
    """The settings among these that differ from their defaults."""
    defaults = {setting.name: setting.default for setting in SETTINGS}
    return {name: getattr(settings, name) for name in names if getattr(settings, name) != defaults[name]}


def toml(value: object) -> str:
    """A value as TOML."""
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are the same in both


def _fits(settings: Settings, folder: Path) -> bool:
    """Whether an identity was made for the route that is open now."""
    config = folder / "config.toml"
    if not config.exists():
        return False
    network = network_access(settings)
    if network is None:
        return not (folder / _CERTIFICATE).exists()
    broker = next((line for line in config.read_text().splitlines() if line.startswith("broker_url")), "")
    return (folder / _CERTIFICATE).exists() and urlsplit(broker.partition('"')[2].rstrip('"')).hostname == network.name

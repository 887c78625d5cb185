"""The identity of a deployed worker, and the settings that it finds on its machine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from hive.deploy.records import Record
from hive.deploy.target import nodes_of
from hive.errors import DeployError, NotFoundError
from hive.orchestrator import access
from hive.orchestrator.network import opened
from hive.orchestrator.service import HOST
from hive.settings import ROLES, VARIABLES, Settings
from hive.terms import store_kind

_HERE = ("folder", "gateway")  # kinds of stores that the gateway serves
# Both sides must agree on these.
_SHARED = ("lease_s", "max_attempts")
_CERTIFICATE = "cert.pem"


def is_outdated(settings: Settings, record: Record) -> bool:
    """Whether the worker needs another identity: it shall serve other capabilities, or come by another way."""
    queues = [one.capability for one in nodes_of(record.capabilities)]
    known = {one.name: list(one.queues) for one in access.listed(settings)}
    return known.get(record.name) != queues or not _fits(settings, _folder(settings, record))


def identity_for(settings: Settings, record: Record) -> Path:
    """The folder of the worker's identity, made anew where that is outdated."""
    if not is_outdated(settings, record):
        return _folder(settings, record)
    revoke(settings, record.name)
    return access.add(settings, record.name, [one.capability for one in nodes_of(record.capabilities)])


def refuse_foreign(settings: Settings, name: str) -> None:
    """Refuse a name that is a role's, or that was given to a machine by hand.

    Raises
    ------
    DeployError
        Says how to choose another one.
    """
    if name in (*ROLES, "default"):
        raise DeployError(f"A worker cannot be called {name}. Choose another name: --name NAME.")
    if name in {one.name for one in access.listed(settings)}:
        raise DeployError(f"{name} is an identity of `hive access add`. Choose another name: --name NAME.")


def revoke(settings: Settings, name: str) -> None:
    """Take an identity back, if it is there."""
    try:
        access.remove(settings, name)
    except NotFoundError:
        return


def home_files(settings: Settings, record: Record, folder: Path) -> Mapping[str, bytes]:
    """What goes into the HIVE_HOME of the machine: the identity, with settings that fit its way to this one."""
    files = {f"home/{path.name}": path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    given = files["home/config.toml"].decode().splitlines()
    values = _values(settings, record)
    kept = [line for line in given if line.partition("=")[0].strip() not in values]
    lines = [*kept, *(f"{name} = {toml(value)}" for name, value in values.items()), ""]
    return files | {"home/config.toml": "\n".join(lines).encode()}


def _folder(settings: Settings, record: Record) -> Path:
    return settings.home / "access" / record.name


def _values(settings: Settings, record: Record) -> dict[str, object]:
    values: dict[str, object] = {"worker_capabilities": record.capabilities}
    if record.ports is not None:
        redis, gateway = record.ports
        secure = "s" if opened(settings) else ""
        values["broker_url"] = f"redis{secure}://{record.name}@{HOST}:{redis}/0"
        values["gateway_url"] = f"http{secure}://{HOST}:{gateway}"
    if record.allows_scripts:
        values["allow_scripts"] = True
    if store_kind(settings.store) not in _HERE:
        values["store"] = settings.store
    return values | changed(settings, _SHARED) | dict(record.more)


def changed(settings: Settings, names: Sequence[str]) -> dict[str, object]:
    """Those settings that are not as they are by default."""
    defaults = {one.name: one.default for one in VARIABLES}
    return {name: getattr(settings, name) for name in names if getattr(settings, name) != defaults[name]}


def toml(value: object) -> str:
    """A value as config.toml has it."""
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are the same in both


def _fits(settings: Settings, folder: Path) -> bool:
    """Whether an identity was made for the way that is open now."""
    config = folder / "config.toml"
    if not config.exists():
        return False
    found = opened(settings)
    if found is None:
        return not (folder / _CERTIFICATE).exists()
    broker = next((line for line in config.read_text().splitlines() if line.startswith("broker_url")), "")
    return (folder / _CERTIFICATE).exists() and urlsplit(broker.partition('"')[2].rstrip('"')).hostname == found.name

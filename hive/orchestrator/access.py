"""Identities for the workers of other machines: each may serve some queues only, and is revoked alone."""

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from hive.broker import reachable
from hive.errors import NotFoundError, SettingError, UnreachableError
from hive.orchestrator import redis_server
from hive.orchestrator.home import elsewhere, hand_over
from hive.orchestrator.keys import give_worker_keys
from hive.orchestrator.network import opened
from hive.orchestrator.service import HOST
from hive.orchestrator.users import Identity, identities, identity_file, is_identity, keep_identity, worker_user
from hive.settings import ROLES, Settings, secret, tls_folder, worker_token, write_private

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_CONFIG = """\
# Made by `hive access add {name}` for one machine. This folder is the HIVE_HOME there.
broker_url = "{broker}"
password_file = "redis.password"
gateway_url = "{gateway}"
token_file = "gateway.token"
signing_key = "worker.key"
trust_file = "trusted.json"
worker_capabilities = "{capabilities}"
"""
_ENCRYPTED = """\
ca_file = "ca.pem"
cert_file = "cert.pem"
key_file = "key.pem"
"""


def add(settings: Settings, name: str, queues: Sequence[str], folder: Path | None = None) -> Path:
    """Make an identity for a worker. Returns the folder with what its machine needs.

    Raises
    ------
    SettingError
        The name cannot be used or is taken, or the folder is there already.
    UnreachableError
        The home of this Hive is elsewhere, and cannot be reached.
    """
    if not _NAME.fullmatch(name) or name in (*ROLES, "default"):
        raise SettingError(f"{name!r} cannot be an identity's name: small letters, digits and dashes, such as studio.")
    if identity_file(settings, name).exists():
        raise SettingError(f"There is an identity {name} already. Revoke it first: hive access remove {name}.")
    place = folder or _handed_out(settings, name)
    if place.exists():
        raise SettingError(f"{place} is there already. Name another folder: --out DIR.")
    password = secrets.token_urlsafe(32)
    _hand_out(settings, name, queues, password, place)
    identity = keep_identity(settings, name, queues, password)
    try:
        hand_over(settings, identity_file(settings, name).name, identity_file(settings, name).read_text())
    except UnreachableError:
        identity_file(settings, name).unlink()
        shutil.rmtree(place)
        raise
    if _is_up(settings):
        with reachable(settings):
            worker_user(identity).apply(redis_server.admin(settings))
    return place


def listed(settings: Settings) -> list[Identity]:
    """All identities, by name."""
    return identities(settings)


def remove(settings: Settings, name: str) -> None:
    """Revoke an identity: its connections are closed at once, and neither Redis nor the gateway knows it any more.

    Raises
    ------
    NotFoundError
        There is no such identity.
    UnreachableError
        The home of this Hive is elsewhere, and cannot be reached.
    """
    if name in ROLES or not is_identity(settings, name):
        known = ", ".join(one.name for one in identities(settings)) or "none"
        raise NotFoundError(f"There is no identity {name!r}. Known are: {known}.")
    hand_over(settings, identity_file(settings, name).name, None)
    identity_file(settings, name).unlink()
    shutil.rmtree(_handed_out(settings, name), ignore_errors=True)
    if _is_up(settings):
        with reachable(settings):
            client = redis_server.admin(settings)
            client.acl_deluser(name)
            # What it held is sent again by others, once the leases of its jobs have ended.
            client.delete(*(f"hive:unacked:{name}{part}" for part in ("", ":index", ":mutex")))


def _is_up(settings: Settings) -> bool:
    """Whether there is a Redis to tell: here, or where the home is."""
    return redis_server.running_pid(settings) is not None or elsewhere(settings) is not None


def _handed_out(settings: Settings, name: str) -> Path:
    return settings.home / "access" / name


def _hand_out(settings: Settings, name: str, queues: Sequence[str], password: str, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    write_private(folder / "redis.password", password)
    write_private(folder / "gateway.token", worker_token(secret(settings.home / "gateway.token"), name))
    give_worker_keys(settings, folder, queues)
    found = opened(settings)
    scheme, host = ("s", found.name) if found else ("", HOST)
    config = _CONFIG.format(
        name=name,
        broker=f"redis{scheme}://{name}@{host}:{settings.redis_port}/0",
        gateway=f"http{scheme}://{host}:{settings.gateway_port}",
        capabilities=",".join(queues),
    )
    if found is not None:
        from hive.orchestrator.certificates import Authority  # noqa: PLC0415  100 ms that a tunnel need not pay

        Authority(tls_folder(settings.home)).give(folder, name)
        config += _ENCRYPTED
    write_private(folder / "config.toml", config)

"""Identities for the workers of other machines: each may serve some queues only, and is revoked alone."""

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import redis

from hive.errors import NotFoundError, SettingError, UnreachableError
from hive.home import containers, redis_server
from hive.home.keys import give_worker_keys
from hive.home.location import elsewhere, hand_over
from hive.home.network import MAC, network_access
from hive.home.service import HOST
from hive.home.users import identities, identity_file, is_identity, keep_identity, worker_user
from hive.settings import ROLES, Settings, containers_folder, secret, tls_folder, worker_token, write_private
from hive.store import keys
from hive.store.connection import reachable

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


def add(
    settings: Settings, name: str, queues: Sequence[str], folder: Path | None = None, *, in_container: bool = False
) -> Path:
    """Make an identity for a worker. Returns the folder with what its machine needs.

    A container reads its files as another user, finds the Mac by the name in its compose file, and is always given a
    certificate, because that file mounts it.

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
    _hand_out(settings, name, queues, password, place, in_container)
    identity = keep_identity(settings, name, queues, password)
    try:
        hand_over(settings, identity_file(settings, name).name, identity_file(settings, name).read_text())
    except UnreachableError:
        identity_file(settings, name).unlink()
        shutil.rmtree(place)
        raise
    _tell_containers(settings)
    with reachable(settings):
        if (client := _redis(settings)) is not None:
            worker_user(identity).apply(client)
    return place


def remove(settings: Settings, name: str) -> bool:
    """Revoke an identity: its connections are closed at once, and neither Redis nor the gateway knows it any more.

    Returns whether Redis runs, and knows; one that does not run knows when it is started.

    Raises
    ------
    NotFoundError
        There is no such identity.
    UnreachableError
        The home of this Hive is elsewhere, and cannot be reached.
    """
    if name in ROLES or not is_identity(settings, name):
        names = ", ".join(identity.name for identity in identities(settings)) or "none"
        raise NotFoundError(f"There is no identity {name!r}. Identities: {names}.")
    hand_over(settings, identity_file(settings, name).name, None)
    identity_file(settings, name).unlink()
    shutil.rmtree(_handed_out(settings, name), ignore_errors=True)
    _tell_containers(settings)
    with reachable(settings):
        client = _redis(settings)
        if client is None:
            return False
        client.acl_deluser(name)
        # What it held is sent again by others, once the leases of its jobs have ended.
        client.delete(*keys.unacked_all(name))
    return True


def _redis(settings: Settings) -> redis.Redis | None:
    """Redis, to be told who may come in, where it runs: here, in a container, or where the home is."""
    return redis_server.admin(settings) if elsewhere(settings) else redis_server.running_admin(settings)


def _tell_containers(settings: Settings) -> None:
    if containers_folder(settings.home).exists():
        containers.write(settings)


def _handed_out(settings: Settings, name: str) -> Path:
    return settings.home / "access" / name


def _hand_out(
    settings: Settings, name: str, queues: Sequence[str], password: str, folder: Path, in_container: bool
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    write_private(folder / "redis.password", password)
    write_private(folder / "gateway.token", worker_token(secret(settings.home / "gateway.token"), name))
    give_worker_keys(settings, folder, queues)
    write_private(folder / "config.toml", _config(settings, name, queues, in_container))
    if in_container or network_access(settings):
        from hive.home.certificates import CertificateAuthority  # noqa: PLC0415  100 ms that a tunnel need not pay

        CertificateAuthority(tls_folder(settings.home)).issue(folder, name)
    if in_container:
        containers.let_read(folder)


def _config(settings: Settings, name: str, queues: Sequence[str], in_container: bool) -> str:
    """The settings of its machine: the way to this one, and who it is."""
    network = network_access(settings)
    host = MAC if in_container else network.name if network else HOST
    scheme = "s" if network else ""
    config = _CONFIG.format(
        name=name,
        broker=f"redis{scheme}://{name}@{host}:{settings.redis_port}/0",
        gateway=f"http{scheme}://{host}:{settings.gateway_port}",
        capabilities=",".join(queues),
    )
    return config + (_ENCRYPTED if network else "")

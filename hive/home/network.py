"""A Hive open to the network: under which name and address, and with which certificates."""

import json
import shutil
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from hive.errors import ServiceError
from hive.home.service import HOST
from hive.settings import ROLES, Settings, opened_file, tls_folder, write_private
from hive.wire.record import read_record

SERVER = "server"
# What workers in containers call the Mac: docker-compose.worker.yml says which address that is.
MAC = "mac"
# What the containers of the Mac side call each other.
REDIS, GATEWAY = "redis", "gateway"
# TEST-NET-3 (RFC 5737): nothing is sent there; the question is by which of this machine's addresses it would be.
_ELSEWHERE = ("203.0.113.1", 9)


@dataclass(frozen=True)
class NetworkAccess:
    """What others call this machine, and the address at which it listens for them."""

    name: str
    address: str


def network_access(settings: Settings) -> NetworkAccess | None:
    """How the Mac side is open to the network; None where it is not."""
    file = opened_file(settings.home)
    return read_record(NetworkAccess, file.read_bytes(), str(file)) if file.exists() else None


def open_to_network(settings: Settings, name: str | None) -> NetworkAccess:
    """Make what is needed to be open: an authority, a certificate for the servers, and one for each process here.

    Raises
    ------
    ServiceError
        The name is none of this machine.
    """
    name = name or _own_address()
    access = NetworkAccess(name, _address_of(name))
    _certify(settings, access, (name, access.address, HOST, "localhost", MAC))
    return access


def open_in_containers(settings: Settings, name: str | None) -> None:
    """The same for containers, which speak TLS always; which addresses lead to them, the compose file says."""
    earlier = network_access(settings)
    access = NetworkAccess(name or (earlier.name if earlier else HOST), GATEWAY)
    _certify(settings, access, (access.name, HOST, "localhost", MAC, REDIS))


def _certify(settings: Settings, access: NetworkAccess, names: Iterable[str]) -> None:
    from hive.home.certificates import CertificateAuthority  # noqa: PLC0415  100 ms that most starts need not pay

    authority = CertificateAuthority(tls_folder(settings.home))
    authority.issue(tls_folder(settings.home) / SERVER, access.name, list(dict.fromkeys(names)))
    for role in ROLES:
        authority.issue(tls_folder(settings.home) / role, role)
    write_private(opened_file(settings.home), json.dumps(asdict(access)))


def close_to_network(settings: Settings) -> None:
    """Forget that it was open; the authority stays, so that what it has given is good again next time."""
    opened_file(settings.home).unlink(missing_ok=True)
    for name in (SERVER, *ROLES):
        shutil.rmtree(tls_folder(settings.home) / name, ignore_errors=True)


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as error:
            raise ServiceError("This machine is in no network. Name an address: hive up --lan --address IP.") from error
        return str(probe.getsockname()[0])


def _address_of(name: str) -> str:
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise ServiceError(f"{name} is no address of this machine. Name one: hive up --lan --address IP.") from error
    if address in ("0.0.0.0", HOST):  # noqa: S104  refused
        raise ServiceError(f"{name} is not what others call this machine. Name that: hive up --lan --address IP.")
    return address

"""Whether the Mac side is open to the network: at which address, and with which certificates. At first it is not."""

import json
import shutil
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from hive.errors import ServiceError
from hive.orchestrator.service import HOST
from hive.settings import ROLES, Settings, opened_file, tls_folder, write_private

SERVER = "server"
# What workers in containers call the Mac: docker-compose.worker.yml says which address that is.
MAC = "mac"
# What the containers of the Mac side call each other.
REDIS, GATEWAY = "redis", "gateway"
# TEST-NET-3 (RFC 5737): nothing is sent there; the question is by which of this machine's addresses it would be.
_ELSEWHERE = ("203.0.113.1", 9)


@dataclass(frozen=True)
class Opened:
    """What others call this machine, and the address at which it listens for them."""

    name: str
    address: str


def opened(settings: Settings) -> Opened | None:
    """How the Mac side is open to the network; None where it is not."""
    file = opened_file(settings.home)
    return Opened(**json.loads(file.read_text())) if file.exists() else None


def open_to_network(settings: Settings, name: str | None) -> Opened:
    """Make what is needed to be open: an authority, a certificate for the servers, and one for each process here.

    Raises
    ------
    ServiceError
        The name is none of this machine.
    """
    name = name or _own_address()
    found = Opened(name, _address_of(name))
    _certify(settings, found, (name, found.address, HOST, "localhost", MAC))
    return found


def open_in_containers(settings: Settings, name: str | None) -> None:
    """The same for containers, which speak TLS always; which addresses lead to them, the compose file says."""
    earlier = opened(settings)
    found = Opened(name or (earlier.name if earlier else HOST), GATEWAY)
    _certify(settings, found, (found.name, HOST, "localhost", MAC, REDIS))


def _certify(settings: Settings, found: Opened, names: Iterable[str]) -> None:
    from hive.orchestrator.certificates import Authority  # noqa: PLC0415  100 ms that most starts need not pay

    authority = Authority(tls_folder(settings.home))
    authority.give(tls_folder(settings.home) / SERVER, found.name, list(dict.fromkeys(names)))
    for role in ROLES:
        authority.give(tls_folder(settings.home) / role, role)
    write_private(opened_file(settings.home), json.dumps(asdict(found)))


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

"""A service on this machine, and what all of them need."""

import socket
from dataclasses import dataclass

from hive.errors import ServiceError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """A service on this machine."""

    name: str
    address: str
    pid: int
    is_new: bool


def refuse_taken_port(port: int, flag: str) -> None:
    """Refuse a port that another program uses.

    Raises
    ------
    ServiceError
        Says which port, and how to choose another.
    """
    if not _is_free(port):
        other = next((near for near in range(port + 1, 1 << 16) if _is_free(near)), "PORT")
        raise ServiceError(f"Port {port} is taken by another program. Choose another: hive up {flag} {other}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

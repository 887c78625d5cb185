"""A service on this machine, and what all of them need."""

import socket
import time
from dataclasses import dataclass

import psutil

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


def has_ended(process: psutil.Process, within_s: float) -> bool:
    """Wait for a process to end; one that has ended and that nobody has taken note of yet counts as well."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

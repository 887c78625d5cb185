"""The Mac side: Redis, the gateway and the tunnels to other machines, started and stopped together."""

import signal
import threading

from hive.errors import ServiceError
from hive.home import gateway_process, log_files, redis_server, tunnels
from hive.home.keys import make_keys
from hive.home.location import elsewhere, refuse_while_moving
from hive.home.network import close_to_network, network_access, open_to_network
from hive.home.overview import overview
from hive.home.redis_server import running_pid
from hive.home.service import Service
from hive.settings import Settings, containers_folder, start_command

__all__ = [
    "Service",
    "bring_up",
    "elsewhere",
    "overview",
    "running_pid",
    "start",
    "start_open",
    "stop",
    "stop_services",
    "supervise",
]

_LOOK_EVERY_S = 2.0


def start(settings: Settings, *, with_gateway: bool = True) -> list[Service]:
    """Start what does not run yet, closed to the network unless it was opened (`start_open`) and runs still.

    Where the home is elsewhere, neither Redis nor the gateway is started here, but the tunnel to it.

    Raises
    ------
    ServiceError
        A program is missing, a port is taken, or something does not come up; or the home is being moved.
    """
    _refuse_containers(settings)
    refuse_while_moving(settings)
    if elsewhere(settings) is not None:
        stop_services(settings)
        return tunnels.start_all(settings)
    if redis_server.running_pid(settings) is None:
        close_to_network(settings)
    return bring_up(settings, with_gateway)


def start_open(settings: Settings, name: str | None, *, with_gateway: bool = True) -> list[Service]:
    """Start everything open to the network, at the address of that name, encrypted and for known machines only.

    Raises
    ------
    ServiceError
        As with `start`; or something runs already, and is not open there; or the home is elsewhere.
    """
    _refuse_containers(settings)
    refuse_while_moving(settings)
    if home := elsewhere(settings):
        raise ServiceError(f"The home of this Hive is {home.destination}, and is not opened from here. Use: hive up.")
    access = network_access(settings)
    if redis_server.running_pid(settings) is not None:
        if access is None or name not in (None, access.name):
            raise ServiceError("Redis runs already, and is not open to the network there. Stop it first: hive down.")
        return bring_up(settings, with_gateway)
    gateway_process.stop(settings)
    open_to_network(settings, name)
    try:
        return bring_up(settings, with_gateway)
    except ServiceError:
        if redis_server.running_pid(settings) is None:
            close_to_network(settings)
        raise


def _refuse_containers(settings: Settings) -> None:
    if containers_folder(settings.home).exists():
        raise ServiceError(f"The Mac side of {settings.home} runs in containers: {start_command(settings.home)}.")


def bring_up(settings: Settings, with_gateway: bool = True) -> list[Service]:
    """Start what does not run yet, whoever moves the home: for those who do, and have looked where it is."""
    log_files.cap(settings)
    make_keys(settings)
    services = [redis_server.start(settings)]
    if with_gateway:
        services.append(gateway_process.start(settings))
    return [*services, *tunnels.start_all(settings)]


def stop(settings: Settings) -> dict[str, int]:
    """Stop what runs; returns the former processes by name.

    Raises
    ------
    ServiceError
        One does not end.
    """
    return tunnels.stop_all(settings) | stop_services(settings)


def stop_services(settings: Settings) -> dict[str, int]:
    """Stop Redis and the gateway of this machine, and no tunnel; returns their former processes by name.

    Raises
    ------
    ServiceError
        One does not end.
    """
    stopped = {"gateway": gateway_process.stop(settings), "redis": redis_server.stop(settings)}
    return {name: pid for name, pid in stopped.items() if pid is not None}


def supervise(settings: Settings, *, with_gateway: bool = True) -> None:
    """Start what ends again, until this process is told to end (SIGTERM, Ctrl-C); then stop everything.

    Raises
    ------
    ServiceError
        As with `start` and `stop`.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.wait(_LOOK_EVERY_S):
        if _has_ended(settings, with_gateway):
            start(settings, with_gateway=with_gateway)
    stop(settings)


def _has_ended(settings: Settings, with_gateway: bool) -> bool:
    if elsewhere(settings) is not None:
        return any(tunnels.state(settings, tunnel).state == "stopped" for tunnel in tunnels.all_tunnels(settings))
    if with_gateway and gateway_process.running_pid(settings) is None:
        return True
    return redis_server.running_pid(settings) is None

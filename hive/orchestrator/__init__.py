"""The Mac side: Redis, the gateway and the tunnels to other machines, started and stopped together."""

from hive.errors import ServiceError
from hive.orchestrator import gateway_process, log_files, redis_server, tunnels
from hive.orchestrator.keys import make_keys
from hive.orchestrator.network import close_to_network, open_to_network, opened
from hive.orchestrator.overview import overview
from hive.orchestrator.redis_server import running_pid
from hive.orchestrator.service import Service
from hive.settings import Settings, containers_folder, start_command

__all__ = ["Service", "overview", "running_pid", "start", "start_open", "stop"]


def start(settings: Settings, *, with_gateway: bool = True) -> list[Service]:
    """Start what does not run yet, closed to the network unless it was opened (`start_open`) and runs still.

    Raises
    ------
    ServiceError
        A program is missing, a port is taken, or something does not come up.
    """
    _refuse_containers(settings)
    if redis_server.running_pid(settings) is None:
        close_to_network(settings)
    return _start(settings, with_gateway)


def start_open(settings: Settings, name: str | None, *, with_gateway: bool = True) -> list[Service]:
    """Start everything open to the network, at the address of that name, encrypted and for known machines only.

    Raises
    ------
    ServiceError
        As with `start`; or something runs already, and is not open there.
    """
    _refuse_containers(settings)
    found = opened(settings)
    if redis_server.running_pid(settings) is not None:
        if found is None or name not in (None, found.name):
            raise ServiceError("Redis runs already, and is not open to the network there. Stop it first: hive down.")
        return _start(settings, with_gateway)
    gateway_process.stop(settings)
    open_to_network(settings, name)
    try:
        return _start(settings, with_gateway)
    except ServiceError:
        if redis_server.running_pid(settings) is None:
            close_to_network(settings)
        raise


def _refuse_containers(settings: Settings) -> None:
    if containers_folder(settings.home).exists():
        raise ServiceError(f"The Mac side of {settings.home} runs in containers: {start_command(settings.home)}.")


def _start(settings: Settings, with_gateway: bool) -> list[Service]:
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
    ended = tunnels.stop_all(settings)
    stopped = {"gateway": gateway_process.stop(settings), "redis": redis_server.stop(settings)}
    return ended | {name: pid for name, pid in stopped.items() if pid is not None}

"""The Mac side: Redis and the gateway, started and stopped together."""

from hive.orchestrator import gateway_process, log_files, redis_server
from hive.orchestrator.keys import make_keys
from hive.orchestrator.overview import overview
from hive.orchestrator.redis_server import running_pid
from hive.orchestrator.service import Service
from hive.settings import Settings

__all__ = ["Service", "overview", "running_pid", "start", "stop"]


def start(settings: Settings, *, with_gateway: bool = True) -> list[Service]:
    """Start what does not run yet.

    Raises
    ------
    ServiceError
        A program is missing, a port is taken, or something does not come up.
    """
    log_files.cap(settings)
    make_keys(settings)
    services = [redis_server.start(settings)]
    if with_gateway:
        services.append(gateway_process.start(settings))
    return services


def stop(settings: Settings) -> dict[str, int]:
    """Stop what runs; returns the former processes by name.

    Raises
    ------
    ServiceError
        One does not end.
    """
    stopped = {"gateway": gateway_process.stop(settings), "redis": redis_server.stop(settings)}
    return {name: pid for name, pid in stopped.items() if pid is not None}

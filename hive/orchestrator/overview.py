"""The whole of a Hive in a few numbers: what `hive status` and `/status` show."""

from typing import Any

import psutil

from hive.broker import public_address, reachable
from hive.client import Session
from hive.orchestrator import gateway_process, redis_server

_MOMENT_S = 0.2


def overview(session: Session) -> dict[str, Any]:
    """Count workers and jobs, and measure what the Mac side costs now.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    settings = session.settings
    with reachable(settings):
        session.broker.ping()
        queues = session.registry.queues()
        workers = len(session.registry.workers())
    running = {"redis": redis_server.running_pid(settings), "gateway": gateway_process.running_pid(settings)}
    cpu_percent, memory_bytes = usage([pid for pid in running.values() if pid is not None])
    return {
        "broker": {"address": public_address(settings.broker_url), "state": "up"},
        "gateway": {"address": settings.gateway_url, "state": "down" if running["gateway"] is None else "up"},
        "orchestrator": {"cpu_percent": cpu_percent, "memory_bytes": memory_bytes},
        "workers": workers,
        "queued": sum(one.queued for one in queues),
        "running": sum(one.running for one in queues),
    }


def usage(pids: list[int]) -> tuple[float, int]:
    """CPU of some processes over a short moment [% of one core], and their resident memory [bytes]."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.cpu_percent()
    if processes:
        psutil.wait_procs(processes, timeout=_MOMENT_S)
    cpu_percent = sum(process.cpu_percent() for process in processes)
    return round(cpu_percent, 2), sum(process.memory_info().rss for process in processes)

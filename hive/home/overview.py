"""The whole Hive at one look, and what the Mac side itself uses."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import redis

from hive.client import Session, gateway
from hive.home import gateway_process, location, redis_server
from hive.settings import Settings
from hive.store.connection import public_address, reachable

# What an idle Mac side may cost: CPU [% of a core] and memory [bytes] of Redis and gateway together.
BUDGET = {"cpu_percent": 0.2, "memory_bytes": 110_000_000}
_MOMENT_S = 0.2


@dataclass(frozen=True)
class Reading:
    """What a process has used: CPU since its start [s], resident memory [bytes], and its age [s]."""

    cpu_s: float
    memory_bytes: int
    age_s: float


Meter = Callable[[], Reading]


def of_process(pid: int) -> Reading:
    """Read a process of this machine."""
    process = psutil.Process(pid)
    with process.oneshot():
        used = process.cpu_times()
        age_s = time.time() - process.create_time()
        return Reading(used.user + used.system, process.memory_info().rss, age_s)


def of_redis(client: "redis.Redis") -> Reading:
    """Let Redis say what it uses itself; for one that runs elsewhere or in a container."""
    info: Mapping[str, Any] = client.info()
    used = sum(info[f"used_cpu_{kind}"] for kind in ("user", "sys", "user_children", "sys_children"))
    return Reading(used, info["used_memory_rss"], max(info["uptime_in_seconds"], 1))


def usage(meters: Mapping[str, Meter]) -> dict[str, Any]:
    """Measure processes by name: each, and all together.

    `cpu_percent` is of process core over a fifth of a second, in which a tick of the clock already is 5 %; what an idle
    process costs shows in `cpu_percent_since_start` only.
    """
    before = {name: (time.monotonic(), read()) for name, read in meters.items()}
    if meters:
        time.sleep(_MOMENT_S)
    processes = [_entry(name, *before[name], read()) for name, read in meters.items()]
    return {
        "cpu_percent": round(sum(process["cpu_percent"] for process in processes), 2),
        "cpu_percent_since_start": round(sum(process["cpu_percent_since_start"] for process in processes), 3),
        "memory_bytes": sum(process["memory_bytes"] for process in processes),
        "processes": processes,
        "budget": BUDGET,
    }


def _entry(name: str, began: float, before: Reading, after: Reading) -> dict[str, Any]:
    passed_s = time.monotonic() - began
    return {
        "name": name,
        "cpu_percent": round(max(0.0, 100 * (after.cpu_s - before.cpu_s) / passed_s), 2),
        "cpu_percent_since_start": round(100 * after.cpu_s / after.age_s, 3),
        "memory_bytes": after.memory_bytes,
        "age_s": round(after.age_s, 1),
    }


def overview(session: Session, gateway_pid: int | None = None) -> dict[str, Any]:
    """Count workers and jobs, and measure what the Mac side costs.

    `gateway_pid` is given by the gateway itself, which need not ask whether it is there.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    settings = session.settings
    with reachable(settings):
        session.broker.ping()
        workers = session.registry.workers()
        queues = session.registry.queues(workers)
    state = "up" if gateway_pid else gateway.state(settings)
    return {
        "broker": {"address": public_address(settings.broker_url), "state": "up"},
        "gateway": {"address": settings.gateway_url, "state": state},
        "home": _home(settings),
        "orchestrator": _usage(session, gateway_pid or gateway_process.running_pid(settings)),
        "workers": len(workers),
        "queued": sum(queue.queued for queue in queues),
        "running": sum(queue.running for queue in queues),
    }


def _home(settings: Settings) -> dict[str, Any] | None:
    """On which machine Redis and the gateway are, and how the way to it is; None: here."""
    home = location.elsewhere(settings)
    if home is None:
        return None
    return {"host": home.destination, "tunnel": location.state(settings, home).to_json()}


def meters(session: Session, gateway_pid: int | None) -> Mapping[str, Meter]:
    """What can be measured from here: a gateway in a container cannot, its Redis says it itself."""
    redis_pid = redis_server.running_pid(session.settings)
    by_name: dict[str, Meter] = {
        "redis": partial(of_process, redis_pid) if redis_pid else partial(of_redis, session.broker)
    }
    return by_name | ({"gateway": partial(of_process, gateway_pid)} if gateway_pid else {})


def _usage(session: Session, gateway_pid: int | None) -> dict[str, Any]:
    try:
        return usage(meters(session, gateway_pid))
    except (psutil.Error, redis.RedisError):  # it ended just now, or does not tell everybody
        return usage({})

"""The whole of a Hive in a few numbers: what `hive status` and `/status` show."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import psutil
import redis

from hive.broker import public_address, reachable
from hive.client import Session
from hive.client import gateway as web
from hive.orchestrator import gateway_process, home, redis_server
from hive.orchestrator.usage import Meter, of_process, of_redis, usage
from hive.settings import Settings


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
    state = "up" if gateway_pid else web.state(settings)
    return {
        "broker": {"address": public_address(settings.broker_url), "state": "up"},
        "gateway": {"address": settings.gateway_url, "state": state},
        "home": _home(settings),
        "orchestrator": _usage(session, gateway_pid or gateway_process.running_pid(settings)),
        "workers": len(workers),
        "queued": sum(one.queued for one in queues),
        "running": sum(one.running for one in queues),
    }


def _home(settings: Settings) -> dict[str, Any] | None:
    """On which machine Redis and the gateway are, and how the way to it is; None: here."""
    found = home.elsewhere(settings)
    if found is None:
        return None
    return {"host": found.destination, "tunnel": home.state(settings, found).to_json()}


def meters(session: Session, gateway_pid: int | None) -> Mapping[str, Meter]:
    """What can be measured from here: a gateway in a container cannot, its Redis says it itself."""
    redis_pid = redis_server.running_pid(session.settings)
    found: dict[str, Meter] = {
        "redis": partial(of_process, redis_pid) if redis_pid else partial(of_redis, session.broker)
    }
    return found | ({"gateway": partial(of_process, gateway_pid)} if gateway_pid else {})


def _usage(session: Session, gateway_pid: int | None) -> dict[str, Any]:
    try:
        return usage(meters(session, gateway_pid))
    except (psutil.Error, redis.RedisError):  # it ended just now, or does not tell everybody
        return usage({})

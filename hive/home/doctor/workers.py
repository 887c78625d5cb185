"""Checks of the workers and of what Redis keeps."""

import time
from collections.abc import Mapping
from typing import Any

from hive.catalog import find_capability, load_tasks
from hive.client.explain import starter
from hive.errors import UnknownNameError
from hive.home.doctor.finding import Patient, Results, ok, problem, warning
from hive.versions import terms

_MOST_SKEW_S = 2.0
_RUN = "run"


def clocks(patient: Patient) -> Results:
    """Whether this machine, Redis and the workers have the same time."""
    began = time.time()
    seconds, micros = patient.session.broker.time()
    here_s = (began + time.time()) / 2 - (seconds + micros / 1e6)
    skews = {"this machine": here_s} | {worker["name"]: worker.get("clock_skew_s", 0.0) for worker in patient.workers}
    wrong = {name: skew_s for name, skew_s in skews.items() if abs(skew_s) > _MOST_SKEW_S}
    for name, skew_s in wrong.items():
        way = "ahead of" if skew_s > 0 else "behind"
        yield warning(
            f"The clock of {name} is {abs(skew_s):.1f} s {way} that of Redis; times in logs do not fit together.",
            "Set it by the network there: timedatectl set-ntp true; on a Mac: System Settings, Date & Time.",
        )
    if not wrong:
        yield ok(
            f"The clocks of this machine, Redis and {_workers(len(patient.workers))} agree within {_MOST_SKEW_S:g} s."
        )


def agreement(patient: Patient) -> Results:
    """Whether the workers have the settings, versions and code of this machine."""
    is_same = True
    for worker in patient.workers:
        theirs = worker.get("terms")
        if not theirs:
            is_same = False
            yield warning(f"{worker['name']} is of an older Hive that does not tell its settings.", _UPDATE)
            continue
        for result in (
            *_missing_tasks(worker, theirs),
            *_differences(worker, theirs, terms(patient.settings, theirs["code"])),
        ):
            is_same = False
            yield result
    if is_same and patient.workers:
        yield ok(f"{_workers(len(patient.workers))} with the settings, versions and code of this machine.")


_UPDATE = "Update Hive there and start the worker again."


def _missing_tasks(worker: Mapping[str, Any], theirs: Mapping[str, Any]) -> Results:
    """Tasks of a worker's capabilities that this machine has and the worker has not registered."""
    registered = theirs.get("tasks")
    if registered is None:
        return  # an older Hive, of which its version is reported
    tasks = {f"{name}.{task}" for name in worker["capabilities"] for task in _tasks_here(name)}
    if missing := sorted(tasks - set(registered)):
        words = f"{worker['name']} has not registered {', '.join(missing)}; such a job waits in vain for it."
        yield problem(words, _UPDATE)


def _tasks_here(queue: str) -> list[str]:
    try:
        capability = find_capability(queue)
    except UnknownNameError:
        return []  # a queue with a name of its own is no capability
    load_tasks(capability)
    return [*capability.tasks, *capability.parts]


def _differences(worker: Mapping[str, Any], theirs: Mapping[str, Any], own: Mapping[str, Any]) -> Results:
    name = worker["name"]
    if len({theirs["lease_s"], theirs["visibility_timeout_s"], own["lease_s"]}) > 1:
        yield problem(
            f"{name} has a lease of {theirs['lease_s']:g} s (its broker option: {theirs['visibility_timeout_s']:g} s), "
            f"this machine one of {own['lease_s']:g} s; a job may run twice or be late to start again.",
            "Set HIVE_LEASE_S to the same value everywhere, and start the worker again.",
        )
    if theirs["max_attempts"] != own["max_attempts"]:
        words = f"{name} allows {theirs['max_attempts']} attempts, this machine {own['max_attempts']}."
        yield warning(words, "Set HIVE_MAX_ATTEMPTS to the same value everywhere; that of who submits counts.")
    if not _fit(theirs["store"], own["store"]):
        words = f"{name} keeps files in another store ({theirs['store']}) than this machine ({own['store']})."
        yield problem(words, "Set HIVE_STORE to the same bucket on both, or take it away on both.")
    yield from _other_versions(name, theirs, own)
    if _RUN in worker["capabilities"] and not theirs["allow_scripts"]:
        words = f"{name} serves {_RUN}, and refuses every script."
        yield warning(words, "Allow them there: HIVE_ALLOW_SCRIPTS=1. Or take run away from what it serves.")


def _other_versions(worker: str, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> Results:
    versions = theirs["versions"]
    names = [name for name in own["versions"] if name != "python" and versions.get(name) != own["versions"][name]]
    if names:
        there = ", ".join(f"{name} {versions.get(name, 'none')}" for name in names)
        ours = ", ".join(own["versions"][name] for name in names)
        yield warning(f"{worker} has {there}; this machine has {ours}.", _UPDATE)
    other = [capability for capability, digest in own["code"].items() if theirs["code"][capability] != digest]
    if other:
        words = f"{worker} runs other code of {', '.join(sorted(other))} than this machine has."
        yield warning(words, _UPDATE)


def _fit(theirs: str, ours: str) -> bool:
    """Whether two kinds of store can be one: a folder here may be what the gateway serves to others."""
    local = ("folder", "gateway")
    return theirs == ours or (theirs in local and ours in local)


def unserved(patient: Patient) -> Results:
    """Whether a worker is there for each job that waits."""
    lonely = [queue for queue in patient.session.registry.queues(patient.workers) if queue.queued and not queue.workers]
    for queue in lonely:
        jobs = "1 job waits" if queue.queued == 1 else f"{queue.queued} jobs wait"
        words = f"{jobs} in {queue.name}, for up to {queue.oldest_s:.0f} s, and no worker serves it."
        yield problem(words, f"Start one: {starter(queue.name)}. Or cancel them: hive cancel ID.")
    if not patient.workers and not lonely:
        yield warning("No worker is there.", f"Start one: {starter('gis')}.")
    elif not lonely:
        yield ok("Every job that waits has a worker.")


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


_CONF = "Use the redis.conf that hive up writes: hive restart. Elsewhere, as administrator of Redis: "
_MUCH = 0.8
_MB = 1e6


def append_only_file(patient: Patient) -> Results:
    """Whether Redis writes every change to its disk."""
    info = patient.redis_info
    if not info.get("aof_enabled"):
        remedy = f"{_CONF}CONFIG SET appendonly yes."
        yield problem("Redis writes nothing to its disk as it goes; a restart would lose jobs.", remedy)
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield problem(
            "Redis could not write to its disk the last time.", "Make room: df -h. Its log: hive logs --orchestrator."
        )
    elif info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield warning(
            "Redis could not make its file compact the last time.", "Make room on its disk, and look at its log."
        )
    else:
        yield ok("Redis writes every change to its disk.")


def memory(patient: Patient) -> Results:
    """Whether Redis has memory left, and drops no jobs when it has none."""
    info = patient.redis_info
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        remedy = f"{_CONF}CONFIG SET maxmemory-policy noeviction."
        yield problem(f"Redis throws jobs away when its memory is full ({policy}).", remedy)
    limit = info.get("maxmemory") or info.get("total_system_memory") or 0
    used = info["used_memory"]
    words = f"Redis holds {used / _MB:.0f} MB in memory, of {limit / _MB:.0f} MB that it may have."
    if limit and used > _MUCH * limit:
        yield warning(words, "Keep finished jobs for fewer days on the workers: HIVE_KEEP_DAYS. Or raise maxmemory.")
    elif policy == "noeviction":
        yield ok(words)

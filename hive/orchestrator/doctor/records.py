"""Whether Redis keeps what it is told, and has room for it."""

from hive.orchestrator.doctor.finding import Found, Patient, ok, problem, warning

_CONF = "Use the redis.conf that hive up writes: hive restart. Elsewhere, as administrator of Redis: "
_MUCH = 0.8
_MB = 1e6


def append_only_file(patient: Patient) -> Found:
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


def memory(patient: Patient) -> Found:
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

"""The Redis schema: every key of Hive, its type, its members, and who writes it.

Each key is a constant, or a function of what its name holds. Writers go through the scripts in `hive/store/lua`, which
get these names as the table `key` (`FOR_LUA`); no other module spells one. Which user may touch which key is in
`hive/home/users.conf`. Times are Redis' own [ms since 1970] unless a key says otherwise.

Of the keys of queues, a worker may touch those of its own queues only. A divided job waits for its parts: it is
`running`, has no lease and no attempt, and is in no set but its own. The lists of a queue's messages (`QUEUE`, and one
for each priority) and `_kombu.binding.*` are kombu's.
"""

JOBS = "hive:jobs"
"""Sorted set: ids of jobs by time of submission, without parts. Written by `create`, `divide`, `forget`."""

QUEUES = "hive:queues"
"""Set: names of queues that have ever had a job. Written by `create`."""

TOTALS = "hive:totals"
"""Hash: what all jobs came to; it outlives their records. Written whenever an attempt ends.

`ended TASK STATE`, `run TASK BOUND` and `run_ms TASK` (run times), `usd TASK` and `priced TASK` (jobs of known cost).
"""

SPENT = "hive:spent"
"""Hash: US$ by day (days since 1970): `run DAY` of attempts, `there DAY` of workers' whole time.

Written when an attempt ends, when a worker reports, and by `boot`.
"""

SHARES = "hive:shares"
"""Hash: `spent` in detail [US$]: `run DAY TASK WORKER`, `there DAY WORKER`, `boot DAY WORKER`.

`unknown DAY TASK WORKER` counts attempts on workers of unknown price. Written as `spent`; readers remove old entries.
"""

PULSE = "hive:pulse"
"""String: when a worker last renewed its leases. Written by `start`, `renew`, `expire`, `claim`."""

AWAY_UNTIL = "hive:away_until"
"""String: until when no lease ends, because Redis itself was away. Written together with `pulse`."""

WORKERS = "hive:workers"
"""Sorted set: names of workers by their last report [s since 1970]; for a day. Written by `report`, `leave`."""

CANCEL = "hive:cancel"
"""Channel: ids of running jobs that are to stop. Published by `cancel`, and for the parts of a job that has ended."""


def job(job_id: str) -> str:
    """Hash: a job's record; and the channel of its changes. Written by most scripts.

    `specification` (JSON), `state`, `queue`, `submitted_ms`, `started_ms`, `finished_ms`, `worker`, `host`, `progress`,
    `outputs`, `measures`, `error`, `checkpoint`, `plans` (JSON), `input_bytes`, `peak_memory_bytes`; `attempts` (the
    fencing token: a change by any attempt but the newest does nothing), `losses` and `most_losses`; `cost_usd` (`null`
    where an attempt's price is unknown) and, until the attempt is paid, `slot_usd_per_h`; `parent`, `divided`;
    `log_at_ATTEMPT`, `log_bytes`, `log_dropped`; `story`: a line for each change, with tabs between time [ms], event
    and a JSON object of further facts. A key of its own would take 100 bytes more for each job.
    """
    return f"hive:job:{job_id}"


def log(job_id: str) -> str:
    """Stream: what a job's attempts logged and printed: `ms`, `level`, `attempt`, `text`, `for`. Written by `log`."""
    return f"hive:job:{job_id}:log"


def parts(job_id: str) -> str:
    """Set: ids of the parts that a divided job waits for. Written by `divide` and when a part ends."""
    return f"hive:job:{job_id}:parts"


def waiting(queue: str) -> str:
    """Sorted set: ids of waiting jobs by the time since which they wait. Written by `create` and when one moves."""
    return f"hive:waiting:{queue}"


def running(queue: str) -> str:
    """Sorted set: ids of running jobs by the time of their start. Written by `start` and when an attempt ends."""
    return f"hive:running:{queue}"


def leases(queue: str) -> str:
    """Sorted set: ids of running jobs by the time at which their lease ends. Written as `running`, and by `renew`."""
    return f"hive:leases:{queue}"


def finished(queue: str) -> str:
    """Sorted set: ids of finished jobs by the time of their end. Written when a job ends, by `retry` and `forget`."""
    return f"hive:finished:{queue}"


def sweeper(queue: str) -> str:
    """String with an expiry: the worker that sweeps a queue. Written by `claim`."""
    return f"hive:sweeper:{queue}"


def suspects(queue: str) -> str:
    """Set: ids of waiting jobs for which the last sweep found no message. Written by the sweeper."""
    return f"hive:suspects:{queue}"


def worker(name: str) -> str:
    """String with an expiry: a worker's last report (JSON). Written by `report`, `leave`."""
    return f"hive:worker:{name}"


def unacked(user: str) -> str:
    """Hash: deliveries (JSON) that workers of one Redis user hold, by tag. Written by the transport."""
    return f"hive:unacked:{user}"


def unacked_index(user: str) -> str:
    """Sorted set: tags of these deliveries by the time of their last renewal [s since 1970]. Written as `unacked`."""
    return f"hive:unacked:{user}:index"


def unacked_mutex(user: str) -> str:
    """String with an expiry: kombu's lock for putting such deliveries back."""
    return f"hive:unacked:{user}:mutex"


def unacked_all(user: str) -> tuple[str, str, str]:
    """All that is kept of the deliveries of one Redis user."""
    return unacked(user), unacked_index(user), unacked_mutex(user)


# What scripts know as `key.NAME`; a name with a part at its end is a beginning there: `key.waiting .. queue`.
FOR_LUA = {
    "jobs": JOBS,
    "queues": QUEUES,
    "totals": TOTALS,
    "spent": SPENT,
    "shares": SHARES,
    "pulse": PULSE,
    "away_until": AWAY_UNTIL,
    "workers": WORKERS,
    "cancel": CANCEL,
    "job": job(""),
    "log": log("").removeprefix(job("")),
    "parts": parts("").removeprefix(job("")),
    "waiting": waiting(""),
    "running": running(""),
    "leases": leases(""),
    "finished": finished(""),
    # Kept for all queues together until 0.1; `split` moves what an older Hive left there.
    "old_leases": leases("").rstrip(":"),
    "old_finished": finished("").rstrip(":"),
    "old_ids": "hive:ids",
}

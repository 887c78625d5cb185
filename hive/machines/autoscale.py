"""When a queue waits too long: whether to start one more machine for it. Machines end themselves."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hive.errors import SettingError
from hive.machines.records import Machine
from hive.store import QueueReport
from hive.worker.starter import read_nodes

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Bounds:
    """Bounds of autoscaling: machines at once, dollars in any 24 hours, and how long a job may wait [s]."""

    max_machines: int
    usd_per_day: float
    wait_s: float


@dataclass(frozen=True)
class Decision:
    """What to do for a queue that waits, and why."""

    queue: str
    is_start: bool
    why: str


def read_budget(text: str) -> float:
    """Read dollars per day.

    >>> read_budget("10/day")
    10.0

    Raises
    ------
    SettingError
        The text has another form.
    """
    match = re.fullmatch(r"\$?(\d+(?:\.\d+)?)/day", text.strip())
    if match is None:
        raise SettingError(f"--budget must be dollars per day, such as 10/day, not {text!r}.")
    return float(match.group(1))


def decide(
    queues: Iterable[QueueReport],
    machines: Sequence[Machine],
    worker_names: Iterable[str],
    served: Sequence[str],
    bounds: Bounds,
    next_usd: float,
    at: datetime,
) -> list[Decision]:
    """Decide for each queue whose oldest job has waited too long; one machine at a time for each of them.

    Parameters
    ----------
    machines : all machines of this Hive, including those that have ended
    worker_names : names of the workers that report
    served : queues that a new machine would serve
    next_usd : the most that a new machine would cost [US$]
    """
    alive, names = [machine for machine in machines if machine.ended_at is None], set(worker_names)
    committed = sum(usd_of_a_day(machine, at) for machine in machines)
    decisions, started = [], 0
    for queue in queues:
        if queue.name not in served or not queue.queued or queue.oldest_s <= bounds.wait_s:
            continue
        starting = [each for each in alive if _serves(each, queue.name) and f"{queue.name}@{each.name}" not in names]
        total_usd = committed + (started + 1) * next_usd
        waits = f"its oldest job has waited for {queue.oldest_s:.0f} s"
        if starting:
            why = f"{waits}; {starting[0].name} is starting"
        elif len(alive) + started >= bounds.max_machines:
            why = f"{waits}; {len(alive) + started} of at most {bounds.max_machines} machines exist"
        elif total_usd > bounds.usd_per_day:
            why = f"{waits}; one more could raise the cost to ${total_usd:.2f} of ${bounds.usd_per_day:.2f} per day"
        else:
            decisions.append(Decision(queue.name, True, waits))
            started += 1
            continue
        decisions.append(Decision(queue.name, False, why))
    return decisions


def usd_of_a_day(machine: Machine, at: datetime) -> float:
    """What a machine has cost in the last 24 hours, plus what it may cost until its expiry [US$]."""
    start = max(machine.created_at, at - _DAY)
    end = machine.ended_at or machine.expires_at
    return (machine.price_usd_per_h or 0.0) * max(0.0, (end - start).total_seconds() / 3600)


def _serves(machine: Machine, queue: str) -> bool:
    return any(node.capability == queue for node in read_nodes(machine.capabilities, 1))

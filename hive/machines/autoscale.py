"""When a queue waits for too long: whether one more machine may be started for it. Machines end themselves."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hive.errors import SettingError
from hive.providers.machine import Machine
from hive.store import QueueReport
from hive.worker.starter import read_nodes

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Bounds:
    """How far it may go: machines at once, and dollars of any 24 hours."""

    most: int
    usd_per_day: float
    wait_s: float


@dataclass(frozen=True)
class Decision:
    """What should be done for a queue that waits, and why."""

    queue: str
    is_start: bool
    why: str


def read_budget(text: str) -> float:
    """Read dollars of a day.

    >>> read_budget("10/day")
    10.0

    Raises
    ------
    SettingError
        It is not written so.
    """
    found = re.fullmatch(r"\$?(\d+(?:\.\d+)?)/day", text.strip())
    if found is None:
        raise SettingError(f"--budget is {text!r}: write dollars of a day, such as 10/day.")
    return float(found.group(1))


def decide(
    queues: Iterable[QueueReport],
    machines: Sequence[Machine],
    reported: Iterable[str],
    served: Sequence[str],
    bounds: Bounds,
    next_usd: float,
    at: datetime,
) -> list[Decision]:
    """Decide for each queue whose oldest job waits for too long; one machine at a time for each of them.

    Parameters
    ----------
    machines : all that are known, ended ones too
    reported : the names of the workers that are there
    served : what a new machine would serve
    next_usd : the most that a new machine would cost
    """
    alive, names = [one for one in machines if one.ended_at is None], set(reported)
    committed = sum(usd_of_a_day(one, at) for one in machines)
    found, started = [], 0
    for queue in queues:
        if queue.name not in served or not queue.queued or queue.oldest_s <= bounds.wait_s:
            continue
        coming = [one for one in alive if _is_for(one, queue.name) and f"{queue.name}@{one.name}" not in names]
        planned = committed + (started + 1) * next_usd
        waits = f"its oldest job has waited for {queue.oldest_s:.0f} s"
        if coming:
            why = f"{waits}; {coming[0].name} is starting"
        elif len(alive) + started >= bounds.most:
            why = f"{waits}; {len(alive) + started} of at most {bounds.most} machines are there"
        elif planned > bounds.usd_per_day:
            why = f"{waits}; one more could make it ${planned:.2f} of ${bounds.usd_per_day:.2f} a day"
        else:
            found.append(Decision(queue.name, True, waits))
            started += 1
            continue
        found.append(Decision(queue.name, False, why))
    return found


def usd_of_a_day(machine: Machine, at: datetime) -> float:
    """What a machine has cost in the last 24 hours, and may cost until its expiry [USD]."""
    begin = max(machine.created_at, at - _DAY)
    end = machine.ended_at or machine.expires_at
    return (machine.price_usd_per_h or 0.0) * max(0.0, (end - begin).total_seconds() / 3600)


def _is_for(machine: Machine, queue: str) -> bool:
    return any(node.capability == queue for node in read_nodes(machine.capabilities, 1))

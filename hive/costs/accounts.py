"""What was spent: the accounts that the scripts of `hive.jobs` keep in Redis, and what they come to.

They outlive the records of jobs. Days are those of UTC.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import redis

_SPENT, _SHARES = "hive:spent", "hive:shares"
_EPOCH = date(1970, 1, 1)
_KEPT_DAYS = 400


class By(StrEnum):
    """What the shares of jobs are summed up by."""

    DAY = "day"
    TASK = "task"
    WORKER = "worker"


@dataclass(frozen=True)
class Run:
    """What attempts at a task cost on one worker on one day [US$]."""

    day: date
    task: str
    worker: str
    usd: float


@dataclass(frozen=True)
class Accounts:
    """All runs, and what each worker's whole time and its machine's boot cost [US$].

    `unknown_runs` attempts are not among them: nobody knows the price of their workers.
    """

    runs: tuple[Run, ...]
    there_usd: dict[str, float]
    boot_usd: float
    unknown_runs: int


@dataclass(frozen=True)
class Report:
    """What the jobs came to, by day, task or worker, and beside it what nobody used."""

    by: By
    rows: tuple[tuple[str, float], ...]
    jobs_usd: float
    idle_usd: float
    boot_usd: float
    unknown_runs: int

    @property
    def total_usd(self) -> float:
        """Everything."""
        return self.jobs_usd + self.idle_usd + self.boot_usd


def read_accounts(client: "redis.Redis", days: int | None = None) -> Accounts:
    """Read the accounts of the last days, today counted; of all that are kept where no number is given."""
    today = _today()
    since = _number(today) - (_KEPT_DAYS if days is None else days - 1)
    runs, there, boot, unknown, old = [], defaultdict[str, float](float), 0.0, 0, []
    for field, value in cast(dict[str, str], client.hgetall(_SHARES)).items():
        kind, day, rest = field.split(" ", 2)
        if int(day) < since:
            old += [field] if int(day) < _number(today) - _KEPT_DAYS else []
        elif kind == "run":
            task, worker = rest.split(" ", 1)
            runs.append(Run(_EPOCH + timedelta(int(day)), task, worker, float(value)))
        elif kind == "there":
            there[rest] += float(value)
        elif kind == "boot":
            boot += float(value)
        else:
            unknown += int(value)
    if old:
        client.hdel(_SHARES, *old)
    return Accounts(tuple(runs), dict(there), boot, unknown)


def make_report(accounts: Accounts, by: By) -> Report:
    """Sum up. A worker's time that no attempt has used is idle; what runs now counts as idle until it ends."""
    sums = _summed((str(getattr(run, by)), run.usd) for run in accounts.runs)
    rows = sorted(sums.items(), key=lambda row: row[0] if by is By.DAY else -row[1])
    used = _summed((run.worker, run.usd) for run in accounts.runs)
    idle = sum(max(0.0, usd - used.get(worker, 0.0)) for worker, usd in accounts.there_usd.items())
    jobs = sum(run.usd for run in accounts.runs)
    return Report(by, tuple(rows), jobs, idle, accounts.boot_usd, accounts.unknown_runs)


def spent_usd(client: "redis.Redis", since: date, today: date) -> float:
    """What was spent from one day to another, both counted.

    Of each day it is what its workers' whole time cost, or what its attempts did, whichever is more.
    """
    days = range(_number(since), _number(today) + 1)
    kept = cast(list[str | None], client.hmget(_SPENT, [f"{kind} {day}" for day in days for kind in ("there", "run")]))
    usd = [float(one or 0) for one in kept]
    return sum(map(max, usd[::2], usd[1::2]))


def _summed(shares: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for name, usd in shares:
        sums[name] += usd
    return dict(sums)


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _today() -> date:
    return datetime.now(UTC).date()

"""What jobs and workers have come to: dollars by day, counts by task.

They outlive the records of jobs. Days are those of UTC.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from hive.store import keys
from hive.store.scripts import RUN_BOUNDS_S

if TYPE_CHECKING:
    import redis

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
    """Read the accounts of the last days including today; without a number, of all days."""
    today = _today()
    since = _number(today) - (_KEPT_DAYS if days is None else days - 1)
    runs, there, boot, unknown, old = [], defaultdict[str, float](float), 0.0, 0, []
    for field, value in cast(dict[str, str], client.hgetall(keys.SHARES)).items():
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
        elif kind == "unknown":
            unknown += int(value)
    if old:
        client.hdel(keys.SHARES, *old)
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
    """What was spent from one day to another, both included.

    Of each day it is what its workers' whole time cost, or what its attempts did, whichever is more.
    """
    days = range(_number(since), _number(today) + 1)
    values = cast(
        list[str | None], client.hmget(keys.SPENT, [f"{kind} {day}" for day in days for kind in ("there", "run")])
    )
    usd = [float(value or 0) for value in values]
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


_READ_AT_ONCE = 5_000


@dataclass(frozen=True)
class Spent:
    """What ended jobs cost [US$], None if unknown; `unknown` jobs of unknown cost; whether all jobs have been read."""

    usd: float | None
    unknown: int
    is_counted: bool


class Spending:
    """What the jobs that have ended have cost, as far as that is known.

    Each is read once; a look reads some thousand at most, so that the sum is there after a few looks.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._cost_by_job: dict[str, float] = {}
        self._since_ms: dict[str, float] = {}

    def look(self, queues: Sequence[str]) -> Spent:
        """Sum up."""
        counted = [self._read(queue) for queue in queues]
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zcard(keys.finished(queue))
        return Spent(
            usd=round(sum(self._cost_by_job.values()), 4) if self._cost_by_job else None,
            unknown=max(0, sum(pipeline.execute()) - len(self._cost_by_job)),
            is_counted=all(counted),
        )

    def _read(self, queue: str) -> bool:
        """Read what the next jobs of a queue have cost; returns whether these were all."""
        since_ms = self._since_ms.get(queue, 0.0)
        now_ms, ended = self._ended(queue, since_ms)
        pipeline = self._redis.pipeline(transaction=False)
        for job_id, _ in ended:
            pipeline.hget(keys.job(job_id), "cost_usd")
        for (job_id, _), cost in zip(ended, pipeline.execute(), strict=True):
            if cost not in (None, "null"):
                self._cost_by_job[job_id] = float(cost)
        is_counted = len(ended) < _READ_AT_ONCE
        # Where all of a page ended in one millisecond, the next page begins behind it, or it would never end.
        self._since_ms[queue] = now_ms if is_counted else max(ended[-1][1], since_ms + 1)
        return is_counted

    def _ended(self, queue: str, since_ms: float) -> tuple[float, list[tuple[str, float]]]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(
            keys.finished(queue), since_ms, "+inf", byscore=True, offset=0, num=_READ_AT_ONCE, withscores=True
        )
        (seconds, micros), ended = pipeline.execute()
        return seconds * 1000 + micros // 1000, cast(list[tuple[str, float]], ended)


@dataclass(frozen=True)
class Runs:
    """How long the last attempts of a task's jobs ran: how many within each bound [s], and all together [s].

    `within` is cumulative and ends with all of them.
    """

    within: tuple[tuple[float, int], ...]
    total_s: float


@dataclass(frozen=True)
class Totals:
    """Ends by task and state, runs by task, and by task what jobs of known cost came to [US$], and how many these are.

    A job that is retried ends more than once.
    """

    ended: Mapping[tuple[str, str], int]
    runs: Mapping[str, Runs]
    cost_usd: Mapping[str, float]
    jobs_with_cost: Mapping[str, int]


def read_totals(client: "redis.Redis") -> Totals:
    """Read all totals; what it costs does not grow with the number of jobs."""
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for field, value in cast(dict[str, str], client.hgetall(keys.TOTALS)).items():
        kind, _, rest = field.partition(" ")
        kinds[kind][rest] = value
    return Totals(
        ended={_pair(name): int(count) for name, count in kinds["ended"].items()},
        runs={task: _runs(task, kinds["run"], int(ms)) for task, ms in kinds["run_ms"].items()},
        cost_usd={task: float(usd) for task, usd in kinds["usd"].items()},
        jobs_with_cost={task: int(count) for task, count in kinds["priced"].items()},
    )


def _pair(name: str) -> tuple[str, str]:
    task, _, state = name.rpartition(" ")
    return task, state


def _runs(task: str, counts: Mapping[str, str], total_ms: int) -> Runs:
    within, so_far = [], 0
    for bound in (*RUN_BOUNDS_S, float("inf")):
        so_far += int(counts.get(f"{task} {bound:g}", 0))
        within.append((bound, so_far))
    return Runs(tuple(within), total_ms / 1000)

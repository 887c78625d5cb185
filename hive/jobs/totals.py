"""What all jobs of a Hive came to, counted where they end; the numbers outlive the jobs' records."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hive.jobs.scripts import RUN_BOUNDS_S

if TYPE_CHECKING:
    import redis

_KEY = "hive:totals"


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
    for field, value in cast(dict[str, str], client.hgetall(_KEY)).items():
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

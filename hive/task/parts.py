"""Parts: a task that is too large for one machine plans smaller ones, waits for them without a slot, and merges.

The task is called again when all its parts are done; what it does before `in_parts` is then done a second time, so that
it comes to the same plan. Keep that short: read headers, not points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from hive.task.context import current_attempt, progress
from hive.task.declaration import Task

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Part(Generic[R]):
    """One part of a job: a task, and the values that it is called with."""

    task: Task[..., R]
    values: dict[str, object]


def part(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Part[R]:
    """Plan a call of a task; its values are checked as its signature says.

    Files that it reads are paths of files that are there now. Files that it writes are paths where they shall be when
    the parts are done.

    Raises
    ------
    BadParameterError
        A value is not acceptable.
    """
    return Part(task, task.bind(*args, **kwargs))


def in_parts(plan: Sequence[Part[R]]) -> list[R]:
    """Have parts done by whichever workers are free; returns what each of them measured, in the order of the plan.

    Each part is a job with attempts, retries and a place of its own. Where one fails, the others are cancelled and the
    whole fails. Where the task was called as a plain function, the parts are done here, one after the other.

    Raises
    ------
    TaskDeclarationError
        The task came to another plan when it was called again.
    """
    attempt = current_attempt()
    if attempt is not None and attempt.divide is not None:
        results: list[R] = attempt.divide(plan)
        return results
    done: list[Any] = []
    for one in plan:
        progress(len(done), len(plan), "parts", "one after the other")
        done.append(one.task(**one.values))
    return done

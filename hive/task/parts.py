"""Parts: a task that is too large for one machine plans smaller ones, waits for them without a slot, and merges.

The task is called again when all its parts are done. It runs from the start and must come to the same plan, so keep
what stands before `in_parts` short: read headers, not points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from hive.task.context import current_attempt, progress
from hive.task.declaration import Task

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Part(Generic[R]):
    """One part of a job: a task, and its values by the names of its parameters."""

    task: Task[..., R]
    values: dict[str, object]


def part(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Part[R]:
    """Plan a call of a task; its values are checked as its signature says.

    Files that it reads must exist now. Files that it writes are at their paths when the parts are done.

    Raises
    ------
    BadParameterError
        A value is not acceptable.
    """
    return Part(task, task.bind(*args, **kwargs))


def in_parts(plan: Sequence[Part[R]]) -> list[R]:
    """Run parts on whichever workers are free; returns their results in the order of the plan.

    Each part is a job with its own attempts, retries and worker. If one fails, the others are cancelled and the whole
    job fails. In a task that was called as a plain function, the parts run here, one after the other.

    Raises
    ------
    TaskDeclarationError
        The task came to another plan when it was called again.
    """
    attempt = current_attempt()
    if attempt is not None and attempt.divide is not None:
        return attempt.divide(plan)
    results: list[R] = []
    for planned in plan:
        progress(len(results), len(plan), "parts", "one after the other")
        results.append(planned.task(**planned.values))
    return results

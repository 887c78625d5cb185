"""Lists of jobs on the command line: which ones, the table that shows them, and what is done to many at once."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hive.cli.common import print_json, print_table, printable, table_of
from hive.cli.completion import Word, capabilities, states, tasks
from hive.errors import BadParameterError, HiveError, UnknownNameError, UnreachableError, did_you_mean

if TYPE_CHECKING:
    from hive.client import Session
    from hive.store import JobFilter
    from hive.wire.job import JobRecord

F = TypeVar("F", bound=Callable[..., Any])
_EVERY_S = 1.0
_ERROR_WIDTH = 80
_MOST_AT_ONCE = 100_000
_FILTERS = (
    click.option("--state", "state", multiple=True, metavar="STATE", type=Word(states), help="Jobs in this state."),
    click.option("--task", metavar="TASK", type=Word(tasks), default="", help="Jobs of this task, such as gis.dtm."),
    click.option("--capability", metavar="NAME", type=Word(capabilities), default="", help="Jobs of this capability."),
    click.option(
        "--text", metavar="TEXT", default="", help="Jobs with this in their id, task, worker, file names or error."
    ),
    click.option(
        "--since", metavar="TIME", default="", help="Jobs submitted since: 2h, 3d, 2026-11-26 or 2026-11-26T14:30."
    ),
)


def with_filters(function: F) -> F:
    """Add the options that say which jobs are meant."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def all_options(function: F) -> F:
    """Add what makes a command work on many jobs: `--all`, which ones, and `--yes`."""
    function = click.option("--yes", "is_yes", is_flag=True, help="With --all: do not ask.")(function)
    return click.option("--all", "is_all", is_flag=True, help="All jobs that the options below select.")(
        with_filters(function)
    )


def check_choice(job_id: str | None, is_all: bool, filters: Mapping[str, object]) -> None:
    """Refuse a command that names neither a job nor all, or both.

    Raises
    ------
    UsageError
        It does.
    """
    if (job_id is None) != is_all or (job_id is not None and any(filters.values())):
        raise click.UsageError(
            "Name a job, or pass --all with --state, --task and the like.", click.get_current_context()
        )


def read_filters(state: Sequence[str], task: str, capability: str, text: str, since: str) -> "JobFilter":
    """Turn the options of `with_filters` into a filter.

    Raises
    ------
    UnknownNameError
        There is no such state.
    BadParameterError
        The time cannot be read.
    """
    from hive.store import JobFilter
    from hive.wire.job import State

    for word in state:
        if word not in set(State):
            raise UnknownNameError(
                f"--state must be one of {', '.join(State)}, not {word!r}.{did_you_mean(word, State)}"
            )
    return JobFilter(frozenset(map(State, state)), capability, text, task, _since(since) if since else None)


def _since(text: str) -> datetime:
    from hive.units import SECOND

    try:
        return datetime.fromisoformat(text).astimezone(UTC)  # without a zone: the user's own clock
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=SECOND.parse(text))
    except (ValueError, OverflowError, HiveError) as error:
        raise BadParameterError(f"--since must be 2h, 3d, 2026-11-26 or 2026-11-26T14:30, not {text!r}.") from error


def matching(session: "Session", criteria: "JobFilter", limit: int = _MOST_AT_ONCE) -> "list[JobRecord]":
    """The newest jobs that are meant, newest first."""
    from hive.store import Listing
    from hive.store.connection import reachable

    with reachable(session.settings):
        return Listing(session.broker, session.jobs).all(criteria, limit)


def print_jobs(jobs: "Sequence[JobRecord]", *, as_json: bool) -> None:
    """Print jobs once."""
    if as_json:
        print_json([job.to_json() for job in jobs])
    else:
        print_table(*_table(jobs), empty="There are no such jobs.")


def watch_jobs(read: "Callable[[], list[JobRecord]]", *, as_json: bool) -> None:
    """Show jobs until Ctrl-C: in place on a terminal, elsewhere whenever something has changed."""
    from rich.console import Console
    from rich.live import Live

    jobs = read()
    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        _watch_lines(jobs, read, as_json=as_json)
    with Live(console=console, get_renderable=lambda: table_of(*_table(jobs)), refresh_per_second=2):
        while True:
            time.sleep(_EVERY_S)
            jobs = _read_again(read, jobs)


def _watch_lines(jobs: "list[JobRecord]", read: "Callable[[], list[JobRecord]]", *, as_json: bool) -> None:
    printed: list[JobRecord] | None = None
    while True:
        if jobs != printed:
            if as_json:
                print_json([job.to_json() for job in jobs], indent=None)
            else:
                click.echo("", nl=printed is not None)  # a line between two tables
                print_jobs(jobs, as_json=False)
            sys.stdout.flush()
            printed = jobs
        time.sleep(_EVERY_S)
        jobs = _read_again(read, jobs)


def _read_again(read: "Callable[[], list[JobRecord]]", jobs: "list[JobRecord]") -> "list[JobRecord]":
    """Read the jobs; while the broker is away, they stay as they were."""
    try:
        return read()
    except UnreachableError:
        return jobs


def _table(jobs: "Sequence[JobRecord]") -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    now = datetime.now(UTC)
    columns = ("JOB", "TASK", "STATE", "SUBMITTED", "DURATION", "COST", "WORKER", "ERROR")
    rows = [_row(job, now) for job in jobs]
    visible = [column for column in range(len(columns)) if column < 4 or any(row[column] for row in rows)]
    return tuple(columns[at] for at in visible), [tuple(row[at] for at in visible) for row in rows]


def _row(job: "JobRecord", now: datetime) -> tuple[str, ...]:
    from hive.cli.report import ago, duration
    from hive.costs.money import dollars

    end = job.finished_at or (now if job.state == "running" else None)
    error = printable((job.error or {}).get("message", "")).replace("\n", " ")
    return (
        job.short_id,
        job.specification.task,
        str(job.state),
        ago(job.submitted_at, now),
        duration(max(end - job.started_at, timedelta())) if job.started_at and end else "",
        "" if job.cost_usd is None else dollars(job.cost_usd),
        job.worker or "",
        error if len(error) <= _ERROR_WIDTH else f"{error[: _ERROR_WIDTH - 1]}…",
    )


def confirm(verb: str, jobs: "Sequence[JobRecord]", *, is_yes: bool) -> bool:
    """Ask before something is done to many jobs.

    Raises
    ------
    UsageError
        There is no terminal to ask at.
    """
    count = "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
    if is_yes or not jobs:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(f"Not a terminal: pass --yes to {verb} {count}.")
    by_state = {str(job.state): sum(other.state == job.state for other in jobs) for job in jobs}
    words = ", ".join(f"{number:,} {state}" for state, number in by_state.items())
    return click.confirm(f"{verb.capitalize()} {count} ({words})?", err=True)


def change_all(
    session: "Session", jobs: "Sequence[JobRecord]", change: "Callable[[JobRecord], object]", *, as_json: bool
) -> int:
    """Do something to each job, and list those with which it failed; returns the exit code."""
    errors: dict[str, str] = {}
    for job in jobs:
        try:
            change(job)
        except UnreachableError:
            raise
        except HiveError as error:
            errors[job.id] = str(error)
    if as_json:
        print_json([session.find(job.id).to_json() | {"refused": errors.get(job.id)} for job in jobs])
    elif errors:
        rows = [(job.short_id, job.specification.task, errors[job.id]) for job in jobs if job.id in errors]
        print_table(("JOB", "TASK", "REFUSED BECAUSE"), rows, "")
    words = f"{len(jobs) - len(errors):,} of {len(jobs):,} done" if jobs else "There are no such jobs."
    click.echo(words, err=True)
    return int(bool(errors))

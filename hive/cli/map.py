"""What `hive map` does: one job for each input file, or a task many times over."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import current_settings, given_options, job_option_params, print_json, print_table, say
from hive.cli.completion import FileName
from hive.cli.submit import as_click, named_values
from hive.cli.task_command import TaskCommand, meaning
from hive.options import job_options
from hive.task import Task, Written

if TYPE_CHECKING:
    from hive.cli.map_display import MapDisplay
    from hive.client.map import Outcome
    from hive.client.plan import Plan

# The name of the mapped files within the command; what a parameter of a task is called is its own business.
_FILES = "files_to_map"
_OWN_OPTIONS = (_FILES, "out", "count", "again", "force", "detach", "as_json")
_FAILED = 1


class MapCommand(TaskCommand):
    """The command that maps a task."""

    def files(self) -> list[tuple[str, str]]:
        """The files that are mapped."""
        return [
            ("FILES", f"{meaning(self.task, parameter).rstrip('.')}; one job for each.")
            for parameter in self.task.reads[:1]
        ]


def map_command(task: Task[Any, Any]) -> click.Command:
    """Make the command that maps a task, from the task's signature."""
    parameters = [
        parameter
        for parameter in task.parameters
        if parameter not in task.reads[:1] and not isinstance(parameter.kind, Written) and not parameter.takes_rest
    ]
    # A second file that is read is the same for all jobs, so it is an option here.
    options = [as_click(task, dataclasses.replace(parameter, is_positional=False)) for parameter in parameters]
    return MapCommand(task, callback=_callback(task), params=[*_arguments(task), *options, *_own_options(task)])


def _arguments(task: Task[Any, Any]) -> list[click.Parameter]:
    return (
        [click.Argument([_FILES], metavar="FILES...", nargs=-1, required=False, type=FileName())] if task.reads else []
    )


def _own_options(task: Task[Any, Any]) -> list[click.Parameter]:
    out = "Folder for the results, made where it is missing; each is called after its input."
    count = [click.Option(["--count"], type=int, metavar="N", help="How many jobs.  [required]")]
    return [
        *([] if task.reads else count),
        click.Option(["--out"], metavar="DIR", type=FileName(is_folder=True), help=out),
        click.Option(["--again"], is_flag=True, help="Compute everything anew, also what is done."),
        *job_option_params(),
        click.Option(["--detach"], is_flag=True, help="Print the jobs' ids and return."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the jobs as one JSON array."),
        click.Option(["--force"], is_flag=True, help="Overwrite result files that are newer than their jobs."),
    ]


def _callback(task: Task[Any, Any]) -> Callable[..., int]:
    def run(**given: Any) -> int:  # noqa: ANN401  click's values
        from hive.client.plan import Plan

        own = {name: given.pop(name, None) for name in _OWN_OPTIONS}
        options = given_options({option.name: given.pop(option.name) for option in job_options()})
        plan = Plan(
            task=task,
            files=own[_FILES] or (),
            count=own["count"],
            out=Path(own["out"]) if own["out"] else None,
            values=named_values(task, given),
            options=options,
        )
        return _carry_out(plan, **{name: bool(own[name]) for name in ("again", "force", "detach", "as_json")})

    return run


def _carry_out(plan: "Plan", *, again: bool, force: bool, detach: bool, as_json: bool) -> int:
    from hive.cli.map_display import MapDisplay
    from hive.client import Session
    from hive.client.map import gather, send_items
    from hive.client.plan import make_items

    items = make_items(plan)
    session, display = Session(current_settings()), MapDisplay()
    session.check_budget([item.request for item in items], say)
    begin = time.monotonic()
    try:
        with display:
            mapped = send_items(session, items, display, again=again)
            ended = {} if detach else {item.mapped.id: item for item in gather(session, mapped, display, force=force)}
    except KeyboardInterrupt:
        click.echo(f"\n{_left(display, again)}", err=True)
        raise
    if detach:
        ids = [item.id for item in mapped]
        print_json(ids) if as_json else click.echo("\n".join(ids))
        return 0
    return _tell([ended[item.id] for item in mapped], time.monotonic() - begin, as_json=as_json)


def _left(display: "MapDisplay", again: bool) -> str:
    """How a map stands that is not waited for any more, and how to come back to it."""
    from hive.client.map import without_again

    return f"{display.standing()} Come back: give the same command again{without_again(again)}. Or see: hive jobs"


def _cost(outcomes: Sequence["Outcome"]) -> str:
    """What the jobs cost together; nothing if the cost of one of them is unknown."""
    from hive.costs.money import dollars

    costs = [outcome.job.cost_usd if outcome.job is not None else None for outcome in outcomes]
    known_costs = [usd for usd in costs if usd is not None]
    return f", {dollars(sum(known_costs))}" if costs and len(known_costs) == len(costs) else ""


def _tell(outcomes: Sequence["Outcome"], seconds: float, *, as_json: bool) -> int:
    """Print how a map ended and return the exit code that says so."""
    from hive.cli.report import duration

    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if as_json:
        print_json([outcome.to_json() for outcome in outcomes])
    elif failed:
        rows = [(outcome.mapped.name, outcome.mapped.id[:8], (outcome.error or {})["message"]) for outcome in failed]
        print_table(("INPUT", "JOB", "FAILED BECAUSE"), rows, "")
    words = f"{len(outcomes) - len(failed):,} of {len(outcomes):,} done"
    words += f", {len(failed):,} failed" if failed else ""
    click.echo(f"{words}, in {duration(timedelta(seconds=seconds))}{_cost(outcomes)}", err=True)
    return _FAILED if failed else 0

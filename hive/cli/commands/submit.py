"""`hive submit`, `hive map` and `hive describe`: the capabilities and tasks as commands."""

from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import Group, Section, json_option, print_json, print_table, with_job_options
from hive.cli.completion import Word, tasks
from hive.errors import BadParameterError
from hive.options import job_options

if TYPE_CHECKING:
    from hive.task import Task


class Capabilities(Group):
    """The capabilities, as commands; they and their tasks are imported when they are needed."""

    @staticmethod
    def task_command(task: "Task[Any, Any]") -> click.Command:
        """The command of a task."""
        from hive.cli.submit import task_command

        return task_command(task)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All capabilities that are known here."""
        from hive.catalog import all_capabilities

        return [capability.name for capability in all_capabilities()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The group of a capability's tasks."""
        from hive.catalog import find_capability
        from hive.cli.submit import CapabilityGroup

        return CapabilityGroup(find_capability(cmd_name), self.task_command)


class MapCapabilities(Capabilities):
    """The same for `hive map`."""

    @staticmethod
    def task_command(task: "Task[Any, Any]") -> click.Command:
        """The command that maps a task."""
        from hive.cli.map import map_command

        return map_command(task)


@click.group(cls=Capabilities, invoke_without_command=True, subcommand_metavar="CAPABILITY TASK [FILES]... [OPTIONS]")
@click.option(
    "--type",
    "type_",
    metavar="T",
    type=Word(tasks),
    help="Task as capability.task, or a capability for its default task.",
)
@click.option("--params", metavar="JSON", help="All parameters as one JSON object; files are paths or references.")
@with_job_options
@click.option("--detach", is_flag=True, help="Print the job's id and return.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite result files that are newer than the job.")
@click.pass_context
def submit(ctx: click.Context, /, type_: str | None, params: str | None, **own: Any) -> int | None:  # noqa: ANN401  click
    """Send a job, wait for it, and bring its files back.

    \b
      hive submit gis dtm tile.laz dtm.tif --cell 1
      hive submit test --seconds 5
      hive submit --type gis.dtm --params '{"cloud": "tile.laz", "cell": 1}'
    """  # noqa: D301  click wants the character \b itself
    if ctx.invoked_subcommand is not None:
        if type_ is not None or params is not None:
            raise BadParameterError("Name the task either by --type or by CAPABILITY TASK, not both.")
        if any(value not in (None, False) for value in own.values()):
            flags = ", ".join(option.flag for option in job_options())
            raise BadParameterError(f"Write {flags}, --detach, --json and --force behind the task, not before it.")
        return None
    if type_ is None:
        click.echo(ctx.get_help())
        return 0
    from hive.catalog import find_task
    from hive.cli.submit import submit_task
    from hive.client.request import with_files

    task = find_task(type_)
    return submit_task(task, with_files(task, _read_params(params)), **own)


def _read_params(text: str | None) -> dict[str, object]:
    import json

    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise BadParameterError(f"--params is no JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BadParameterError('--params must be a JSON object such as {"cell": 1}.')
    return values


@click.group(cls=MapCapabilities, subcommand_metavar="CAPABILITY TASK [FILES]... --out DIR [OPTIONS]")
def map() -> None:
    """Send one job for each file, and bring the results back.

    \b
      hive map gis dtm tiles/*.laz --out models --cell 1
      hive map test probe --count 100 --seconds 1

    The same command again skips what is done: same contents of the files, same options, same code of the task. It waits
    for what is still on its way and tries again what had failed.
    """  # noqa: D301  click wants the character \b itself


@click.command()
@click.argument("task", required=False, metavar="[TASK]", type=Word(tasks))
@json_option
def describe(task: str | None, as_json: bool) -> None:
    """Describe a task such as gis.dtm, or list all tasks."""
    from hive.catalog import all_tasks, find_task
    from hive.cli.task_command import default_words, meaning

    if task is None:
        tasks_here = list(all_tasks())
        if as_json:
            print_json(
                [
                    {"task": declared.wire_name, "capability": declared.capability, "summary": declared.summary}
                    for declared in tasks_here
                ]
            )
        else:
            print_table(
                ("TASK", "DOES"),
                [(declared.wire_name, declared.summary) for declared in tasks_here],
                "There are no tasks.",
            )
        return
    described = find_task(task)
    if as_json:
        print_json(
            {
                "task": described.wire_name,
                "capability": described.capability,
                "summary": described.summary,
                "parameters": described.schema(),
                "result": described.result_schema(),
            }
        )
        return
    click.echo(f"{described.wire_name}\n\n{described.help}\n")
    for title in dict.fromkeys(["", *(group.title for group in described.groups)]):
        parameters = [parameter for parameter in described.parameters if parameter.group == title]
        rows = [
            (parameter.name, parameter.kind.metavar, default_words(parameter), meaning(described, parameter))
            for parameter in parameters
        ]
        if title:
            click.echo(f"\n{title}")
        print_table(("PARAMETER", "TAKES", "DEFAULT", ""), rows, "It takes nothing.")
    click.echo()
    nothing = "Its measures are known to each run alone." if described.result_type is dict else "It measures nothing."
    print_table(
        ("MEASURE", "UNIT", ""), [(measure.name, measure.unit, measure.help) for measure in described.measures], nothing
    )


COMMANDS = {Section.JOBS: (submit, map, describe)}

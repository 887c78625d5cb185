"""`hive describe`: what a task takes, and what it measures."""

import click

from hive.commands.common import json_option, print_json, print_table
from hive.commands.signature import default_words, meaning


@click.command()
@click.argument("task", required=False, metavar="[TASK]")
@json_option
def describe(task: str | None, as_json: bool) -> None:
    """Describe a task such as gis.dtm by its JSON schema; without TASK, list all tasks."""
    from hive.catalog import all_tasks, find_task

    if task is None:
        known = list(all_tasks())
        if as_json:
            print_json([{"task": one.wire_name, "capability": one.capability, "summary": one.summary} for one in known])
        else:
            print_table(("TASK", "DOES"), [(one.wire_name, one.summary) for one in known], "There are no tasks.")
        return
    found = find_task(task)
    if as_json:
        print_json(
            {
                "task": found.wire_name,
                "capability": found.capability,
                "summary": found.summary,
                "parameters": found.schema(),
                "result": found.result_schema(),
            }
        )
        return
    click.echo(f"{found.wire_name}\n\n{found.help}\n")
    rows = [(one.name, one.kind.metavar, default_words(one), meaning(found, one)) for one in found.parameters]
    print_table(("PARAMETER", "TAKES", "DEFAULT", ""), rows, "It takes nothing.")
    click.echo()
    nothing = "Its measures are known to each run alone." if found.result_type is dict else "It measures nothing."
    print_table(("MEASURE", "UNIT", ""), [(one.name, one.unit, one.help) for one in found.measures], nothing)

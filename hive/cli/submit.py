"""`hive submit` and `hive describe`: one command per task, made from its signature."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hive.catalog import all_capabilities, find_capability, find_task, load_tasks, task_names
from hive.cli.common import current_settings, json_option, print_json, print_table, say
from hive.cli.task_command import TaskCommand, default_words, meaning, option_help, usage_word
from hive.errors import BadParameterError
from hive.options import JobOptions, Option, job_options
from hive.task import Capability, Task, Written
from hive.task.parameter import Parameter

if TYPE_CHECKING:
    from hive.client import Request, Session

F = TypeVar("F", bound=Callable[..., Any])
_OWN_OPTIONS = ("detach", "as_json", "force")


class _OptionValue(click.ParamType[Any]):
    """Hands a word of the command line to the check of a job-wide option."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.metavar.lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read the word, or refuse it in one sentence."""
        return self.option.check(value)


def job_option_params() -> list[click.Parameter]:
    """The job-wide options as those of a command."""
    return [click.Option([option.flag, option.name], **_attributes(option)) for option in job_options()]


def with_job_options(function: F) -> F:
    """Add the job-wide options to a command that is made by decorators."""
    for option in reversed(job_options()):
        function = click.option(option.flag, option.name, **_attributes(option))(function)
    return function


def _attributes(option: Option) -> dict[str, Any]:
    default = "" if option.default is None else f"  [default: {option.default}]"
    return {"type": _OptionValue(option), "metavar": option.metavar, "help": option.help + default}


def given_options(values: Mapping[str, object]) -> JobOptions:
    """The job-wide options of a command line, where what is not given has its default."""
    return JobOptions.read({name: value for name, value in values.items() if value is not None})


class SubmitGroup(click.Group):
    """The capabilities, as commands."""

    @staticmethod
    def task_command(task: Task[Any, Any]) -> click.Command:
        """The command of a task."""
        return task_command(task)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All capabilities that are known here."""
        return [capability.name for capability in all_capabilities()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The group of a capability's tasks."""
        capability = find_capability(cmd_name)
        return CapabilityGroup(capability, self.task_command)


class CapabilityGroup(click.Group):
    """The tasks of one capability; its default task needs no name."""

    def __init__(self, capability: Capability, task_command: Callable[[Task[Any, Any]], click.Command]) -> None:
        default = f" Without TASK: {capability.default}." if capability.default else ""
        super().__init__(capability.name, help=capability.summary + default, subcommand_metavar="TASK [ARGS]...")
        self.capability = capability
        self._task_command = task_command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All tasks of the capability."""
        return task_names(self.capability)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of a task."""
        return self._task_command(find_task(f"{self.capability.name}.{cmd_name}"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default task's name in front where none is given."""
        if self.capability.default and not self._names_task(args):
            args = [self.capability.default, *args]
        return super().parse_args(ctx, args)

    def _names_task(self, args: list[str]) -> bool:
        """Whether the first word is a task, or was meant as one: files have a dot or a slash in their names."""
        if not args or args[0].startswith("-"):
            return bool(args) and args[0] in ("-h", "--help") and len(task_names(self.capability)) > 1
        load_tasks(self.capability, args[0])
        return args[0] in self.capability.tasks or not any(mark in args[0] for mark in "./")


@click.group(cls=SubmitGroup, invoke_without_command=True, subcommand_metavar="CAPABILITY TASK [FILES]... [OPTIONS]")
@click.option("--type", "type_", metavar="T", help="Task as capability.task, or a capability for its default task.")
@click.option("--params", metavar="JSON", help="All parameters as one JSON object; files are paths or references.")
@with_job_options
@click.option("--detach", is_flag=True, help="Print the job's id and return.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite result files that are newer than the job.")
@click.pass_context
def submit(ctx: click.Context, /, type_: str | None, params: str | None, **own: Any) -> int | None:  # noqa: ANN401  click
    """Send a job: check it, send its files, wait with progress, bring the written files back.

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
    from hive.client.request import with_files

    task = find_task(type_)
    return _carry_out(task, with_files(task, _read_params(params)), **own)


def _read_params(text: str | None) -> dict[str, object]:
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise BadParameterError(f"--params is no JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BadParameterError('--params must be a JSON object such as {"cell": 1}.')
    return values


def task_command(task: Task[Any, Any]) -> click.Command:
    """Make the command of a task from its signature."""
    parameters: list[click.Parameter] = [as_click(task, one) for one in task.parameters if not one.takes_rest]
    own: list[click.Parameter] = [
        *job_option_params(),
        click.Option(["--detach"], is_flag=True, help="Print the job's id and return."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the job as one JSON document."),
        click.Option(["--force"], is_flag=True, help="Overwrite result files that are newer than the job."),
    ]
    return TaskCommand(task, callback=_callback(task), params=[*parameters, *own])


def _callback(task: Task[Any, Any]) -> Callable[..., int]:
    def run(**given: Any) -> int:  # noqa: ANN401  click's values
        own = {name: given.pop(name) for name in (*_OWN_OPTIONS, *(option.name for option in job_options()))}
        return _carry_out(task, named_values(task, given), **own)

    return run


def named_values(task: Task[Any, Any], given: Mapping[str, Any]) -> dict[str, object]:
    """The values that were really given; what is missing keeps the default of the signature."""
    values: dict[str, object] = {}
    for parameter in task.parameters:
        value = given.get(parameter.name)
        if value is None or value == ():
            continue
        values[parameter.name] = list(value) if parameter.is_repeated else value
    return values


class _Value(click.ParamType[Any]):
    """Hands a word of the command line to the parameter's own check."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.name = parameter.kind.metavar.lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read the word, or refuse it in one sentence."""
        return self.parameter.parse(value) if isinstance(value, str) else value


def as_click(task: Task[Any, Any], parameter: Parameter) -> click.Parameter:
    """A parameter of a task as one of the command line."""
    if parameter.is_positional:
        # Checked by the task itself, so that the command line and Python say the same about what is missing.
        return click.Argument(
            [parameter.name],
            metavar=usage_word(task, parameter),
            required=False,
            nargs=-1 if parameter.is_repeated else 1,
            type=_Value(parameter),
        )
    if isinstance(parameter.default, bool) or parameter.kind.schema().get("type") == "boolean":
        return click.Option(
            [f"{parameter.option}/--no-{parameter.option[2:]}", parameter.name],
            default=None,
            help=option_help(task, parameter),
        )
    names = [parameter.option, parameter.name, *(["-o"] if parameter is _main_output(task) else [])]
    return click.Option(
        names,
        metavar=parameter.kind.metavar,
        multiple=parameter.is_repeated,
        default=None,
        type=_Value(parameter),
        help=option_help(task, parameter),
    )


def _main_output(task: Task[Any, Any]) -> Parameter | None:
    """The written file that `-o` names: the first that is no preview, where it is an option."""
    main = next((one for one in task.writes if isinstance(one.kind, Written) and not one.kind.is_preview), None)
    return None if main is None or main.is_positional else main


def _carry_out(
    task: Task[Any, Any],
    values: Mapping[str, object],
    *,
    detach: bool,
    as_json: bool,
    force: bool,
    **options: object,
) -> int:
    from hive.cli.waiting import wait_and_fetch
    from hive.client import Session, make_request

    request = make_request(task, values, given_options(options))
    session = Session(current_settings())
    session.check_budget([request], say)
    job_id = _send(session, request)
    if detach:
        print_json(session.find(job_id).to_json()) if as_json else click.echo(job_id)
        return 0
    return wait_and_fetch(session, job_id, as_json=as_json, force=force)


def _send(session: "Session", request: "Request") -> str:
    from hive.cli.display import Display

    with Display() as display:
        return session.submit(request, display)


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
    for title in dict.fromkeys(["", *(group.title for group in found.groups)]):
        parameters = [parameter for parameter in found.parameters if parameter.group == title]
        rows = [(one.name, one.kind.metavar, default_words(one), meaning(found, one)) for one in parameters]
        if title:
            click.echo(f"\n{title}")
        print_table(("PARAMETER", "TAKES", "DEFAULT", ""), rows, "It takes nothing.")
    click.echo()
    nothing = "Its measures are known to each run alone." if found.result_type is dict else "It measures nothing."
    print_table(("MEASURE", "UNIT", ""), [(one.name, one.unit, one.help) for one in found.measures], nothing)

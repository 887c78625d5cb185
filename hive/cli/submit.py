"""What `hive submit` does: one command for each task, made from its signature."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from hive.catalog import find_task, load_tasks, task_names
from hive.cli.common import Group, current_settings, given_options, job_option_params, print_json, say
from hive.cli.completion import FileName, Word
from hive.cli.task_command import TaskCommand, option_help, usage_word
from hive.options import job_options
from hive.task import Capability, Task, Written
from hive.task.parameter import Parameter
from hive.task.values import Choice

if TYPE_CHECKING:
    from hive.client import Request, Session

_OWN_OPTIONS = ("detach", "as_json", "force")


class CapabilityGroup(Group):
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
        is_asked = ctx.resilient_parsing and not args  # a shell completes the first word: all tasks, or a file
        if self.capability.default and not is_asked and not self._names_task(args):
            args = [self.capability.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """The tasks; where there is a default task, also its files."""
        names = super().shell_complete(ctx, incomplete)
        return names or ([CompletionItem(incomplete, type="file")] if self.capability.default else [])

    def _names_task(self, args: list[str]) -> bool:
        """Whether the first word is a task, or was meant as one: files have a dot or a slash in their names."""
        if not args or args[0].startswith("-"):
            return bool(args) and args[0] in ("-h", "--help") and len(task_names(self.capability)) > 1
        load_tasks(self.capability, args[0])
        return args[0] in self.capability.tasks or not any(mark in args[0] for mark in "./")


def task_command(task: Task[Any, Any]) -> click.Command:
    """Make the command of a task from its signature."""
    parameters: list[click.Parameter] = [
        as_click(task, parameter) for parameter in task.parameters if not parameter.takes_rest
    ]
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
        return submit_task(task, named_values(task, given), **own)

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


class _Value(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """Hands a word of the command line to the parameter's own check."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.name = parameter.kind.metavar.lower()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """Files, or the words of a choice."""
        if self.parameter.file is not None:
            return FileName().shell_complete(ctx, param, incomplete)
        words = self.parameter.kind.words if isinstance(self.parameter.kind, Choice) else ()
        return Word(words).shell_complete(ctx, param, incomplete)

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
    main = next(
        (
            parameter
            for parameter in task.writes
            if isinstance(parameter.kind, Written) and not parameter.kind.is_preview
        ),
        None,
    )
    return None if main is None or main.is_positional else main


def submit_task(
    task: Task[Any, Any],
    values: Mapping[str, object],
    *,
    detach: bool,
    as_json: bool,
    force: bool,
    **options: object,
) -> int:
    """Send a job of a task; unless it is detached, wait for it. Returns the exit code."""
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

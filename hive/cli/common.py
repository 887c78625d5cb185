"""What commands share: groups and their lists, settings, a client, and how data is printed."""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from hive.cli.completion import Word, queues
from hive.errors import did_you_mean
from hive.options import JobOptions, Option, job_options

if TYPE_CHECKING:
    from rich.table import Table

    from hive.client import Session
    from hive.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
_ENDLESS = 1 << 20


class Section(StrEnum):
    """The headings of `hive --help`, in their order."""

    JOBS = "Jobs"
    WORKERS = "Workers"
    MACHINES = "Machines"
    MAC = "This Mac"


class Group(click.Group):
    """A group of commands: its list shows each summary in full, and it knows which command was meant."""

    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(rows_of({name: command for name, command in commands.items() if command}))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one there is."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            names = self.list_commands(ctx)
            meant = did_you_mean(name, names).strip()
            raise click.UsageError(f"{meant} There is no command {name!r}, only {', '.join(names)}.".strip(), ctx)
        return super().resolve_command(ctx, args)


def rows_of(commands: Mapping[str, click.Command]) -> list[tuple[str, str]]:
    """Names and summaries for a list of commands."""
    return [(name, command.get_short_help_str(_ENDLESS)) for name, command in commands.items() if not command.hidden]


class Amount(click.FloatRange):
    """A number within bounds; neither infinity nor what is no number, which no bound keeps out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read it as click does, and refuse these."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no amount.", param, ctx)
        return number


def json_option(function: F) -> F:
    """Add `--json`: one JSON document on stdout instead of text for people."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


class _OptionValue(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """Hands a word of the command line to the check of a job-wide option."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.metavar.lower()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """The words that it accepts; of a queue, its name."""
        words = Word(queues if self.option.name == "queue" else self.option.words)
        return words.shell_complete(ctx, param, incomplete)

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


def current_settings(**flags: object) -> "Settings":
    """The settings of this call, with the flags of `hive` itself and those given here."""
    from hive.settings import load_settings

    context = click.get_current_context()
    return load_settings({**(context.find_root().obj or {}), **flags})


def open_session() -> "Session":
    """A session with the settings of this call."""
    from hive.client import Session

    return Session(current_settings())


def say(text: str) -> None:
    """Tell people something beside the data."""
    click.echo(text, err=True)


def print_json(document: object, indent: int | None = 2) -> None:
    """Print one JSON document; without an indent, on one line."""
    import json

    click.echo(json.dumps(document, indent=indent, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a table, in colour on a terminal and as aligned text elsewhere; where it has no rows, say `empty`."""
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_ENDLESS)  # a pipe is as wide as what goes through it
    console.print(table_of(columns, rows))


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """A table that wraps long cells."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # Text: what comes from outside is never markup
    return table


def pairs(values: Mapping[str, object]) -> str:
    """Write names and values on one line each, aligned."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in values.items())


def printable(text: str) -> str:
    """Text from outside, with control characters made visible: a file name must not move the cursor."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def provider_name(value: str) -> str:
    """Refuse an unknown name of a provider of machines; the error lists the known ones."""
    from hive.providers.provider import find_provider

    return find_provider(value).name


def complete_provider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The providers whose names begin like this."""
    from hive.providers.provider import all_providers

    return [name for name in all_providers() if name.startswith(incomplete)]


def provider_option(help: str, default: str | None = None) -> Callable[[F], F]:
    """Add `--provider NAME`, of Hive's own providers and those of other packages."""
    return click.option(
        "--provider",
        metavar="NAME",
        type=provider_name,
        shell_complete=complete_provider,
        default=default,
        show_default=default is not None,
        help=help,
    )

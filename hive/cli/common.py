"""What commands share: settings, a session, and how data is printed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hive.client import Session
    from hive.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
_ENDLESS = 1 << 20


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


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a table, in colour on a terminal and as aligned text elsewhere; where it has no rows, say `empty`."""
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_ENDLESS)  # a pipe is as wide as what goes through it
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # Text: what comes from outside is never markup
    console.print(table)


def pairs(values: Mapping[str, object]) -> str:
    """Write names and values on one line each, aligned."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in values.items())


def printable(text: str) -> str:
    """Text from outside, with control characters made visible: a file name must not move the cursor."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)

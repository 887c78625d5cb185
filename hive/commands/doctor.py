"""`hive doctor`: what is wrong, and how to mend it."""

import os
from typing import TYPE_CHECKING

import click

from hive.commands.common import json_option, open_session, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hive.orchestrator.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_STATE, _CHECK = max(map(len, _COLOURS)), 13


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Find what is wrong with this Hive, and say how to mend it.

    Exit code 0 where there is no problem (warnings may be), 1 where there is one.
    """
    from hive.orchestrator.doctor import Verdict, examine

    findings = list(examine(open_session()))
    if as_json:
        print_json([one.to_json() for one in findings])
    else:
        _print(findings)
    return int(any(one.verdict is Verdict.PROBLEM for one in findings))


def _print(findings: "Sequence[Finding]") -> None:
    colour = False if os.environ.get("NO_COLOR") else None  # None: as the terminal is
    for one in findings:
        state = click.style(f"{one.verdict:<{_STATE}}", fg=_COLOURS[one.verdict])
        click.echo(f"{state}  {one.check:<{_CHECK}}  {printable(one.message)}", color=colour)
        if one.todo:
            click.echo(f"{'':<{_STATE}}  {'':<{_CHECK}}  Mend it: {printable(one.todo)}")
    counts = {name: sum(one.verdict == name for one in findings) for name in _COLOURS}
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()), err=True)

"""`hive home`: where Redis and the gateway are, and moving them to a machine that is always on."""

from typing import TYPE_CHECKING

import click

from hive.cli.common import Section, current_settings, json_option, print_json, printable
from hive.cli.completion import FileName

if TYPE_CHECKING:
    from hive.remote.move import Moved
    from hive.settings import Settings


@click.command()
@click.argument("destination", metavar="[USER@]HOST", required=False)
@click.option("--back", "is_back", is_flag=True, help="Move everything back here.")
@click.option("--gone", "is_gone", is_flag=True, help="With --back: the machine is no more; begin from what was here.")
@click.option(
    "--runtime",
    type=click.Choice(["venv", "systemd"]),
    help="What runs it: a venv with cron, or a venv with systemd [venv].",
)
@click.option(
    "--python",
    metavar="FILE",
    type=FileName(),
    help="A Python there that has Hive's libraries: installs nothing [HIVE_DEPLOY_PYTHON].",
)
@json_option
def home(
    destination: str | None, is_back: bool, is_gone: bool, runtime: str | None, python: str | None, as_json: bool
) -> None:
    """Move Redis and the gateway to a machine that is always on.

    Then a closed lid does not matter. Jobs, logs, files and history move along; here everything continues through a
    tunnel. Without a machine, it says where the home is.

    \b
      hive home me@studio
      hive home
      hive home --back
    """  # noqa: D301  click wants the character \b itself
    if is_back and (destination or runtime or python):
        raise click.UsageError("--back needs no machine: it is known where the home is", click.get_current_context())
    if is_gone and not is_back:
        raise click.UsageError("--gone says how --back shall go about it; give both", click.get_current_context())
    settings = current_settings()
    if is_gone:
        _take_back(settings, as_json)
    elif is_back:
        _back(settings, as_json)
    elif destination is None:
        _show(settings, as_json)
    else:
        _move(settings, destination, runtime, python, as_json)


def _move(settings: "Settings", destination: str, runtime: str | None, python: str | None, as_json: bool) -> None:
    from hive.remote import Runtime
    from hive.remote.move import move

    moved = move(settings, destination, Runtime(runtime) if runtime else None, python, _tell)
    assert moved.home is not None  # noqa: S101  it has just been moved there
    if as_json:
        print_json(moved.to_json())
    elif moved.counts is None:
        click.echo(f"The home of this Hive is {moved.home.destination} already, and is up to date.")
    else:
        click.echo(f"The home of this Hive is {moved.home.destination} now: {_amount(moved)}.")
    _warn(moved)
    for name in moved.through:
        click.echo(
            f"The worker {name} still comes through this machine, and waits while its lid is closed; only workers on "
            f"{moved.home.destination} do not.",
            err=True,
        )
    if not as_json:
        click.echo("Next: hive submit, as before. To move it back: hive home --back", err=True)


def _back(settings: "Settings", as_json: bool) -> None:
    from hive.remote.move import move_back

    moved = move_back(settings, _tell)
    if as_json:
        print_json(moved.to_json())
    elif moved.counts is None:
        click.echo("The home of this Hive is here already.")
    else:
        click.echo(f"The home of this Hive is here again: {_amount(moved)}.")
    _warn(moved)


def _take_back(settings: "Settings", as_json: bool) -> None:
    from hive.remote.move import take_back

    left = take_back(settings)
    if as_json:
        print_json({"host": None, "left": left.destination})
        return
    click.echo("The home of this Hive is here again, as it was before it moved.")
    click.echo(
        f"What came since is lost with {left.destination}, except jobs of this laptop, which hive up sends again.",
        err=True,
    )


def _show(settings: "Settings", as_json: bool) -> None:
    from hive.home.location import elsewhere, state

    location = elsewhere(settings)
    if as_json:
        way = state(settings, location).to_json() if location else None
        print_json({"host": location and location.destination, "home": str(settings.home), "tunnel": way})
    elif location is None:
        click.echo(f"The home of this Hive is here: {settings.home}")
        click.echo("To move it to a machine that is always on: hive home USER@HOST", err=True)
    else:
        way_state = state(settings, location).state
        click.echo(
            f"The home of this Hive is {location.destination} (tunnel {way_state}): ~/.hive-home/{location.name} there"
        )
        if way_state != "up":
            click.echo("Why: hive doctor" if way_state != "stopped" else "To reach it: hive up", err=True)


def _amount(moved: "Moved") -> str:
    counts = moved.counts or {}
    return f"{counts['jobs']} jobs, {counts['records']} records and logs, {counts['messages']} messages"


def _warn(moved: "Moved") -> None:
    for name, why in (moved.not_repointed or {}).items():
        click.echo(
            f"The worker {name} does not know of it yet ({printable(why)}); run hive deploy ssh for it.", err=True
        )


def _tell(words: str) -> None:
    click.echo(printable(words), err=True)


COMMANDS = {Section.MAC: (home,)}

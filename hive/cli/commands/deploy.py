"""`hive deploy`: put a worker on a machine over ssh, and take it away."""

from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import Group, Section, current_settings, json_option, pairs, print_json, print_table, printable
from hive.cli.completion import FileName, Word, capabilities, deployed
from hive.errors import UnreachableError

if TYPE_CHECKING:
    from hive.remote import Deployed, Target
    from hive.settings import Settings

_MIB = 1 << 20


@click.group(cls=Group)
def deploy() -> None:
    """Put workers on other machines, and take them away."""


@deploy.command()
@click.argument("destination", metavar="[USER@]HOST", type=Word(deployed))
@click.option(
    "--capabilities",
    metavar="LIST",
    type=Word(capabilities),
    help="What it serves, how many jobs at once: gis=2,training=1 [gis=1].",
)
@click.option(
    "--runtime",
    type=click.Choice(["venv", "systemd", "docker"]),
    help="What runs it: a venv with cron, a venv with systemd, or a container [venv].",
)
@click.option("--name", metavar="NAME", help="Name of the worker there [the host's].")
@click.option(
    "--tunnel/--direct",
    "has_tunnel",
    default=None,
    help="How the worker comes here: by a tunnel from this machine, or itself, after `hive up --lan`.",
)
@click.option(
    "--python",
    metavar="FILE",
    type=FileName(),
    help="A Python there that has Hive's libraries: installs nothing [HIVE_DEPLOY_PYTHON].",
)
@click.option(
    "--allow-scripts/--refuse-scripts",
    "allows_scripts",
    default=None,
    help="Whether it runs scripts of everybody who can submit (capability run) [refuse].",
)
@click.option("--remove", "is_removal", is_flag=True, help="Take everything away again, and revoke its identity.")
@click.option("--gone", "is_gone", is_flag=True, help="With --remove: the machine is no more, do not ask it.")
@json_option
def ssh(destination: str, is_removal: bool, is_gone: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Put a worker on a machine over ssh. Call it again to update the worker.

    \b
      hive deploy ssh me@studio --capabilities gis=2
      hive deploy ssh me@studio --remove
    """  # noqa: D301  click wants the character \b itself
    from hive.remote import Runtime, Target

    settings = current_settings()
    options["runtime"] = options["runtime"] and Runtime(options["runtime"])
    target = Target(destination, **options)
    if is_gone and not is_removal:
        raise click.UsageError("--gone says how --remove shall go about it; give both", click.get_current_context())
    if is_removal:
        _remove(settings, target, is_gone, as_json)
    else:
        _deploy(settings, target, as_json)


def _deploy(settings: "Settings", target: "Target", as_json: bool) -> None:
    from hive.remote import deploy as put

    done = put(settings, target, lambda words: click.echo(printable(words), err=True))
    if as_json:
        print_json(done.to_json())
    else:
        _print(done)
    _say_way(settings, done)


def _say_way(settings: "Settings", done: "Deployed") -> None:
    """Say of a worker that it depends on this machine although the home does not."""
    from hive.home import elsewhere
    from hive.remote import is_same_host

    home = elsewhere(settings)
    if home and done.record.ports and not is_same_host(home.destination, done.record.destination):
        click.echo(
            f"{done.record.name} comes to {home.destination} through this machine, and waits while its lid is closed.",
            err=True,
        )


def _print(done: "Deployed") -> None:
    record = done.record
    click.echo(f"{record.name} {'is ready' if done.is_changed else 'is up to date'} on {record.destination}.")
    for worker in done.workers:
        memory = f"{worker['memory_bytes'] / _MIB:.0f} MiB"
        gpus = "; ".join(worker["gpus"]) or "-"
        click.echo(pairs({printable(worker["name"]): printable(f"{worker['slots']} at once, {memory}, GPU {gpus}")}))
    click.echo("Next: hive submit. To take it away: hive deploy ssh " + f"{record.destination} --remove", err=True)


def _remove(settings: "Settings", target: "Target", is_gone: bool, as_json: bool) -> None:
    from hive.remote import name_for, remove

    done = remove(settings, target.name or name_for(target.destination), is_gone=is_gone)
    if as_json:
        print_json(vars(done))
    elif not done.left:
        click.echo(f"{done.name} is removed from {done.destination}; its identity is revoked.")
    if done.left:
        raise UnreachableError(
            f"{done.left} The identity of {done.name} is revoked and its tunnel ended; its files and its process are "
            "still there. Run this again when it is back, or with --gone."
        )


@deploy.command()
@json_option
def ls(as_json: bool) -> None:
    """List the machines with a deployed worker, and their tunnels."""
    from hive.home.tunnels import states
    from hive.remote import find_all

    settings = current_settings()
    held = {record.name: record for record in states(settings)}
    records = find_all(settings)
    if as_json:
        states_ = [(record, held.get(record.name)) for record in records]
        print_json([record.to_json() | {"tunnel": tunnel and tunnel.to_json()} for record, tunnel in states_])
        return
    rows = [
        (
            record.name,
            record.destination,
            record.capabilities,
            record.runtime,
            _way(held[record.name].state if record.name in held else None),
        )
        if not record.is_left
        else (
            record.name,
            record.destination,
            record.capabilities,
            record.runtime,
            "removed here; its files are left there",
        )
        for record in records
    ]
    print_table(
        ("NAME", "HOST", "SERVES", "RUNTIME", "TUNNEL"), rows, "Nothing is deployed. Begin: hive deploy ssh USER@HOST"
    )


def _way(state: str | None) -> str:
    return state or "none; it connects directly"


COMMANDS = {Section.MACHINES: (deploy,)}

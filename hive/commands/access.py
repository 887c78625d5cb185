"""`hive access`: who of other machines may come in, and to do what."""

from pathlib import Path

import click

from hive.commands.common import current_settings, json_option, print_json, print_table


@click.group()
def access() -> None:
    """Let workers of other machines in: each with an identity of its own, for some capabilities only."""


@access.command()
@click.argument("name")
@click.option("--capabilities", required=True, metavar="LIST", help="What it may serve: gis or gis,training.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write [access/NAME in HIVE_HOME]."
)
@json_option
def add(name: str, capabilities: str, out: Path | None, as_json: bool) -> None:
    """Make an identity for a worker, and a folder with all that its machine needs."""
    from hive.catalog import find_capability
    from hive.orchestrator import access as identities

    queues = [find_capability(word.strip()).name for word in capabilities.split(",")]
    folder = identities.add(current_settings(), name, queues, out)
    if as_json:
        print_json({"name": name, "capabilities": queues, "folder": str(folder)})
        return
    click.echo(f"{name} may serve {', '.join(queues)}. What its machine needs is in {folder}.")
    click.echo(f"Next: scp -pr {folder} MACHINE:.hive, and there: hive worker.", err=True)


@access.command()
@click.argument("folder", type=click.Path(path_type=Path))
def keys(folder: Path) -> None:
    """Make the keys that containers sign with, in a folder and its folder `worker`; tools/secrets.sh calls this."""
    from hive.orchestrator.keys import make_keys_in

    make_keys_in(folder, folder / "worker")


@access.command()
@json_option
def ls(as_json: bool) -> None:
    """List the identities of workers."""
    from hive.orchestrator import access as identities

    known = identities.listed(current_settings())
    if as_json:
        print_json([{"name": one.name, "capabilities": list(one.queues)} for one in known])
        return
    rows = [[one.name, ", ".join(one.queues)] for one in known]
    print_table(["NAME", "CAPABILITIES"], rows, "No worker has an identity of its own. Make one: hive access add NAME.")


@access.command()
@click.argument("name")
def remove(name: str) -> None:
    """Revoke an identity at once; a worker that uses it loses its connections, and its jobs go on elsewhere."""
    from hive.orchestrator import access as identities

    identities.remove(current_settings(), name)
    click.echo(f"{name} is revoked.")

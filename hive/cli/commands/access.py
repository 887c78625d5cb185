"""`hive access`: who of other machines may come in, and to do what."""

from pathlib import Path

import click

from hive.cli.common import Group, Section, current_settings, json_option, print_json, print_table
from hive.cli.completion import Word, capabilities, identities

_SECRETS = "hive/secrets"
_COMPOSE_UP = "docker compose -f docker-compose.worker.yml up -d --build worker"


@click.group(cls=Group)
def access() -> None:
    """Give workers on other machines an identity of their own."""


@access.command()
@click.argument("name")
@click.option(
    "--capabilities",
    required=True,
    metavar="LIST",
    type=Word(capabilities),
    help="What it may serve: gis or gis,training.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write [access/NAME in HIVE_HOME]."
)
@click.option("--container", is_flag=True, help="The worker runs by docker-compose.worker.yml.")
@json_option
def add(name: str, capabilities: str, out: Path | None, container: bool, as_json: bool) -> None:
    """Create an identity for a worker. Writes a folder with all that its machine needs."""
    from hive.catalog import find_capability
    from hive.home import access as registry

    queues = [find_capability(word.strip()).name for word in capabilities.split(",")]
    folder = registry.add(current_settings(), name, queues, out, in_container=container)
    if as_json:
        print_json({"name": name, "capabilities": queues, "folder": str(folder)})
        return
    click.echo(f"{name} may serve {', '.join(queues)}. What its machine needs is in {folder}.")
    place, start = (".hive", "hive worker") if not container else (_SECRETS, _COMPOSE_UP)
    click.echo(f"Next: scp -pr {folder} MACHINE:{place}, and there: {start}.", err=True)


@access.command()
@click.option("--address", metavar="NAME", help="How machines reach this one that need no tunnel [as before].")
def containers(address: str | None) -> None:
    """Write the secrets that docker-compose.mac.yml reads.

    Passwords, keys and certificates go to HIVE_HOME; tools/secrets.sh calls this. Safe to call twice: what is there
    stays, except for the certificates of the servers, which are renewed.
    """
    import shlex

    from hive.home.containers import prepare

    settings = current_settings()
    prepare(settings, address)
    click.echo(f"What the containers read is in {settings.home}. For hive on this machine:", err=True)
    click.echo(f"export HIVE_HOME={shlex.quote(str(settings.home))}")


@access.command()
@json_option
def ls(as_json: bool) -> None:
    """List the identities of workers."""
    from hive.home.users import identities

    workers = identities(current_settings())
    if as_json:
        print_json([{"name": identity.name, "capabilities": list(identity.queues)} for identity in workers])
        return
    rows = [[identity.name, ", ".join(identity.queues)] for identity in workers]
    print_table(
        ["NAME", "CAPABILITIES"], rows, "No worker has an identity of its own. Create one: hive access add NAME."
    )


@access.command()
@click.argument("name", type=Word(identities))
def remove(name: str) -> None:
    """Revoke an identity at once. A worker that uses it is disconnected; its jobs continue elsewhere."""
    from hive.home import access as registry

    settings = current_settings()
    is_told = registry.remove(settings, name)
    click.echo(f"{name} is revoked.")
    if not is_told:
        click.echo(f"Redis does not answer at port {settings.redis_port}: it knows when it starts again.", err=True)


COMMANDS = {Section.WORKERS: (access,)}

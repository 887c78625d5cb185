"""`hive up` and `hive down`: the Mac side."""

import click

from hive.commands.common import current_settings, json_option, print_json


@click.command()
@click.option("--redis-port", type=int, metavar="PORT", help="Port of Redis [HIVE_REDIS_PORT, 6379].")
@json_option
def up(redis_port: int | None, as_json: bool) -> None:
    """Start the Mac side here: Redis, bound to this machine, with a password. Safe to call twice."""
    from hive.orchestrator import start

    settings = current_settings(redis_port=redis_port)
    service = start(settings)
    if as_json:
        print_json({"services": [vars(service)], "home": str(settings.home)})
        return
    click.echo(
        f"{service.name} {'started' if service.is_new else 'runs already'}: {service.address}, process {service.pid}"
    )
    click.echo(f"home: {settings.home}")
    click.echo("Next: start a worker (hive worker --capabilities gis=2), then hive submit.", err=True)


@click.command()
@json_option
def down(as_json: bool) -> None:
    """Stop the Mac side here. Queued jobs stay on disk and go on after the next `hive up`."""
    from hive.orchestrator import stop

    settings = current_settings()
    pid = stop(settings)
    if as_json:
        print_json({"stopped": [] if pid is None else [{"name": "redis", "pid": pid}]})
    else:
        click.echo(f"Nothing runs under {settings.home}." if pid is None else f"redis stopped: process {pid}")

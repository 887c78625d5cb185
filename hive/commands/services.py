"""`hive up` and `hive down`: the Mac side."""

from typing import TYPE_CHECKING

import click

from hive.commands.common import current_settings, json_option, print_json
from hive.errors import HiveError

if TYPE_CHECKING:
    from hive.settings import Settings


@click.command()
@click.option(
    "--redis-port", type=int, metavar="PORT", help="Port of Redis, also for all later commands [HIVE_REDIS_PORT, 6379]."
)
@json_option
def up(redis_port: int | None, as_json: bool) -> None:
    """Start the Mac side here: Redis, bound to this machine, with a password. Safe to call twice."""
    from hive.orchestrator import start

    settings = current_settings(redis_port=redis_port)
    service = start(settings)
    if redis_port is not None:
        _keep_port(settings)
    sent = _send_missing(settings)
    if as_json:
        print_json({"services": [vars(service)], "home": str(settings.home), "sent_again": sent})
        return
    click.echo(
        f"{service.name} {'started' if service.is_new else 'runs already'}: {service.address}, process {service.pid}"
    )
    click.echo(f"home: {settings.home}")
    click.echo("Next: start a worker (hive worker --capabilities gis=2), then hive submit.", err=True)


def _send_missing(settings: "Settings") -> list[str]:
    """Send again what Redis has lost of this laptop's jobs, and say how many there were."""
    from hive.client import Session
    from hive.client.restore import send_missing

    try:
        sent = send_missing(Session(settings))
    except HiveError as error:  # the Mac side is up all the same
        click.echo(f"hive: {error}", err=True)
        return []
    if sent:
        were = "1 job of this laptop was" if len(sent) == 1 else f"{len(sent)} jobs of this laptop were"
        click.echo(f"{were} missing in Redis and {'is' if len(sent) == 1 else 'are'} sent again", err=True)
    return sent


def _keep_port(settings: "Settings") -> None:
    """Write the port down where the next command looks for it, and say so."""
    from hive.settings import keep_setting, load_settings

    keep_setting(settings, "redis_port", settings.redis_port)
    said = f"Port {settings.redis_port} is kept in {settings.config_file}; later commands find it there."
    if load_settings({"home": settings.home}).redis_port != settings.redis_port:
        said = f"{said[:-1]}, once HIVE_REDIS_PORT is no longer set in your shell: unset HIVE_REDIS_PORT."
    click.echo(said, err=True)


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

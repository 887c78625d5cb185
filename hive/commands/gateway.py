"""`hive gateway`: the web process of the Mac side, in the foreground."""

import click

from hive.commands.common import current_settings


@click.command()
def gateway() -> None:
    """Run the gateway here: HTTP API, files, Flower's pages. `hive up` starts it in the background."""
    from hive.gateway.server import run

    run(current_settings(role="gateway"))

"""`hive dashboard`: the web page of this Hive, in the browser."""

import os
import platform
import webbrowser

import click

from hive.commands.common import current_settings, json_option, print_json


@click.command()
@click.option("--print", "is_printed", is_flag=True, help="Print the address and open nothing.")
@json_option
def dashboard(is_printed: bool, as_json: bool) -> None:
    """Open the web page of this Hive, logged in. The address works once, within a minute; keep it to yourself."""
    from hive.client.gateway import ask

    settings = current_settings()
    ticket = ask(settings, "POST", "/ticket")
    address = settings.gateway_url + ticket["path"]
    if as_json:
        print_json({"url": address, "good_for_s": ticket["good_for_s"]})
    elif not is_printed and _has_display() and webbrowser.open(address):
        click.echo(f"{settings.gateway_url} is open in your browser.", err=True)
    else:
        click.echo(address)
        click.echo(f"Open it in a browser within {ticket['good_for_s']:.0f} s; it works once.", err=True)


def _has_display() -> bool:
    """Whether a browser would have a window where the user sees it; browsers for terminals are left alone."""
    if os.environ.get("BROWSER"):
        return True
    if os.environ.get("SSH_CONNECTION"):
        return False
    return platform.system() == "Darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

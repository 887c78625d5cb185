"""`hive up`, `down`, `restart`, `dashboard`, `doctor`, `gateway`: the Mac side."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import Section, current_settings, json_option, open_session, print_json, printable
from hive.errors import HiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hive.home import Service
    from hive.home.doctor import Finding
    from hive.home.location import Home
    from hive.settings import Settings


@click.command()
@click.option(
    "--redis-port", type=int, metavar="PORT", help="Port of Redis, also for all later commands [HIVE_REDIS_PORT, 6379]."
)
@click.option(
    "--gateway-port",
    type=int,
    metavar="PORT",
    help="Port of the gateway, also for all later commands [HIVE_GATEWAY_PORT, 8000].",
)
@click.option("--redis-only", is_flag=True, help="Start no gateway: no HTTP API, no web page, no files from elsewhere.")
@click.option("--lan", is_flag=True, help="Open both to the network: TLS only, for machines of `hive access add`.")
@click.option("--foreground", is_flag=True, help="Stay, start what ends again, and stop both at Ctrl-C or SIGTERM.")
@click.option("--address", metavar="NAME", help="With --lan: the address or name that others reach this machine by.")
@click.option(
    "--at-login",
    is_flag=False,
    flag_value="on",
    type=click.Choice(["on", "off"]),
    metavar="[off]",
    help="Start them at each login too, with these options; off: no more.",
)
@json_option
def up(
    redis_port: int | None,
    gateway_port: int | None,
    redis_only: bool,
    lan: bool,
    foreground: bool,
    address: str | None,
    at_login: str | None,
    as_json: bool,
) -> None:
    """Start Redis and the gateway on this machine. Safe to call twice.

    \b
      hive up --at-login
      hive up --at-login off
    """  # noqa: D301  click wants the character \b itself
    from hive.home import elsewhere, start, start_open, supervise
    from hive.home.location import wait_for_tunnel

    if address is not None and not lan:
        raise click.UsageError("--address says where --lan opens; give both", click.get_current_context())
    if at_login is not None and foreground:
        raise click.UsageError("--at-login starts them in the background, --foreground does not; pass one of them")
    settings = current_settings(redis_port=redis_port, gateway_port=gateway_port)
    if at_login == "off":
        _end_login(settings, as_json=as_json)
        return
    with_gateway = not redis_only
    services = (
        start_open(settings, address, with_gateway=with_gateway) if lan else start(settings, with_gateway=with_gateway)
    )
    for name, port in (("redis_port", redis_port), ("gateway_port", gateway_port)):
        if port is not None:
            _keep_port(settings, name)
    home = elsewhere(settings)
    if home is not None:
        _print_home(home)
        wait_for_tunnel(settings, home)
    sent = _send_missing(current_settings(redis_port=redis_port, gateway_port=gateway_port))  # with what was just made
    if at_login == "on":
        _start_at_login(settings, redis_only=redis_only, lan=lan, address=address)
    if as_json:
        print_json(_started(settings, services, sent))
    else:
        _print_started(settings, services)
        click.echo("Next: start a worker (hive worker --capabilities gis=2), then hive submit.", err=True)
    if foreground:
        supervise(settings, with_gateway=with_gateway)


def _start_at_login(settings: "Settings", *, redis_only: bool, lan: bool, address: str | None) -> None:
    from hive.home import at_login

    options = ["--redis-only"] * redis_only + ["--lan"] * lan + (["--address", address] if address else [])
    file = at_login.install(settings, options)
    click.echo(f"They start at each login: {file}. To end that: hive up --at-login off", err=True)


def _end_login(settings: "Settings", *, as_json: bool) -> None:
    from hive.home import at_login

    is_removed = at_login.remove(settings)
    if as_json:
        print_json({"at_login": False, "removed": is_removed})
    elif is_removed:
        click.echo("Redis and the gateway do not start at login any more. What runs goes on; to stop it: hive down")
    else:
        click.echo("Redis and the gateway did not start at login.")


def _print_home(home: "Home") -> None:
    click.echo(f"Redis and the gateway run on {home.destination} (hive home); from here there is a tunnel.", err=True)


def _started(settings: "Settings", services: "Sequence[Service]", sent: list[str]) -> dict[str, Any]:
    return {"services": [vars(service) for service in services], "home": str(settings.home), "sent_again": sent}


def _print_started(settings: "Settings", services: "Sequence[Service]") -> None:
    from hive.home.network import network_access

    for service in services:
        verb = "started" if service.is_new else "runs already"
        click.echo(f"{service.name} {verb}: {service.address}, process {service.pid}")
    click.echo(f"home: {settings.home}")
    if network := network_access(settings):
        where = f"rediss://{network.name}:{settings.redis_port} and https://{network.name}:{settings.gateway_port}"
        click.echo(f"open to the network: {where}, for machines of: hive access add", err=True)


def _send_missing(settings: "Settings") -> list[str]:
    """Send again what Redis has lost of this laptop's jobs, and say how many there were."""
    from hive.client import Session

    try:
        sent = Session(settings).send_missing()
    except HiveError as error:  # the Mac side is up all the same
        click.echo(f"hive: {error}", err=True)
        return []
    if sent:
        were = "1 job of this laptop was" if len(sent) == 1 else f"{len(sent)} jobs of this laptop were"
        click.echo(f"{were} missing in Redis and {'is' if len(sent) == 1 else 'are'} sent again", err=True)
    return sent


def _keep_port(settings: "Settings", name: str) -> None:
    """Write a port down where the next command looks for it, and say so."""
    from hive.settings import load_settings, write_setting

    port = getattr(settings, name)
    write_setting(settings, name, port)
    message = f"Port {port} is kept in {settings.config_file}; later commands find it there."
    if getattr(load_settings({"home": settings.home}), name) != port:
        variable = f"HIVE_{name.upper()}"
        message = f"{message[:-1]}, once {variable} is no longer set in your shell: unset {variable}."
    click.echo(message, err=True)


@click.command()
@json_option
def down(as_json: bool) -> None:
    """Stop Redis and the gateway on this machine. Queued jobs stay on disk and go on after the next `hive up`."""
    from hive.home import at_login, elsewhere, stop

    settings = current_settings()
    stopped = stop(settings)
    is_at_login = at_login.is_installed(settings)
    if as_json:
        pids = [{"name": name, "pid": pid} for name, pid in stopped.items()]
        print_json({"stopped": pids, "at_login": is_at_login})
        return
    if not stopped:
        click.echo(f"Nothing runs under {settings.home}.")
    _print_stopped(stopped)
    if home := elsewhere(settings):
        click.echo(f"Redis and the gateway go on on {home.destination} (hive home).", err=True)
    if is_at_login:
        click.echo("They start again at the next login. To end that: hive up --at-login off", err=True)


def _print_stopped(stopped: Mapping[str, int]) -> None:
    for name, pid in stopped.items():
        click.echo(f"{name} stopped: process {pid}")


@click.command()
@json_option
def restart(as_json: bool) -> None:
    """Restart Redis and the gateway, such as after an update. A gateway that did not run is not started.

    Queued jobs stay on disk; running ones go on, and report what they have done meanwhile.
    """
    from hive.home import elsewhere, start, start_open, stop
    from hive.home.location import wait_for_tunnel
    from hive.home.network import network_access

    settings = current_settings()
    was_open = network_access(settings)
    stopped = stop(settings)
    if not as_json:
        _print_stopped(stopped)
    with_gateway = "gateway" in stopped or not stopped
    if was_open and stopped:  # open it stays, until `hive down`
        services = start_open(settings, was_open.name, with_gateway=with_gateway)
    else:
        services = start(settings, with_gateway=with_gateway)
    home = elsewhere(settings)
    if home is not None:
        _print_home(home)
        wait_for_tunnel(settings, home)
    sent = _send_missing(settings)
    if as_json:
        pids = [{"name": name, "pid": pid} for name, pid in stopped.items()]
        print_json({"stopped": pids} | _started(settings, services, sent))
        return
    _print_started(settings, services)


@click.command()
@click.option("--print", "is_printed", is_flag=True, help="Print the address and open nothing.")
@json_option
def dashboard(is_printed: bool, as_json: bool) -> None:
    """Open the web page of this Hive, logged in. The address works once, within a minute; keep it to yourself."""
    import webbrowser

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
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_STATE, _CHECK = max(map(len, _COLOURS)), 13


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Find what is wrong with this Hive, and how to fix it.

    Exit code 0 where there is no problem (warnings may be), 1 where there is one.
    """
    from hive.home.doctor import Verdict, examine

    findings = list(examine(open_session()))
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        _print(findings)
    return int(any(finding.verdict is Verdict.PROBLEM for finding in findings))


def _print(findings: "Sequence[Finding]") -> None:
    colour = False if os.environ.get("NO_COLOR") else None  # None: as the terminal is
    for finding in findings:
        state = click.style(f"{finding.verdict:<{_STATE}}", fg=_COLOURS[finding.verdict])
        click.echo(f"{state}  {finding.check:<{_CHECK}}  {printable(finding.message)}", color=colour)
        if finding.todo:
            click.echo(f"{'':<{_STATE}}  {'':<{_CHECK}}  Fix it: {printable(finding.todo)}")
    counts = {name: sum(finding.verdict == name for finding in findings) for name in _COLOURS}
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()), err=True)


@click.command()
def gateway() -> None:
    """Run the gateway in the foreground. `hive up` starts it in the background."""
    from hive.gateway.server import run

    run(current_settings(role="gateway"))


COMMANDS = {Section.MAC: (up, down, restart, dashboard, doctor, gateway)}

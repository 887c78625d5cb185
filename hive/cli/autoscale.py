"""`hive fleet auto`: rent and end machines as the queues need them."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hive.cli.common import Amount, json_option, open_session, print_json, provider_option
from hive.cli.completion import Word, capabilities, machine_types
from hive.errors import BadFileError, HiveError, SettingError

if TYPE_CHECKING:
    from hive.client import Session
    from hive.machines import LaunchPlan, LaunchRequest
    from hive.machines.autoscale import Bounds, Decision
    from hive.machines.first_start import Installer
    from hive.providers.provider import Provider
    from hive.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
MAX_HOURS = 720.0  # nobody rents a machine by the hour for more than 30 days
# How machines and this Hive connect, for `hive fleet up` and here.
ROUTE_OPTIONS = (
    click.option(
        "--via",
        type=click.Choice(["ssh", "lan"]),
        help="Hive connects to them over ssh, or they connect here [lan after hive up --lan, else ssh].",
    ),
    click.option("--ssh-from", metavar="ADDRESS/32", help="From which addresses they accept ssh; all else is blocked."),
    click.option(
        "--ssh-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE.pub",
        help="Public key with which you can log in too, as the image's administrator.",
    ),
)


def with_options(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Add options to a command, in their order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def launch_request(settings: "Settings", values: dict[str, Any]) -> "LaunchRequest":
    """The request that a command's options make; `extra` are those of the provider alone."""
    from hive.machines import LaunchRequest
    from hive.remote.host import nodes_of

    capabilities = values["capabilities"] or settings.fleet_capabilities
    nodes_of(capabilities)  # refuses unknown names, and names that are there twice
    return LaunchRequest(
        type=values["type"],
        count=values["count"],
        capabilities=capabilities.replace(" ", ""),
        hours=values["hours"],
        idle_min=values["idle_minutes"],
        is_spot=values.get("is_spot", False),
        budget_usd=values["budget"],
        is_unknown_price_accepted=values["accept_unknown_price"],
        disk_gb=values["disk"],
        ssh_key=_public_key(values["ssh_key"]),
        ssh_from=_network(values["ssh_from"]),
        extra=values.get("extra", {}),
    )


def _public_key(file: Path | None) -> str:
    """The content of a file with a public key; never a private one, which would go to the provider."""
    if file is None:
        return ""
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [\w+/=]+( [^\n]*)?", text):
        raise BadFileError(f"{file} is not an ssh public key. Pass the file that ends with .pub.")
    return text


def _network(text: str | None) -> str:
    """The network from which ssh is accepted, as every provider reads it."""
    from ipaddress import ip_network

    try:
        return str(ip_network(text)) if text else ""
    except ValueError as error:
        raise SettingError(f"--ssh-from is {text!r}: {error}. Pass ADDRESS/32.") from error


@click.command()
@click.option("--max", "max_machines", type=click.IntRange(1, 100), required=True, help="Machines at once.")
@click.option("--budget", required=True, metavar="USD/day", help="Dollars in any 24 hours: 10/day.")
@provider_option("Provider of the machines.", default="aws")
@click.option(
    "--type", type=machine_types(), default="g4dn.xlarge", show_default=True, help="Type or size of the machines."
)
@click.option("--region", metavar="REGION", help="Region of the provider.")
@click.option(
    "--capabilities", metavar="LIST", type=Word(capabilities), help="Capabilities they serve [HIVE_FLEET_CAPABILITIES]."
)
@click.option("--wait", "wait_s", type=Amount(0), default=120.0, show_default=True, help="Wait of a job [s].")
@click.option(
    "--hours", type=Amount(0, MAX_HOURS, min_open=True), default=2.0, show_default=True, help="Expiry of each."
)
@click.option("--idle-minutes", type=Amount(0, min_open=True), default=15.0, show_default=True, help="They end then.")
@click.option("--every", "every_s", type=Amount(1), default=30.0, show_default=True, help="Interval of checks [s].")
@click.option("--once", is_flag=True, help="Check once and exit.")
@click.option("--spot", "is_spot", is_flag=True, help="Spot machines; the budget counts their price on demand.")
@with_options(ROUTE_OPTIONS)
@click.option("--dry-run", is_flag=True, help="Check once, print what would be done, and do nothing.")
@json_option
def auto(budget: str, every_s: float, once: bool, dry_run: bool, as_json: bool, **values: Any) -> None:  # noqa: ANN401  as click gives them
    """Start machines while queues wait too long, until Ctrl-C. Idle machines end automatically.

    \b
      hive fleet auto --max 4 --budget 10/day --ssh-from 203.0.113.7/32
    """  # noqa: D301  click wants the character \b itself
    from hive.machines import make_plan
    from hive.machines.autoscale import Bounds, read_budget
    from hive.machines.over_ssh import choose_installer
    from hive.providers.provider import open_provider

    session = open_session()
    bounds = Bounds(values["max_machines"], read_budget(budget), values["wait_s"])
    fixed = {"count": 1, "budget": None, "accept_unknown_price": False, "disk": 100}
    request = launch_request(session.settings, values | fixed)
    installer = choose_installer(session.settings, values["via"], request.ssh_key, request.ssh_from)
    provider = open_provider(session.settings, values["provider"], values["region"])
    plan = make_plan(provider, request)
    while True:
        decisions = _decide(session, provider, plan, bounds)
        if as_json:
            print_json([vars(decision) for decision in decisions])
        for decision in decisions if not as_json else []:
            action = "starting a machine" if decision.is_start else "nothing to start"
            click.echo(f"{decision.queue}: {action}: {decision.why}.")
        if not dry_run:
            _start_machines(session, provider, plan, installer, decisions, is_patient=not once)
        if once or dry_run:
            return
        time.sleep(every_s)


def _decide(session: "Session", provider: "Provider", plan: "LaunchPlan", bounds: "Bounds") -> "list[Decision]":
    from hive.machines import Records, rows
    from hive.machines.autoscale import decide
    from hive.providers.provider import now
    from hive.store.connection import reachable
    from hive.worker.starter import read_nodes

    with reachable(session.settings):
        workers = session.registry.workers()
        queues = session.registry.queues(workers)
    rows(session.settings, [provider], workers)  # machines that have ended themselves no longer count
    served = [node.capability for node in read_nodes(plan.request.capabilities, 1)]
    names = [worker["name"] for worker in workers]
    return decide(queues, Records(session.settings).all(), names, served, bounds, plan.total_usd or 0.0, now())


def _start_machines(
    session: "Session",
    provider: "Provider",
    plan: "LaunchPlan",
    installer: "Installer",
    decisions: "list[Decision]",
    *,
    is_patient: bool,
) -> None:
    """Start the machines that were decided; a patient call prints an error, and the next check tries again."""
    from hive.machines import Launch

    for decision in decisions:
        if not decision.is_start:
            continue
        try:
            Launch(session.settings, provider, installer, plan, lambda text: click.echo(text, err=True)).run(
                session.registry
            )
        except HiveError as error:
            if not is_patient:
                raise
            click.echo(f"hive: {error}", err=True)

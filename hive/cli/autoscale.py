"""`hive fleet auto`: rent and end machines as the queues need them."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hive.cli.common import Amount, json_option, open_session, print_json
from hive.errors import BadFileError, HiveError, SettingError

if TYPE_CHECKING:
    from hive.client import Session
    from hive.machines import LaunchPlan, LaunchRequest, Provider
    from hive.machines.autoscale import Bounds, Decision
    from hive.providers.first_start import Installer
    from hive.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
MOST_HOURS = 720.0  # who wants a machine for longer than 30 days rents it elsewhere
# How machines get their worker, for `hive fleet up` and here.
WAY_OPTIONS = (
    click.option(
        "--via",
        type=click.Choice(["ssh", "lan"]),
        help="Hive goes to them over ssh, with a tunnel; or they come here [lan after hive up --lan, else ssh].",
    ),
    click.option("--ssh-from", metavar="ADDRESS/32", help="From where they let ssh in; nothing else ever is."),
    click.option(
        "--ssh-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE.pub",
        help="Public key that lets you in too, as the image's administrator.",
    ),
)


def with_options(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Add options to a command, in their order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def wish_of(settings: "Settings", type_: str, asked: dict[str, Any]) -> "LaunchRequest":
    """What is wanted, from the options of a command; names that there are not are refused."""
    from hive.machines import LaunchRequest
    from hive.remote.host import nodes_of

    capabilities = asked["capabilities"] or settings.fleet_capabilities
    nodes_of(capabilities)  # names that there are not, or twice, are refused
    return LaunchRequest(
        type=type_,
        count=asked["count"],
        capabilities=capabilities.replace(" ", ""),
        hours=asked["hours"],
        idle_min=asked["idle_minutes"],
        is_spot=asked["is_spot"],
        budget_usd=asked["budget"],
        is_unknown_price_accepted=asked["accept_unknown_price"],
        disk_gb=asked["disk"],
        ssh_key=_public_key(asked["ssh_key"]),
        ssh_from=_network(asked["ssh_from"]),
    )


def _public_key(file: Path | None) -> str:
    """What a file of a public key holds; never that of a private one, which would go to the provider."""
    if file is None:
        return ""
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [\w+/=]+( [^\n]*)?", text):
        raise BadFileError(f"{file} holds no public key of ssh. Name the file that ends with .pub.")
    return text


def _network(text: str | None) -> str:
    """Where ssh is let in from, as every provider reads it."""
    from ipaddress import ip_network

    try:
        return str(ip_network(text)) if text else ""
    except ValueError as error:
        raise SettingError(f"--ssh-from is {text!r}: {error}. Write ADDRESS/32.") from error


@click.command()
@click.option("--max", "most", type=click.IntRange(1, 100), required=True, help="Machines at once.")
@click.option("--budget", required=True, metavar="USD/day", help="Dollars of any 24 hours: 10/day.")
@click.option("--provider", type=click.Choice(["aws", "digitalocean"]), default="aws", show_default=True)
@click.option("--type", "type_", default="g4dn.xlarge", show_default=True, help="Type or size of machine.")
@click.option("--region", metavar="REGION", help="Region of the provider.")
@click.option("--capabilities", metavar="LIST", help="What they serve [HIVE_FLEET_CAPABILITIES].")
@click.option("--wait", "wait_s", type=Amount(0), default=120.0, show_default=True, help="Too long [s].")
@click.option(
    "--hours", type=Amount(0, MOST_HOURS, min_open=True), default=2.0, show_default=True, help="Expiry of each."
)
@click.option("--idle-minutes", type=Amount(0, min_open=True), default=15.0, show_default=True, help="They end then.")
@click.option("--every", "every_s", type=Amount(1), default=30.0, show_default=True, help="Looks [s].")
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--spot", is_flag=True, help="Amazon only: spot machines; the budget counts their price on demand.")
@with_options(WAY_OPTIONS)
@click.option("--dry-run", is_flag=True, help="Look once, say what would be done, and do nothing.")
@json_option
def auto(budget: str, every_s: float, once: bool, dry_run: bool, as_json: bool, **asked: Any) -> None:  # noqa: ANN401  as click gives them
    """Start machines while queues wait too long, until Ctrl-C. Idle machines end automatically.

    \b
      hive fleet auto --max 4 --budget 10/day --ssh-from 203.0.113.7/32
    """  # noqa: D301  click wants the character \b itself
    from hive.machines import make_plan, open_provider
    from hive.machines.autoscale import Bounds, read_budget
    from hive.machines.ssh import choose

    session = open_session()
    bounds = Bounds(asked["most"], read_budget(budget), asked["wait_s"])
    wish = _wish(session, asked)
    installer = choose(session.settings, asked["via"], wish.ssh_key, wish.ssh_from)
    provider = open_provider(session.settings, asked["provider"], asked["region"])
    plan = make_plan(provider, wish)
    while True:
        decisions = _look(session, provider, plan, bounds)
        if as_json:
            print_json([vars(one) for one in decisions])
        for one in decisions if not as_json else []:
            click.echo(f"{one.queue}: {'one more machine' if one.is_start else 'nothing'}, for {one.why}.")
        if not dry_run:
            _carry_out(session, provider, plan, installer, decisions, is_patient=not once)
        if once or dry_run:
            return
        time.sleep(every_s)


def _wish(session: "Session", asked: dict[str, Any]) -> "LaunchRequest":
    """One machine as each of them will be."""
    ours = {"count": 1, "is_spot": asked["spot"], "budget": None, "accept_unknown_price": False, "disk": 100}
    return wish_of(session.settings, asked["type_"], asked | ours)


def _look(session: "Session", provider: "Provider", plan: "LaunchPlan", bounds: "Bounds") -> "list[Decision]":
    from hive.machines import Records, rows
    from hive.machines.autoscale import decide
    from hive.providers.machine import now
    from hive.store.connection import reachable
    from hive.worker.starter import read_nodes

    with reachable(session.settings):
        workers = session.registry.workers()
        queues = session.registry.queues(workers)
    rows(session.settings, [provider], workers)  # those that have ended themselves count no longer
    served = [node.capability for node in read_nodes(plan.wish.capabilities, 1)]
    names = [one["name"] for one in workers]
    return decide(queues, Records(session.settings).all(), names, served, bounds, plan.total_usd or 0.0, now())


def _carry_out(
    session: "Session",
    provider: "Provider",
    plan: "LaunchPlan",
    installer: "Installer",
    decisions: "list[Decision]",
    *,
    is_patient: bool,
) -> None:
    """Start what was decided; an error of the provider is said, and the next look tries again."""
    from hive.machines import Launch

    for one in decisions:
        if not one.is_start:
            continue
        try:
            Launch(session.settings, provider, installer, plan, lambda text: click.echo(text, err=True)).run(
                session.registry
            )
        except HiveError as error:
            if not is_patient:
                raise
            click.echo(f"hive: {error}", err=True)

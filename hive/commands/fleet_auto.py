"""`hive fleet auto`: machines for queues that wait too long."""

import time
from typing import TYPE_CHECKING, Any

import click

from hive.commands.common import Amount, json_option, open_session, print_json
from hive.commands.fleet_wish import MOST_HOURS, WAY_OPTIONS, wish_of, with_options
from hive.errors import HiveError

if TYPE_CHECKING:
    from hive.client import Session
    from hive.fleet import Plan, Provider, Wish
    from hive.fleet.auto import Bounds, Decision
    from hive.fleet.installer import Installer


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
    """Start machines for queues that wait too long, until Ctrl-C; the machines end themselves when they are idle.

    \b
      hive fleet auto --max 4 --budget 10/day --ssh-from 203.0.113.7/32
    """  # noqa: D301  click wants the character \b itself
    from hive.fleet import make_plan, open_provider
    from hive.fleet.auto import Bounds, read_budget
    from hive.fleet.ways import choose

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


def _wish(session: "Session", asked: dict[str, Any]) -> "Wish":
    """One machine as each of them will be."""
    ours = {"count": 1, "is_spot": asked["spot"], "budget": None, "accept_unknown_price": False, "disk": 100}
    return wish_of(session.settings, asked["type_"], asked | ours)


def _look(session: "Session", provider: "Provider", plan: "Plan", bounds: "Bounds") -> "list[Decision]":
    from hive.broker import reachable
    from hive.fleet import Records, rows
    from hive.fleet.auto import decide
    from hive.fleet.machine import now
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
    plan: "Plan",
    installer: "Installer",
    decisions: "list[Decision]",
    *,
    is_patient: bool,
) -> None:
    """Start what was decided; an error of the provider is said, and the next look tries again."""
    from hive.fleet import Launch

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

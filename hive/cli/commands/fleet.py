"""`hive fleet`: machines that Hive rents, from the price to their end."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from hive.cli.autoscale import MOST_HOURS, WAY_OPTIONS, auto, wish_of, with_options
from hive.cli.common import Amount, Group, Section, current_settings, json_option, open_session, print_json, print_table

if TYPE_CHECKING:
    from hive.machines import LaunchPlan, LaunchRequest, Machine, Provider
    from hive.settings import Settings


@click.group(cls=Group)
def fleet() -> None:
    """Rent machines as workers, see their cost, and end them. Idle machines end automatically."""


@fleet.group()
def up() -> None:
    """Start machines, after showing the price and asking."""


_UP_OPTIONS = (
    click.option("--count", type=click.IntRange(1, 100), default=1, show_default=True, help="How many machines."),
    click.option("--capabilities", metavar="LIST", help="What they serve: gis=4,training=1 [HIVE_FLEET_CAPABILITIES]."),
    click.option(
        "--hours",
        type=Amount(0, MOST_HOURS, min_open=True),
        default=2.0,
        show_default=True,
        help="They end after that.",
    ),
    click.option(
        "--idle-minutes",
        type=Amount(0, min_open=True),
        default=15.0,
        show_default=True,
        help="A machine that has had no job for that long ends itself.",
    ),
    click.option("--budget", type=Amount(0), metavar="USD", help="Start nothing that may cost more."),
    click.option("--accept-unknown-price", is_flag=True, help="Start them although Hive does not know their price."),
    click.option("--disk", type=click.IntRange(10, 4000), default=100, show_default=True, help="Disk of each [GB]."),
    *WAY_OPTIONS,
    click.option("--yes", is_flag=True, help="Do not ask before spending."),
    click.option("--dry-run", is_flag=True, help="Show the price and start nothing."),
    json_option,
)


_up_options = with_options(_UP_OPTIONS)


@up.command()
@click.option("--type", "type_", required=True, metavar="TYPE", help="Instance type, such as g4dn.xlarge.")
@click.option("--region", metavar="REGION", help="Region [AWS_REGION, us-east-1].")
@click.option("--spot", is_flag=True, help="Spot machines: cheaper, and Amazon may take them back.")
@_up_options
def aws(type_: str, region: str | None, spot: bool, **asked: Any) -> int:  # noqa: ANN401  as click gives them
    """Start machines of Amazon EC2.

    \b
      hive fleet up aws --type g4dn.xlarge --count 4 --spot --hours 2 --budget 5 --ssh-from 203.0.113.7/32
    """  # noqa: D301  click wants the character \b itself
    return _start("aws", region, type_, is_spot=spot, **asked)


@up.command()
@click.option("--size", required=True, metavar="SIZE", help="Size of droplet, such as g-8vcpu-32gb.")
@click.option("--region", default="nyc1", show_default=True, metavar="REGION", help="Region.")
@_up_options
def digitalocean(size: str, region: str, **asked: Any) -> int:  # noqa: ANN401  as click gives them
    """Start droplets of DigitalOcean.

    \b
      hive fleet up digitalocean --size g-8vcpu-32gb --region nyc1 --ssh-from 203.0.113.7/32
    """  # noqa: D301  as above
    return _start("digitalocean", region, size, is_spot=False, **asked)


def _start(provider_name: str, region: str | None, type_: str, **asked: Any) -> int:  # noqa: ANN401
    from hive.machines import Launch
    from hive.machines.ssh import choose
    from hive.providers.provider import check_limits
    from hive.store.connection import reachable

    session = open_session()
    settings = session.settings
    wish = wish_of(settings, type_, asked)
    if asked["dry_run"]:
        _plan(settings, provider_name, region, wish)
        return 0
    installer = choose(settings, asked["via"], wish.ssh_key, wish.ssh_from)
    with reachable(settings):
        session.registry.workers()  # before anything costs money: the machines could not report
    provider, plan = _plan(settings, provider_name, region, wish)
    check_limits(settings, plan.total_usd)
    if not _is_wanted(plan, asked["yes"]):
        _say("Nothing was started.")
        return 1
    with reachable(settings):
        started = Launch(settings, provider, installer, plan, _say).run(session.registry)
    _show_started(started, asked["as_json"])
    return 0


def _plan(
    settings: "Settings", provider_name: str, region: str | None, wish: "LaunchRequest"
) -> "tuple[Provider, LaunchPlan]":
    """Look up what is wanted, and say what it costs."""
    from hive.machines import make_plan, open_provider

    provider = open_provider(settings, provider_name, region)
    plan = make_plan(provider, wish)
    _say(f"{wish.count} x {plan.offer.text}: {plan.price_text}.")
    if provider_name == "digitalocean" and not settings.do_machine_token_file.exists():
        _say(
            "A droplet that is off still costs. To let droplets destroy themselves, write a token that may only delete "
            f"droplets to {settings.do_machine_token_file}; without it, hive fleet gc from here must do it."
        )
    return provider, plan


def _is_wanted(plan: "LaunchPlan", is_yes: bool) -> bool:
    if is_yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("Starting machines costs money, and nobody is there to be asked: say --yes.")
    total = "an unknown sum" if plan.total_usd is None else f"up to ${plan.total_usd:.2f}"
    return click.confirm(f"Spend {total}?", err=True)


def _show_started(machines: Sequence["Machine"], as_json: bool) -> None:
    from hive.providers.machine import written

    if as_json:
        print_json(
            [{"name": one.name, "id": one.resource_id, "expires_at": written(one.expires_at)} for one in machines]
        )
        return
    for one in machines:
        click.echo(f"{one.name}  {one.resource_id}  works until {written(one.expires_at)}")
    _say("They end themselves when they are idle. Earlier: hive fleet down --all.")


@fleet.command()
@click.option("--all", "with_ended", is_flag=True, help="Also those that have ended.")
@json_option
def ls(with_ended: bool, as_json: bool) -> None:
    """List the rented machines, their state and cost so far."""
    from hive.machines import rows
    from hive.store.connection import reachable

    session = open_session()
    providers = _providers(session.settings)
    with reachable(session.settings):
        reports = session.registry.workers()
    found = [one for one in rows(session.settings, providers, reports, _say) if with_ended or one.state != "ended"]
    if as_json:
        print_json([vars(one) for one in found])
        return
    table = [
        (
            one.name,
            one.provider,
            one.id,
            one.type + (" spot" if one.is_spot else ""),
            one.region,
            one.state,
            _duration(one.age_s),
            _duration(one.idle_s),
            _dollars(one.cost_usd),
            one.expires_at,
            " ".join(one.workers) or "-",
        )
        for one in found
    ]
    columns = ("NAME", "PROVIDER", "ID", "TYPE", "REGION", "STATE", "AGE", "IDLE", "COST SO FAR", "EXPIRES", "WORKERS")
    print_table(columns, table, "No machine is rented. Start some: hive fleet up aws --type g4dn.xlarge")


@fleet.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@json_option
def down(ids: tuple[str, ...], is_all: bool, as_json: bool) -> None:
    """End rented machines by name or id. Their identities are revoked; their jobs continue elsewhere."""
    from hive.machines import Records, end
    from hive.machines.sweep import undisturbed
    from hive.providers.machine import now

    settings = current_settings()
    records = Records(settings)
    if bool(ids) == is_all:
        raise click.UsageError("Say which machines: hive fleet down NAME, or hive fleet down --all.")
    machines = records.alive() if is_all else list(records.find(ids))
    ended = []
    for provider in _providers(settings, machines):
        own = [one for one in machines if (one.provider, one.region) == (provider.name, provider.region)]
        with undisturbed():
            ended += end(settings, provider, own, "ended by hive fleet down")
    if as_json:
        print_json([{"name": one.name, "id": one.resource_id, "cost_usd": one.cost_usd(now())} for one in ended])
        return
    for one in ended:
        click.echo(f"{one.name} is ended; it cost {_dollars(one.cost_usd(now()))}.")
    if not ended:
        _say("No machine is rented.")


@fleet.command()
@click.option("--provider", type=click.Choice(["aws", "digitalocean"]), help="Look there too, also without a record.")
@click.option("--region", metavar="REGION", help="Region of --provider.")
@json_option
def gc(provider: str | None, region: str | None, as_json: bool) -> None:
    """End rented machines that Hive has no record of. They are found by their tags, after looking twice."""
    from hive.machines import open_provider, sweep

    settings = current_settings()
    places = _providers(settings)
    if provider is not None:
        other = open_provider(settings, provider, region)
        if (other.name, other.region) not in {(one.name, one.region) for one in places}:
            places.append(other)
    found = []
    for resource, why in sweep(settings, places):
        found.append({"id": resource.id, "name": resource.name, "region": resource.region, "why": why})
        if not as_json:
            click.echo(f"{resource.id} ({resource.name or 'no name'}) is ended: {why}.")
    if as_json:
        print_json(found)
    elif not found:
        looked = ", ".join(f"{one.name} {one.region}" for one in places) or "nowhere: nothing was ever rented"
        _say(f"Nothing is left over. Looked at: {looked}.")


fleet.add_command(auto)


def _providers(settings: "Settings", machines: "Sequence[Machine] | None" = None) -> list["Provider"]:
    """The providers of these machines, or of all that were ever rented."""
    from hive.machines import Records, open_provider

    known = Records(settings).all() if machines is None else machines
    places = sorted({(one.provider, one.region) for one in known})
    return [open_provider(settings, *place) for place in places]


def _duration(seconds: float | None) -> str:
    from hive.cli.report import duration

    return "-" if seconds is None else duration(timedelta(seconds=seconds))


def _dollars(sum_usd: float | None) -> str:
    return "unknown" if sum_usd is None else f"${sum_usd:.2f}"


def _say(text: str) -> None:
    click.echo(text, err=True)


COMMANDS = {Section.MACHINES: (fleet,)}

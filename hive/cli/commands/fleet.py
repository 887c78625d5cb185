"""`hive fleet`: machines that Hive rents, from the price to their end."""

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from hive.cli.autoscale import MAX_HOURS, ROUTE_OPTIONS, auto, launch_request, with_options
from hive.cli.common import (
    Amount,
    Group,
    Section,
    current_settings,
    json_option,
    open_session,
    print_json,
    print_table,
    provider_option,
)
from hive.cli.completion import Word, capabilities, machine_types, rented
from hive.errors import UnknownNameError

if TYPE_CHECKING:
    from hive.machines import LaunchPlan, LaunchRequest, Machine
    from hive.providers.provider import Option, Provider
    from hive.settings import Settings


@click.group(cls=Group)
def fleet() -> None:
    """Rent machines as workers, see their cost, and end them. Idle machines end automatically."""


class _Providers(Group):
    """One command for each provider, with the options that the provider declares."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all providers."""
        from hive.providers.provider import all_providers

        return list(all_providers())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of a provider."""
        from hive.providers.provider import find_provider

        provider = find_provider(cmd_name)

        @with_options([*(_click_option(provider.name, option) for option in provider.options), *_UP_OPTIONS])
        def start(**values: Any) -> int:  # noqa: ANN401  as click gives them
            return _start(provider, values)

        example = f"\b\n  hive fleet up {provider.name} {provider.example}"
        return click.command(provider.name, help=f"Start machines of {provider.title}.\n\n{example}")(start)


@fleet.group(cls=_Providers)
def up() -> None:
    """Start machines, after showing the price and asking."""


_UP_OPTIONS = (
    click.option("--count", type=click.IntRange(1, 100), default=1, show_default=True, help="How many machines."),
    click.option(
        "--capabilities",
        metavar="LIST",
        type=Word(capabilities),
        help="Capabilities they serve: gis=4,training=1 [HIVE_FLEET_CAPABILITIES].",
    ),
    click.option(
        "--hours",
        type=Amount(0, MAX_HOURS, min_open=True),
        default=2.0,
        show_default=True,
        help="They end after that.",
    ),
    click.option(
        "--idle-minutes",
        type=Amount(0, min_open=True),
        default=15.0,
        show_default=True,
        help="A machine without a job for that long ends.",
    ),
    click.option("--budget", type=Amount(0), metavar="USD", help="Start nothing that may cost more."),
    click.option("--accept-unknown-price", is_flag=True, help="Start them even if Hive does not know their price."),
    click.option("--disk", type=click.IntRange(10, 4000), default=100, show_default=True, help="Disk of each [GB]."),
    *ROUTE_OPTIONS,
    click.option("--yes", is_flag=True, help="Confirm spending; do not ask."),
    click.option("--dry-run", is_flag=True, help="Show the price and start nothing."),
    json_option,
)


def _click_option(provider: str, option: "Option") -> Callable[[Any], Any]:
    if not option.metavar:
        return click.option(option.flag, option.name, is_flag=True, help=option.help)
    return click.option(
        option.flag,
        option.name,
        metavar=option.metavar,
        type=machine_types(provider) if option.name == "type" else str,
        required=option.is_required,
        default=option.default,
        show_default=option.default is not None,
        help=option.help,
    )


_SHARED = ("type", "region", "is_spot")  # options that Hive itself reads; all others are the provider's own


def _start(provider_type: "type[Provider]", values: dict[str, Any]) -> int:
    from hive.costs import budgets
    from hive.machines import Launch
    from hive.machines.over_ssh import choose_installer
    from hive.store.connection import reachable

    session = open_session()
    settings = session.settings
    extra = {option.name: values[option.name] for option in provider_type.options if option.name not in _SHARED}
    request = launch_request(settings, values | {"extra": extra})
    if values["dry_run"]:
        _plan(settings, provider_type.name, values.get("region"), request)
        return 0
    installer = choose_installer(settings, values["via"], request.ssh_key, request.ssh_from)
    with reachable(settings):
        session.registry.workers()  # before anything costs money: the machines could not report
    provider, plan = _plan(settings, provider_type.name, values.get("region"), request)
    budgets.check(settings, plan.total_usd)
    if not _is_confirmed(plan, values["yes"]):
        _say("Nothing was started.")
        return 1
    with reachable(settings):
        machines = Launch(settings, provider, installer, plan, _say).run(session.registry)
    _print_machines(machines, values["as_json"])
    return 0


def _plan(
    settings: "Settings", provider_name: str, region: str | None, request: "LaunchRequest"
) -> "tuple[Provider, LaunchPlan]":
    """Look up the request's price, and print it."""
    from hive.machines import make_plan
    from hive.providers.provider import open_provider

    provider = open_provider(settings, provider_name, region)
    plan = make_plan(provider, request)
    _say(f"{request.count} x {plan.offer.text}: {plan.price_text}.")
    if warning := provider.warning(settings):
        _say(warning)
    return provider, plan


def _is_confirmed(plan: "LaunchPlan", is_yes: bool) -> bool:
    if is_yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("Not a terminal: pass --yes to confirm spending.")
    total = "an unknown sum" if plan.total_usd is None else f"up to ${plan.total_usd:.2f}"
    return click.confirm(f"Spend {total}?", err=True)


def _print_machines(machines: Sequence["Machine"], as_json: bool) -> None:
    from hive.providers.provider import format_time

    rows = [(machine.name, machine.resource_id, format_time(machine.expires_at)) for machine in machines]
    if as_json:
        print_json([dict(zip(("name", "id", "expires_at"), row, strict=True)) for row in rows])
        return
    for name, id_, expires_at in rows:
        click.echo(f"{name}  {id_}  expires at {expires_at}")
    _say("Idle machines end automatically. To end them earlier: hive fleet down --all.")


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
    machines = [row for row in rows(session.settings, providers, reports, _say) if with_ended or row.state != "ended"]
    if as_json:
        print_json([vars(row) for row in machines])
        return
    table = [
        (
            row.name,
            row.provider,
            row.id,
            row.type + (" spot" if row.is_spot else ""),
            row.region,
            row.state,
            _duration(row.age_s),
            _duration(row.idle_s),
            _dollars(row.cost_usd),
            row.expires_at,
            " ".join(row.workers) or "-",
        )
        for row in machines
    ]
    columns = ("NAME", "PROVIDER", "ID", "TYPE", "REGION", "STATE", "AGE", "IDLE", "COST SO FAR", "EXPIRES", "WORKERS")
    print_table(columns, table, "No machine is rented. To rent one: hive fleet up aws --type g4dn.xlarge")


@fleet.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", type=Word(rented))
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@json_option
def down(ids: tuple[str, ...], is_all: bool, as_json: bool) -> None:
    """End rented machines by name or id. Their identities are revoked; their jobs continue elsewhere."""
    from hive.machines import Records, end
    from hive.machines.sweep import uninterrupted
    from hive.providers.provider import now

    settings = current_settings()
    records = Records(settings)
    if bool(ids) == is_all:
        raise click.UsageError("Name the machines to end: hive fleet down NAME, or hive fleet down --all.")
    machines = records.alive() if is_all else list(records.find(ids))
    ended = []
    for provider in _providers(settings, machines):
        own = [each for each in machines if (each.provider, each.region) == (provider.name, provider.region)]
        with uninterrupted():
            ended += end(settings, provider, own, "ended by hive fleet down")
    if as_json:
        print_json([{"name": each.name, "id": each.resource_id, "cost_usd": each.cost_usd(now())} for each in ended])
        return
    for machine in ended:
        click.echo(f"{machine.name} was ended; it cost {_dollars(machine.cost_usd(now()))}.")
    if not ended:
        _say("No machine is rented.")


@fleet.command()
@provider_option("Check this provider too, even if nothing was rented there.")
@click.option("--region", metavar="REGION", help="Region of --provider.")
@json_option
def gc(provider: str | None, region: str | None, as_json: bool) -> None:
    """End rented machines that Hive has no record of. They are found by their tags, after looking twice."""
    from hive.machines import sweep
    from hive.providers.provider import open_provider

    settings = current_settings()
    places = _providers(settings)
    if provider is not None:
        other = open_provider(settings, provider, region)
        if (other.name, other.region) not in {(each.name, each.region) for each in places}:
            places.append(other)
    ended = []
    for resource, why in sweep(settings, places):
        ended.append({"id": resource.id, "name": resource.name, "region": resource.region, "why": why})
        if not as_json:
            click.echo(f"{resource.id} ({resource.name or 'no name'}) was ended: {why}.")
    if as_json:
        print_json(ended)
    elif not ended:
        checked = ", ".join(f"{each.name} {each.region}" for each in places) or "nowhere: nothing was ever rented"
        _say(f"Nothing is left over. Checked: {checked}.")


fleet.add_command(auto)


def _providers(settings: "Settings", machines: "Sequence[Machine] | None" = None) -> list["Provider"]:
    """The providers of these machines, or of all that were ever rented."""
    from hive.machines import Records
    from hive.providers.provider import open_provider

    all_machines = Records(settings).all() if machines is None else machines
    places = sorted({(machine.provider, machine.region) for machine in all_machines})
    providers = []
    for name, region in places:
        try:
            providers.append(open_provider(settings, name, region))
        except UnknownNameError as error:
            if machines is not None:
                raise
            _say(str(error))  # its package was uninstalled, which must not hide the machines of others
    return providers


def _duration(seconds: float | None) -> str:
    from hive.cli.report import duration

    return "-" if seconds is None else duration(timedelta(seconds=seconds))


def _dollars(sum_usd: float | None) -> str:
    return "unknown" if sum_usd is None else f"${sum_usd:.2f}"


def _say(text: str) -> None:
    click.echo(text, err=True)


COMMANDS = {Section.MACHINES: (fleet,)}

"""`hive cost`: prices, predictions and reports in US$."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import (
    Amount,
    Group,
    Section,
    complete_provider,
    current_settings,
    json_option,
    open_session,
    pairs,
    print_json,
    print_table,
    provider_name,
    provider_option,
)
from hive.cli.completion import Word, machine_types
from hive.errors import BadFileError, BadParameterError, HiveError, NotFoundError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from hive.costs.forecast import Forecast, Workers
    from hive.costs.prices import Offer
    from hive.store.accounts import Report
    from hive.task import Task

_MIB = 1 << 20
_TIMES = "\N{MULTIPLICATION SIGN}"


@click.command()
@click.argument("words", nargs=-1, metavar="[CAPABILITY [TASK] [FILES]...]")
@click.option(
    "--type", "type_", metavar="T", type=machine_types(), help="Machine type, such as g4dn.xlarge or g-8vcpu-32gb."
)
@provider_option("Provider, if several have the type.")
@click.option("--region", metavar="NAME", help="Where.  [default: us-east-1, where that has the type]")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many.  [default: 1, or those there are]")
@click.option("--hours", type=Amount(min=0, min_open=True), metavar="H", help="For how long.")
@click.option("--spot", is_flag=True, help="The price of spot machines instead of those on demand.")
@json_option
def estimate(words: tuple[str, ...], hours: float | None, workers: int | None, as_json: bool, **machine: Any) -> None:  # noqa: ANN401  click's values
    """Predict the cost of machines for some hours, or of a task.

    The cost of a task is predicted for some files, from the history of the same task.
    Each file is a job of its own, as `hive map` makes them; the time grows with what it reads. Other parameters of the
    task are not looked at. Exit code 3 where no job of the task has ended yet, or the type has no price.
    """
    if words and hours is not None:
        raise BadParameterError("Name a task with its files, or --hours, not both: the history says how long it takes.")
    offer = _offer(**machine)
    if words:
        _print_task(words, offer, workers, is_spot=machine["spot"], as_json=as_json)
    elif offer is None or hours is None:
        raise BadParameterError("Name a machine and a time, --type g4dn.xlarge --hours 2, or a task and its files.")
    else:
        _print_machines(offer, workers or 1, hours, machine["region"], is_spot=machine["spot"], as_json=as_json)


def _offer(type_: str | None, provider: str | None, region: str | None, spot: bool) -> "Offer | None":
    if type_ is None:
        if provider or region or spot:
            raise BadParameterError("--provider, --region and --spot go with --type.")
        return None
    from hive.costs.prices import find_offer

    return find_offer(provider, type_, region, current_settings().home)


def _price(offer: "Offer", *, is_spot: bool) -> float | None:
    return offer.spot_usd_per_h if is_spot else offer.price_usd_per_h


def _print_machines(
    offer: "Offer", count: int, hours: float, region: str | None, *, is_spot: bool, as_json: bool
) -> None:
    from hive.costs.money import dollars, rate

    price = _price(offer, is_spot=is_spot)
    usd = None if price is None else count * hours * price
    where = region or offer.region
    if as_json:
        print_json(
            {
                "provider": offer.provider,
                "type": offer.type,
                "region": where,
                "is_spot": is_spot,
                "workers": count,
                "hours": hours,
                "price_usd_per_h": price,
                "usd": usd,
                "dated": str(offer.dated),
                "source": offer.source,
            }
        )
        return
    conditions = f"{rate(price)}, prices of {offer.dated}" if price is not None else "price unknown"
    place = "all regions" if where == "all" else where
    kind = "spot" if is_spot else "on demand"
    click.echo(f"{count} {_TIMES} {offer.type} ({place}, {kind}, {conditions}) {_TIMES} {hours:g} h = {dollars(usd)}")
    if price is None:
        click.echo(
            f"Nobody here knows this price; it is not free. Read it: hive cost refresh {offer.provider}", err=True
        )
    else:
        click.echo(f"Source: {offer.source}. Files that travel and disks are not in it.", err=True)


def _print_task(
    words: Sequence[str], offer: "Offer | None", count: int | None, *, is_spot: bool, as_json: bool
) -> None:
    from hive.costs.forecast import Workers, forecast, read_history, workers_of
    from hive.settings import host_name
    from hive.store.connection import reachable

    task, files = _task(words)
    sizes = _sizes(task, files)
    session = open_session()
    with reachable(session.settings):
        history = read_history(session.broker, task.wire_name, task.capability)
        workers = (
            workers_of(session.registry.workers(), task.capability, count)
            if offer is None
            else Workers(count or 1, count or 1, _price(offer, is_spot=is_spot))
        )
    prediction = forecast(history, sizes, workers, host_name())
    if prediction is None:
        raise NotFoundError(
            f"No job of {task.wire_name} has succeeded yet, so nobody knows how long it takes. "
            f"Run one on a small file: hive submit {task.capability} {task.name}."
        )
    if as_json:
        print_json(_document(task, prediction, workers, sizes))
    else:
        _print(task, prediction, workers, sizes)


def _task(words: Sequence[str]) -> "tuple[Task[Any, Any], Sequence[str]]":
    """The task that the first words name, as `hive submit` reads them, and the files behind."""
    from hive.catalog import find_capability, find_task, task_names

    name, *rest = words
    if "." in name:
        return find_task(name), rest
    capability = find_capability(name)
    looks_like_a_file = bool(rest) and any(mark in rest[0] for mark in "./")
    if capability.default and (not rest or (looks_like_a_file and rest[0] not in task_names(capability))):
        return find_task(name), rest
    if not rest:
        raise BadParameterError(f"{name} has these tasks: {', '.join(task_names(capability))}. Name one of them.")
    return find_task(f"{name}.{rest[0]}"), rest[1:]


def _sizes(task: "Task[Any, Any]", files: Sequence[str]) -> list[int]:
    """What each job will read [bytes]; one job for each file, or one for all where the task reads them together."""
    from hive.client.request import size_bytes, sources_of

    if not task.reads:
        if files:
            raise BadParameterError(f"{task.wire_name} reads no files.")
        return [0]
    first = task.reads[0]
    if not files:
        raise BadParameterError(f"{task.wire_name} needs {first.name}: name the files to read.")
    groups = [list(files)] if first.is_repeated else list(files)
    sources = [sources_of(task, first, {first.name: group}) for group in groups]
    sizes = [size_bytes(path) for path in sources]
    if None in sizes:
        raise BadParameterError("Name local files: how large a reference or a URL is, is not known here.")
    return [size for size in sizes if size is not None]


def _document(
    task: "Task[Any, Any]", prediction: "Forecast", workers: "Workers", sizes: Sequence[int]
) -> dict[str, Any]:
    return {
        "task": task.wire_name,
        "jobs": prediction.jobs,
        "input_bytes": sum(sizes),
        "workers": workers.count,
        "slots": workers.slots,
        "this_machine_s": prediction.own_s,
        "workers_s": prediction.workers_s,
        "run_s": prediction.run_s,
        "usd": prediction.usd,
        "history_jobs": prediction.law.jobs,
        "error": prediction.law.error,
        "is_beyond_history": prediction.is_beyond,
    }


def _print(task: "Task[Any, Any]", prediction: "Forecast", workers: "Workers", sizes: Sequence[int]) -> None:
    from hive.costs.money import dollars, rate

    jobs = "1 job" if prediction.jobs == 1 else f"{prediction.jobs:,} jobs"
    error = (
        "error unknown, they are too few" if prediction.law.error is None else f"± {prediction.law.error * 100:.0f} %"
    )
    own = f"{_time(prediction.own_s)} on one slot" if prediction.own_law else "not known: no job has run here"
    slots = (
        f"{workers.count} workers, {workers.slots} slots" if workers.count != 1 else f"1 worker, {workers.slots} slots"
    )
    price = f" at {rate(workers.slot_usd_per_h)} for a slot" if prediction.usd is not None else ""
    lines = {
        "what": f"{jobs} of {task.wire_name} that read {sum(sizes) / _MIB:,.1f} MiB",
        "history": f"{prediction.law.jobs:,} jobs that have succeeded; {error}",
        "this machine": own,
        slots: _time(prediction.workers_s) if workers.slots else "no worker is there for it",
        "run time": f"{_time(prediction.run_s)} together",
        "cost": f"{dollars(prediction.usd)}{price}",
    }
    click.echo(pairs(lines))
    if prediction.is_beyond:
        click.echo("Some files are larger than any of the history: the error may be larger too.", err=True)
    if prediction.usd is None:
        click.echo("The workers do not say what they cost. Set HIVE_PRICE_USD_PER_H there, or name a --type.", err=True)


def _time(seconds: float | None) -> str:
    from hive.cli.report import duration

    return "not known" if seconds is None else duration(timedelta(seconds=seconds))


_EVERY_WORD = ("day", "task", "worker")


@click.group(cls=Group)
def cost() -> None:
    """Show what machines and jobs will cost, and have cost.

    \b
      hive cost estimate --type g4dn.xlarge --workers 4 --hours 2
      hive cost estimate gis dtm tiles/*.laz
      hive cost report --by task
    """  # noqa: D301  click wants the character \b itself


cost.add_command(estimate)


@cost.command()
@click.option(
    "--by",
    metavar="WHAT",
    type=Word(_EVERY_WORD),
    default="day",
    show_default=True,
    help="Sum up by day (UTC), task or worker.",
)
@click.option("--days", type=click.IntRange(min=1), metavar="N", help="The last N days only, today counted.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw it into an SVG file too.")
@json_option
def report(by: str, days: int | None, as_csv: bool, picture: Path | None, as_json: bool) -> None:
    """Show what jobs, idle workers and booting machines cost."""
    from hive.store.accounts import By, make_report, read_accounts
    from hive.store.connection import reachable

    if by not in _EVERY_WORD:
        raise UnknownNameError(f"--by must be day, task or worker, not {by!r}.{did_you_mean(by, _EVERY_WORD)}")
    session = open_session()
    with reachable(session.settings):
        report = make_report(read_accounts(session.broker, days), By(by))
    if picture is not None:
        _draw(report, picture)
    if as_json:
        print_json(_cost_document(report))
    elif as_csv:
        _print_csv(report)
    else:
        _cost_print(report)


def _cost_document(report: "Report") -> dict[str, Any]:
    return {
        "by": str(report.by),
        "rows": [{"name": name, "usd": usd} for name, usd in report.rows],
        "jobs_usd": report.jobs_usd,
        "idle_usd": report.idle_usd,
        "boot_usd": report.boot_usd,
        "total_usd": report.total_usd,
        "unknown_runs": report.unknown_runs,
    }


def _print_csv(report: "Report") -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    rows = [(str(report.by), name, usd) for name, usd in report.rows]
    writer.writerows([("what", "name", "usd"), *rows, ("idle", "", report.idle_usd), ("boot", "", report.boot_usd)])


def _cost_print(report: "Report") -> None:
    from hive.costs.money import dollars
    from hive.costs.picture import bar

    if report.rows or report.total_usd:
        shares = [("idle", report.idle_usd), ("boot", report.boot_usd)]
        most = max(usd for _, usd in (*report.rows, *shares))
        sums = {"all jobs": report.jobs_usd, "together": report.total_usd}
        rows = [(name, dollars(usd), bar(usd, most)) for name, usd in report.rows]
        rows.append(("all jobs", dollars(sums["all jobs"]), ""))
        rows += [(name, dollars(usd), bar(usd, most)) for name, usd in shares]
        rows.append(("together", dollars(sums["together"]), ""))
        cells = rows if sys.stdout.isatty() else [row[:2] for row in rows]
        print_table((str(report.by).upper(), "COST", "")[: len(cells[0])], cells, "")
        click.echo("What runs now counts as idle until it ends.", err=True)
    else:
        click.echo("Nothing was spent, as far as is known.", err=True)
    if report.unknown_runs:
        runs = "1 run is" if report.unknown_runs == 1 else f"{report.unknown_runs:,} runs are"
        click.echo(f"{runs} not in it: their workers' price is unknown. Set HIVE_PRICE_USD_PER_H there.", err=True)


def _draw(report: "Report", file: Path) -> None:
    from hive.costs.picture import svg

    if file.suffix.lower() != ".svg":
        raise BadFileError(f"The picture is written as SVG, which every browser shows. Name it so: {file.stem}.svg.")
    title = f"Cost of jobs by {report.by}, and of what nobody used"
    try:
        file.write_text(
            svg(title, report.rows, [("idle", report.idle_usd), ("boot", report.boot_usd)]), encoding="utf-8"
        )
    except OSError as error:
        raise BadFileError(f"{file} cannot be written: {error.strerror}.") from error


@cost.command()
@click.argument("providers", nargs=-1, type=provider_name, shell_complete=complete_provider, metavar="[PROVIDER]...")
@click.option("--region", "regions", multiple=True, metavar="NAME", help="Regions to read.  [default: the usual one]")
def refresh(providers: tuple[str, ...], regions: tuple[str, ...]) -> int:
    """Update the prices from the providers' own price lists.

    They go to prices.toml under HIVE_HOME; without a name, all providers are read.
    Credentials are the same as for `hive fleet`: AWS_PROFILE or access keys for AWS, and for
    DigitalOcean DIGITALOCEAN_TOKEN or the file HIVE_DO_TOKEN_FILE.
    """
    from hive.costs.prices import refreshed_file, save
    from hive.providers.provider import all_providers, read_prices

    settings, refreshed = current_settings(), 0
    for name in providers or all_providers():
        try:
            offers = read_prices(settings, name, regions)
        except HiveError as error:
            if providers:
                raise
            click.echo(f"{name}: {error}", err=True)
            continue
        save(settings.home, offers)
        refreshed += 1
        unknown = sum(offer.price_usd_per_h is None for offer in offers)
        words = f", {unknown:,} of them without a price" if unknown else ""
        click.echo(f"{name}: {len(offers):,} offers{words}; in {refreshed_file(settings.home)}", err=True)
    return 0 if refreshed else 1


COMMANDS = {Section.MACHINES: (cost,)}

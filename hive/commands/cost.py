"""`hive cost`: before and after, in dollars."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hive.commands.common import current_settings, json_option, open_session, print_json, print_table
from hive.commands.estimate import estimate
from hive.errors import BadFileError, HiveError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from hive.costs.accounts import Report

_EVERY_WORD = ("day", "task", "worker")


@click.group()
def cost() -> None:
    """Say what machines and jobs will cost, and what they have cost.

    \b
      hive cost estimate --type g4dn.xlarge --workers 4 --hours 2
      hive cost estimate gis dtm tiles/*.laz
      hive cost report --by task
    """  # noqa: D301  click wants the character \b itself


cost.add_command(estimate)


@cost.command()
@click.option("--by", metavar="WHAT", default="day", show_default=True, help="Sum up by day (UTC), task or worker.")
@click.option("--days", type=click.IntRange(min=1), metavar="N", help="The last N days only, today counted.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw it into an SVG file too.")
@json_option
def report(by: str, days: int | None, as_csv: bool, picture: Path | None, as_json: bool) -> None:
    """Say what jobs have cost, and beside them what idle workers and booting machines did."""
    from hive.broker import reachable
    from hive.costs.accounts import By, make_report, read_accounts

    if by not in _EVERY_WORD:
        raise UnknownNameError(f"--by must be day, task or worker, not {by!r}.{did_you_mean(by, _EVERY_WORD)}")
    session = open_session()
    with reachable(session.settings):
        found = make_report(read_accounts(session.broker, days), By(by))
    if picture is not None:
        _draw(found, picture)
    if as_json:
        print_json(_document(found))
    elif as_csv:
        _print_csv(found)
    else:
        _print(found)


def _document(found: "Report") -> dict[str, Any]:
    return {
        "by": str(found.by),
        "rows": [{"name": name, "usd": usd} for name, usd in found.rows],
        "jobs_usd": found.jobs_usd,
        "idle_usd": found.idle_usd,
        "boot_usd": found.boot_usd,
        "total_usd": found.total_usd,
        "unknown_runs": found.unknown_runs,
    }


def _print_csv(found: "Report") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    rows = [(str(found.by), name, usd) for name, usd in found.rows]
    writer.writerows([("what", "name", "usd"), *rows, ("idle", "", found.idle_usd), ("boot", "", found.boot_usd)])


def _print(found: "Report") -> None:
    from hive.costs.money import dollars
    from hive.costs.picture import bar

    if found.rows or found.total_usd:
        shares = [("idle", found.idle_usd), ("boot", found.boot_usd)]
        most = max(usd for _, usd in (*found.rows, *shares))
        sums = {"all jobs": found.jobs_usd, "together": found.total_usd}
        rows = [(name, dollars(usd), bar(usd, most)) for name, usd in found.rows]
        rows.append(("all jobs", dollars(sums["all jobs"]), ""))
        rows += [(name, dollars(usd), bar(usd, most)) for name, usd in shares]
        rows.append(("together", dollars(sums["together"]), ""))
        shown = rows if sys.stdout.isatty() else [row[:2] for row in rows]
        print_table((str(found.by).upper(), "COST", "")[: len(shown[0])], shown, "")
        click.echo("What runs now counts as idle until it ends.", err=True)
    else:
        click.echo("Nothing was spent, as far as is known.", err=True)
    if found.unknown_runs:
        runs = "1 run is" if found.unknown_runs == 1 else f"{found.unknown_runs:,} runs are"
        click.echo(f"{runs} not in it: their workers' price is unknown. Set HIVE_PRICE_USD_PER_H there.", err=True)


def _draw(found: "Report", file: Path) -> None:
    from hive.costs.picture import svg

    if file.suffix.lower() != ".svg":
        raise BadFileError(f"The picture is written as SVG, which every browser shows. Name it so: {file.stem}.svg.")
    title = f"Cost of jobs by {found.by}, and of what nobody used"
    try:
        file.write_text(svg(title, found.rows, [("idle", found.idle_usd), ("boot", found.boot_usd)]), encoding="utf-8")
    except OSError as error:
        raise BadFileError(f"{file} cannot be written: {error.strerror}.") from error


@cost.command()
@click.argument("providers", nargs=-1, metavar="[aws] [digitalocean]")
@click.option("--region", "regions", multiple=True, metavar="NAME", help="AWS: regions to read.  [default: us-east-1]")
def refresh(providers: tuple[str, ...], regions: tuple[str, ...]) -> int:
    """Read the providers' own price lists into prices.toml under HIVE_HOME; both where none is named.

    AWS needs credentials as its own tools do, DigitalOcean a token as `hive fleet`
    does: DIGITALOCEAN_TOKEN, or the file HIVE_DO_TOKEN_FILE.
    """
    from hive.costs.prices import keep, refreshed_file
    from hive.costs.refresh import READERS

    settings, read = current_settings(), 0
    for name in providers:
        if name not in READERS:
            known = ", ".join(READERS)
            raise UnknownNameError(f"There is no provider {name!r}. Known are: {known}.{did_you_mean(name, READERS)}")
    for name in providers or READERS:
        try:
            found = READERS[name](settings, regions or ("us-east-1",))
        except HiveError as error:
            if providers:
                raise
            click.echo(f"{name}: {error}", err=True)
            continue
        keep(settings.home, found)
        read += 1
        unknown = sum(one.price_usd_per_h is None for one in found)
        words = f", {unknown:,} of them without a price" if unknown else ""
        click.echo(f"{name}: {len(found):,} offers{words}; in {refreshed_file(settings.home)}", err=True)
    return 0 if read else 1

"""`hive workers`, `queues`, `status`, `worker`: who works for this Hive, and what is waiting."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from hive.cli.common import Section, current_settings, json_option, open_session, pairs, print_json, print_table
from hive.cli.completion import Word, capabilities

_MIB, _MB = 1 << 20, 10**6


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the workers: what they serve, their slots and load."""
    from hive.cli.report import ago
    from hive.costs.money import rate
    from hive.home.tunnels import states, with_tunnels
    from hive.store.connection import reachable

    session = open_session()
    tunnels = list(states(session.settings))
    with reachable(session.settings):
        reports = with_tunnels(session.registry.workers(), tunnels)
    if as_json:
        print_json(reports)
        return
    rows = [
        (
            report["name"],
            " ".join(report["capabilities"]),
            f"{report['busy']}/{report['slots']}",
            f"{report['cpu_percent']:.0f} %",
            f"{report['memory_bytes'] / _MIB:.0f} MiB",
            "; ".join(report["gpus"]) or "-",
            rate(report["price_usd_per_h"]),
            ago(datetime.fromisoformat(report["last_seen"]), datetime.now(UTC)),
            *([report["tunnel"]["state"] if report["tunnel"] else "-"] if tunnels else []),
        )
        for report in reports
    ]
    empty = "No worker is there. Start report: hive worker --capabilities gis=2"
    columns = ["WORKER", "SERVES", "BUSY", "CPU", "MEMORY", "GPU", "PRICE", "LAST SEEN"] + ["TUNNEL"] * bool(tunnels)
    print_table(columns, rows, empty)
    for report in tunnels:
        if report.state != "up":
            click.echo(f"The tunnel to {report.destination} is {report.state}; see hive doctor.", err=True)


@click.command()
@json_option
def queues(as_json: bool) -> None:
    """Show how many jobs are queued and running in each queue."""
    from hive.store.connection import reachable

    session = open_session()
    with reachable(session.settings):
        reports = session.registry.queues()
    if as_json:
        print_json([vars(queue) for queue in reports])
        return
    rows = [
        (queue.name, str(queue.queued), str(queue.running), f"{queue.oldest_s:.0f} s", str(queue.workers))
        for queue in reports
    ]
    print_table(("QUEUE", "QUEUED", "RUNNING", "OLDEST", "WORKERS"), rows, "No queue has had a job yet.")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show broker, gateway, workers and jobs at a glance."""
    from hive.home import overview

    document = overview(open_session())
    if as_json:
        print_json(document)
        return
    for name in ("broker", "gateway"):
        document[name] = f"{document[name]['address']} ({document[name]['state']})"
    home = document["home"]
    document["home"] = f"{home['host']} (tunnel {home['tunnel']['state']})" if home else "here"
    names = ("broker", "gateway", "home", "workers", "queued", "running")
    click.echo(pairs({name: document[name] for name in names}))
    click.echo()
    _print_cost(document["orchestrator"])


def _print_cost(cost: Mapping[str, Any]) -> None:
    """Show what each process of the Mac side costs, and the budget."""
    from hive.cli.report import duration

    rows = [(*_cost_row(process), duration(timedelta(seconds=process["age_s"]))) for process in cost["processes"]]
    rows.append((*_cost_row({"name": "together", **cost}), ""))
    budget = cost["budget"]
    rows.append(("budget, idle", "", f"{budget['cpu_percent']:.2f} %", f"{budget['memory_bytes'] / _MB:.0f} MB", ""))
    print_table(("MAC SIDE", "CPU NOW", "CPU SINCE START", "MEMORY", "RUNNING FOR"), rows, "")
    click.echo(
        "CPU is of process core. What an idle Mac side costs shows in CPU SINCE START, some hours after the start.",
        err=True,
    )


def _cost_row(process: Mapping[str, Any]) -> tuple[str, ...]:
    since_start = f"{process['cpu_percent_since_start']:.2f} %"
    return (process["name"], f"{process['cpu_percent']:.0f} %", since_start, f"{process['memory_bytes'] / _MB:.0f} MB")


@click.command()
@click.option(
    "--capabilities",
    metavar="LIST",
    type=Word(capabilities),
    help="What to serve and how many jobs at once: gis=2,training=1 [WORKER_CAPABILITIES].",
)
@click.option("--name", metavar="NAME", help="Name of this worker; default: this machine's name.")
def worker(capabilities: str | None, name: str | None) -> int:
    """Start workers on this machine. Ctrl-C or SIGTERM ends them.

    \b
      hive worker --capabilities gis=2
      celery -A hive worker -Q gis -c 2      does the same with Celery's own command
    """  # noqa: D301  click wants the character \b itself
    from hive.worker.starter import run_nodes

    return run_nodes(current_settings(worker_capabilities=capabilities, role="worker"), name)


COMMANDS = {Section.WORKERS: (workers, queues, worker), Section.MAC: (status,)}

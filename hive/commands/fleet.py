"""`hive workers`, `hive queues`, `hive status`: who is there, what waits."""

import click

from hive.commands.common import json_option, open_session, pairs, print_json, print_table

_MIB = 1 << 20


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the workers that are there: what they serve, their slots and load."""
    from hive.broker import reachable

    session = open_session()
    with reachable(session.settings):
        found = session.registry.workers()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["name"],
            " ".join(one["capabilities"]),
            f"{one['busy']}/{one['slots']}",
            f"{one['cpu_percent']:.0f} %",
            f"{one['memory_bytes'] / _MIB:.0f} MiB",
            one["last_seen"],
        )
        for one in found
    ]
    empty = "No worker is there. Start one: hive worker --capabilities gis=2"
    print_table(("WORKER", "SERVES", "BUSY", "CPU", "MEMORY", "LAST SEEN"), rows, empty)


@click.command()
@json_option
def queues(as_json: bool) -> None:
    """Show how many jobs wait and run in each queue, and for how long the oldest has waited."""
    from hive.broker import reachable

    session = open_session()
    with reachable(session.settings):
        found = session.registry.queues()
    if as_json:
        print_json([vars(one) for one in found])
        return
    rows = [(one.name, str(one.queued), str(one.running), f"{one.oldest_s:.0f} s", str(one.workers)) for one in found]
    print_table(("QUEUE", "QUEUED", "RUNNING", "OLDEST", "WORKERS"), rows, "No queue has had a job yet.")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the whole of this Hive: broker, what the Mac side costs, workers, jobs."""
    from hive.orchestrator import overview

    document = overview(open_session())
    if as_json:
        print_json(document)
        return
    cost = document["orchestrator"]
    lines = {
        "broker": f"{document['broker']['address']} ({document['broker']['state']})",
        "gateway": f"{document['gateway']['address']} ({document['gateway']['state']})",
        "this machine": f"{cost['cpu_percent']:.1f} % of a core, {cost['memory_bytes'] / _MIB:.0f} MiB",
        "workers": document["workers"],
        "queued": document["queued"],
        "running": document["running"],
    }
    click.echo(pairs(lines))

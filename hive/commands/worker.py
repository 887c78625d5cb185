"""`hive worker`: start workers on this machine, one Celery node for each capability."""

import click

from hive.commands.common import current_settings


@click.command()
@click.option(
    "--capabilities",
    metavar="LIST",
    help="What to serve and how many jobs at once: gis=2,training=1 [WORKER_CAPABILITIES].",
)
@click.option("--name", metavar="NAME", help="Name of this worker; default: this machine's name.")
def worker(capabilities: str | None, name: str | None) -> int:
    """Start workers on this machine; Ctrl-C or SIGTERM ends them.

    \b
      hive worker --capabilities gis=2
      celery -A hive worker -Q gis -c 2      does the same with Celery's own command
    """  # noqa: D301  click wants the character \b itself
    from hive.worker.starter import run_nodes

    return run_nodes(current_settings(worker_capabilities=capabilities, role="worker"), name)

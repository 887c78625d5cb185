"""Waiting for a job on the command line: draw it, leave it alone on Ctrl-C, say how it ended, bring its files."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive.cli.common import print_json
from hive.errors import HiveError

if TYPE_CHECKING:
    from hive.client import Observer, Session
    from hive.wire.job import JobRecord

_FAILED = 1


def watch(session: "Session", job_id: str, timeout_s: float | None = None) -> "JobRecord":
    """Wait for a job and draw it; Ctrl-C leaves it alone and says how to come back."""
    from hive.cli.display import Display
    from hive.client import wait

    try:
        with Display() as display:
            return wait.watch(session, job_id, display, timeout_s)
    except KeyboardInterrupt:
        click.echo(f"\nThe job {left_text(session, job_id, 'wait')}", err=True)
        raise


def outages() -> "Observer":
    """An observer that tells only of a broker that is away, and back."""
    from hive.client import Observer

    class Outages(Observer):
        def away(self) -> None:
            click.echo("The broker is away; waiting for it", err=True)

        def back(self) -> None:
            click.echo("The broker is back", err=True)

    return Outages()


def left_text(session: "Session", job_id: str, command: str) -> str:
    """How a job that is not waited for any more stands, and the command to come back to it."""
    try:
        left = session.find(job_id)
    except HiveError:  # the broker is away
        return f"{job_id[:8]} goes on. Come back to it: hive {command} {job_id[:8]}"
    return f"{left.short_id} stays {left.state}. Come back to it: hive {command} {left.short_id}"


def tell(session: "Session", job: "JobRecord", *, as_json: bool) -> int:
    """Print a job as it stands and return the exit code that says so."""
    from hive.cli.report import measures_text, outcome_text

    if as_json:
        print_json(job.to_json())
    if not job.state.is_final:
        click.echo(f"The job {job.short_id} is still {job.state}. Come back to it: hive wait {job.short_id}", err=True)
        return _FAILED
    click.echo(outcome_text(job, session.cost_with_parts(job)), err=True)
    if job.state == "failed":
        click.echo(f"What it wrote: hive logs {job.short_id}", err=True)
    if job.measures and not as_json:
        click.echo(measures_text(job))
    return 0 if job.state == "succeeded" else _FAILED


def wait_and_fetch(session: "Session", job_id: str, *, as_json: bool, force: bool = False) -> int:
    """Wait for a job, say how it ended, and bring back what it wrote; returns the exit code."""
    job = watch(session, job_id)
    code = tell(session, job, as_json=as_json)
    if code == 0:
        for path in session.fetch(job, force=force).values():
            click.echo(f"wrote {_relative(path)}", err=True)
    return code


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

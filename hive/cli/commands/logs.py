"""`hive logs`: what a job logged and printed, and what the Mac side did."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from hive.cli.common import Section, current_settings, json_option, open_session, print_json, printable
from hive.cli.completion import job_ids

if TYPE_CHECKING:
    from hive.client import Session
    from hive.home.log_files import Line
    from hive.store import LogEntry
    from hive.wire.job import JobRecord

_COLOURS = {
    "DEBUG": "blue",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "red",
    "STDERR": "magenta",
    "HIVE": "cyan",
}
_WIDTH = max(map(len, _COLOURS))


@click.command()
@click.argument("job_id", metavar="ID", required=False, type=job_ids())
@click.option("-f", "--follow", is_flag=True, help="Go on with each new line until the job has ended.")
@click.option("--orchestrator", is_flag=True, help="What Redis and the gateway of this machine logged, by time.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only what attempt N wrote.")
@json_option
def logs(job_id: str | None, follow: bool, orchestrator: bool, attempt: int | None, as_json: bool) -> None:
    """Print what a job logged and printed.

    Each line has its time (UTC), level and text. With --follow, --json prints one JSON object per line.
    """
    if orchestrator:
        if job_id is not None or attempt is not None:
            raise click.UsageError("--orchestrator is about the Mac side and takes no job.")
        _show_orchestrator(follow=follow, as_json=as_json)
        return
    if job_id is None:
        raise click.UsageError("Name a job: hive logs ID. List them: hive jobs. Or: hive logs --orchestrator.")
    session = open_session()
    job = session.find(job_id)
    if follow:
        _follow(session, job, attempt, as_json=as_json)
    else:
        _read(session, job, attempt, as_json=as_json)


def _read(session: "Session", job: "JobRecord", attempt: int | None, *, as_json: bool) -> None:
    from hive.store.connection import reachable

    with reachable(session.settings):
        # What an attempt left behind when its worker died may have come after the first lines of the next one.
        entries = sorted(session.logs.read(job.id, attempt=attempt), key=lambda entry: entry.attempt)
    if as_json:
        print_json([entry.to_json() for entry in entries])
        return
    _print(entries)
    if not entries:
        click.echo(f"The job {job.short_id} has written nothing{'' if job.state.is_final else ' yet'}.", err=True)


def _follow(session: "Session", job: "JobRecord", attempt: int | None, *, as_json: bool) -> None:
    from hive.cli.report import outcome_text
    from hive.cli.waiting import left_text, outages
    from hive.client.wait import follow

    try:
        entries = follow(session, job.id, outages(), attempt)
        if as_json:
            for entry in entries:
                print_json(entry.to_json(), indent=None)
        else:
            _print(entries)
        ended = session.find(job.id)
        click.echo(outcome_text(ended, session.cost_with_parts(ended)), err=True)
    except KeyboardInterrupt:
        click.echo(f"\nThe job {left_text(session, job.id, 'logs -f')}", err=True)
        raise


def _print(entries: Iterable["LogEntry"]) -> None:
    """Print entries as they come; another attempt than the one before begins with a line that says so."""
    colour = False if os.environ.get("NO_COLOR") else None  # None: as the terminal is
    before = 1
    for entry in entries:
        if entry.attempt != before:
            click.secho(f"--- attempt {entry.attempt} ---", bold=True, color=colour)
        before = entry.attempt
        click.echo(_text(entry), color=colour)


def _text(entry: "LogEntry") -> str:
    """One entry: its time, its level, and its text; further lines of the text stand below its first one."""
    from hive.wire.job import rfc3339

    time = rfc3339(entry.time) or ""
    level = click.style(f"{entry.level:<{_WIDTH}}", fg=_COLOURS.get(entry.level))
    first, *more = printable(entry.text.expandtabs()).split("\n")
    indent = " " * (len(time) + _WIDTH + 4)
    return "\n".join([f"{time}  {level}  {first}".rstrip(), *(f"{indent}{line}" for line in more)])


def _show_orchestrator(*, follow: bool, as_json: bool) -> None:
    from hive.errors import NotFoundError
    from hive.home import elsewhere, log_files

    settings = current_settings()
    if home := elsewhere(settings):
        folder = f"~/.hive-home/{home.name}/home"
        raise NotFoundError(
            f"Redis and the gateway log on {home.destination}: {folder}/redis/redis.log, {folder}/gateway/gateway.log."
        )
    if follow:
        for line in log_files.follow(settings):
            print_json(line.to_json(), indent=None) if as_json else click.echo(_line_text(line))
        return
    lines = log_files.read(settings)
    if as_json:
        print_json([line.to_json() for line in lines])
        return
    for line in lines:
        click.echo(_line_text(line))
    if not lines:
        click.echo(f"Nothing has been started under {settings.home}. In containers: docker compose logs.", err=True)


def _line_text(line: "Line") -> str:
    from hive.wire.job import rfc3339

    return f"{rfc3339(line.time)}  {line.source:<7}  {printable(line.text.expandtabs())}"


COMMANDS = {Section.JOBS: (logs,)}

"""`hive jobs`, `show`, `why`, `wait`, `fetch`, `cancel`, `retry`: what became of a job, and what to do with it."""

from pathlib import Path
from typing import Any

import click

from hive.cli.common import Amount, Section, json_option, open_session, print_json, printable
from hive.cli.completion import folders, job_ids
from hive.cli.job_list import (
    all_options,
    change_all,
    check_choice,
    confirm,
    matching,
    print_jobs,
    read_filters,
    watch_jobs,
    with_filters,
)
from hive.errors import JobStateError


@click.command()
@with_filters
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many jobs.")
@click.option("--watch", "is_watched", is_flag=True, help="Show them again whenever they change, until Ctrl-C.")
@json_option
def jobs(limit: int, is_watched: bool, as_json: bool, **filters: Any) -> None:  # noqa: ANN401  click's values
    """List jobs, newest first.

    \b
      hive jobs --state failed --since 1d
      hive jobs --task gis.dtm --watch
    """  # noqa: D301  click wants the character \b itself
    criteria, session = read_filters(**filters), open_session()
    if is_watched:
        watch_jobs(lambda: matching(session, criteria, limit), as_json=as_json)
    print_jobs(matching(session, criteria, limit), as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID", type=job_ids())
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show everything that happened to a job."""
    session = open_session()
    job = session.find(job_id)
    if as_json:
        from hive.client.explain import job_document_with_story

        print_json(job_document_with_story(job))
        return
    from hive.cli.report import job_text

    click.echo(job_text(job, session.cost_with_parts(job)))


@click.command()
@click.argument("job_id", metavar="ID", type=job_ids())
@json_option
def why(job_id: str, as_json: bool) -> None:
    """Explain why a job waits, runs or failed, and what to do."""
    from hive.client.explain import explain, look_around

    session = open_session()
    job = session.find(job_id)
    reason = explain(job, look_around(session, job))
    if as_json:
        print_json({"id": job.id, "state": str(job.state), "why": reason.why, "todo": reason.todo})
    else:
        click.echo(printable(f"{reason.why}\n{reason.todo}"))


@click.command()
@click.argument("job_id", metavar="ID", type=job_ids())
@click.option("--timeout", "timeout_s", type=Amount(min=0), metavar="S", help="Wait no longer than that.")
@json_option
def wait(job_id: str, timeout_s: float | None, as_json: bool) -> int:
    """Wait until a job has ended. Exit code 0 if it succeeded, 1 if it failed or the time is over."""
    from hive.cli.waiting import tell, watch

    session = open_session()
    return tell(session, watch(session, session.find(job_id).id, timeout_s), as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID", type=job_ids())
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]", shell_complete=folders)
@click.option("--force", is_flag=True, help="Overwrite files that are newer than the job.")
@json_option
def fetch(job_id: str, folder: Path | None, force: bool, as_json: bool) -> int:
    """Bring the files of a job back. They go to DIR, or where `hive submit` was told to put them."""
    from hive.cli.waiting import tell

    session = open_session()
    job = session.find(job_id)
    if not job.state.is_final:
        raise JobStateError(f"The job {job.short_id} is still {job.state}. Wait for it: hive wait {job.short_id}.")
    if job.state != "succeeded":
        return tell(session, job, as_json=as_json)
    places = session.fetch(job, folder, force=force)
    if as_json:
        print_json({name: str(path) for name, path in places.items()})
    else:
        click.echo("\n".join(str(path) for path in places.values()) or "The job has written no files.")
    return 0


@click.command()
@click.argument("job_id", metavar="[ID]", required=False, type=job_ids("queued", "running"))
@all_options
@json_option
def cancel(job_id: str | None, is_all: bool, is_yes: bool, as_json: bool, **filters: Any) -> int:  # noqa: ANN401  click
    """Stop queued or running jobs. The worker of a running one ends its processes.

    \b
      hive cancel 6ec0
      hive cancel --all --state queued --task gis.dtm
    """  # noqa: D301  as above
    check_choice(job_id, is_all, filters)
    session = open_session()
    if job_id is None:
        jobs = matching(session, read_filters(**filters | {"state": filters["state"] or ("queued", "running")}))
        if not confirm("cancel", jobs, is_yes=is_yes):
            return 1
        return change_all(session, jobs, session.cancel, as_json=as_json)
    job = session.find(job_id)
    session.cancel(job)
    if as_json:
        print_json(session.find(job.id).to_json())
    elif job.state == "running":
        click.echo(f"job {job.short_id} cancelled; {job.worker} ends its processes now")
    else:
        click.echo(f"job {job.short_id} cancelled; it was not running")
    return 0


@click.command()
@click.argument("job_id", metavar="[ID]", required=False, type=job_ids("failed", "cancelled"))
@click.option("--detach", is_flag=True, help="Print the job's id and return.")
@all_options
@json_option
def retry(job_id: str | None, detach: bool, is_all: bool, is_yes: bool, as_json: bool, **filters: Any) -> int:  # noqa: ANN401
    """Run failed or cancelled jobs again, under the same ids. Waits for one job, and brings its files back.

    \b
      hive retry 6ec0
      hive retry --all --state failed --since 1d
    """  # noqa: D301  as above
    from hive.cli.waiting import wait_and_fetch

    check_choice(job_id, is_all, filters)
    session = open_session()
    if job_id is None:
        jobs = matching(session, read_filters(**filters | {"state": filters["state"] or ("failed",)}))
        if not confirm("retry", jobs, is_yes=is_yes):
            return 1
        return change_all(session, jobs, session.retry, as_json=as_json)
    job = session.find(job_id)
    session.retry(job)
    if detach:
        print_json(session.find(job.id).to_json()) if as_json else click.echo(job.id)
        return 0
    return wait_and_fetch(session, job.id, as_json=as_json)


COMMANDS = {Section.JOBS: (jobs, show, why, wait, fetch, cancel, retry)}

"""`hive cancel` and `hive retry`: stop a job, or run one again that had ended without a result."""

import click

from hive.commands.common import json_option, open_session, print_json


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
def cancel(job_id: str, as_json: bool) -> None:
    """Stop a job that waits or runs. Its worker ends the processes of one that runs."""
    from hive.client.control import cancel

    session = open_session()
    job = session.find(job_id)
    cancel(session, job)
    if as_json:
        print_json(session.find(job.id).to_json())
    elif job.state == "running":
        click.echo(f"job {job.short_id} cancelled; {job.worker} ends its processes now")
    else:
        click.echo(f"job {job.short_id} cancelled; it was not running")


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--detach", is_flag=True, help="Print the job's id and return.")
@json_option
def retry(job_id: str, detach: bool, as_json: bool) -> int:
    """Run a failed or cancelled job again under the same id; wait with progress, bring the written files back."""
    from hive.client.control import retry
    from hive.commands.waiting import wait_and_fetch

    session = open_session()
    job = session.find(job_id)
    retry(session, job)
    if detach:
        print_json(session.find(job.id).to_json()) if as_json else click.echo(job.id)
        return 0
    return wait_and_fetch(session, job.id, as_json=as_json)

"""Stopping a job, and running one again that had ended without a result."""

from contextlib import suppress

from hive.broker import reachable
from hive.client.session import Session
from hive.errors import JobStateError, LedgerError, UnreachableError
from hive.jobs import Job


def cancel(session: Session, job: Job) -> None:
    """Cancel a job that waits or runs; its worker ends the processes of one that runs, within seconds.

    Raises
    ------
    JobStateError
        The job had ended before.
    UnreachableError
        The broker does not answer.
    """
    with reachable(session.settings):
        if not session.jobs.cancel(job.id):
            state = session.jobs.get(job.id).state
            raise JobStateError(f"The job {job.short_id} is {state} already; there is nothing to cancel.")
    session.note_finished(job.id)


def retry(session: Session, job: Job) -> None:
    """Give a failed or cancelled job a new series of attempts, under the same id.

    Raises
    ------
    JobStateError
        The job is neither failed nor cancelled.
    UnreachableError
        The broker does not answer. Where the job waits already, its message is sent by a worker.
    """
    with reachable(session.settings):
        if not session.jobs.retry(job.id):
            state = session.jobs.get(job.id).state
            raise JobStateError(f"The job {job.short_id} is {state}; only a failed or cancelled one can be run again.")
    with suppress(LedgerError):  # without it the job runs all the same
        session.ledger.reopen(job.id)
    try:
        session.sender.send_message(job.id, job.specification)
    except UnreachableError as error:
        raise UnreachableError(
            f"The job {job.short_id} waits again, but the broker went away before its message was sent. "
            f"Workers find that out and send it, once the broker is back. Come back to it: hive wait {job.short_id}."
        ) from error

"""Bringing back jobs that Redis has lost: the ledger has what was asked, and the store has the files."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hive.broker import reachable
from hive.errors import BadParameterError, LedgerError, UnreachableError
from hive.jobs import Specification, State

if TYPE_CHECKING:
    from hive.client.session import Session


def send_missing(session: "Session") -> list[str]:
    """Send every unfinished job of this machine again of which Redis has no record, under its old id.

    Jobs that have ended meanwhile, with no file to fetch, are noted as finished. Returns the ids that were sent.

    Raises
    ------
    LedgerError
        The list of what was submitted from here cannot be read.
    UnreachableError
        The broker does not answer.
    """
    unfinished = _unfinished(session)
    ids = list(unfinished)
    if not ids:
        return []
    with reachable(session.settings):
        found = dict(zip(ids, session.jobs.states(ids), strict=True))
    sent = session.sender.send_many([(job_id, unfinished[job_id]) for job_id in ids if found[job_id] is None])
    for job_id, state in found.items():
        if state is not None and is_over(state, unfinished[job_id]):
            session.ledger.finish(job_id)
    return sent


def send_again(session: "Session", job_id: str) -> bool:
    """Send one job again of which Redis has no record. Returns False where it is not an unfinished one of this machine.

    Raises
    ------
    redis.RedisError
        The broker does not answer.
    """
    try:
        asked = _unfinished(session).get(job_id)
    except LedgerError:
        return False
    if asked is not None:
        _send(session, job_id, asked)
    return asked is not None


def is_over(state: State, asked: Specification) -> bool:
    """Whether nothing is left to be done for a job; written files of a succeeded one are still to be fetched."""
    return state.is_final and not (state is State.SUCCEEDED and asked.outputs)


def _unfinished(session: "Session") -> dict[str, Specification]:
    """Jobs that Redis must still have: what ended longer ago than HIVE_KEEP_DAYS, workers have forgotten on purpose."""
    since = datetime.now(UTC) - timedelta(days=session.settings.keep_days)
    return session.ledger.unfinished(session.broker_name, since)


def _send(session: "Session", job_id: str, asked: Specification) -> bool:
    """Send one job; returns False where somebody else has brought it back meanwhile."""
    asked = session.sender.signed(job_id, asked)
    try:
        session.jobs.create(job_id, asked)
    except BadParameterError:
        return False
    with suppress(UnreachableError):  # the record is there: workers find that it has no message, and send one
        session.sender.send_message(job_id, asked)
    return True

"""Following a job's log through everything that may happen to the broker meanwhile."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hive.broker import reachable
from hive.client.observer import Observer
from hive.client.watching import AWAY, REFUSED, outlast
from hive.jobs import LogEntry
from hive.jobs.logs import BEGINNING

if TYPE_CHECKING:
    from hive.client.session import Session


def follow(session: "Session", job_id: str, watcher: Observer, attempt: int | None = None) -> Iterator[LogEntry]:
    """Give every line of a job's log, those that are there and those that come, until the job has ended.

    A broker that is away is waited for; each line is given once.

    Raises
    ------
    NotFoundError
        There is no such job.
    UnreachableError
        The broker refuses access.
    """
    after, is_over = BEGINNING, False
    while not is_over:
        try:
            for entry in session.logs.follow(job_id, after):
                after = entry.id
                if attempt in (None, entry.attempt):
                    yield entry
            is_over = True
        except REFUSED:
            with reachable(session.settings):
                raise
        except AWAY:
            with reachable(session.settings):
                outlast(session, watcher)

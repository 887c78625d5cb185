"""The ledger on disk: which jobs were submitted from here; it outlives Redis.

Paths of this machine stay here and never travel. What is unfinished here is sent again where Redis has lost it.
"""

import json
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hive.errors import LedgerError, UnreadableRecordError
from hive.store import in_batches
from hive.wire.job import Specification, State, rfc3339
from hive.wire.record import Unreadable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id            TEXT PRIMARY KEY,
    submitted_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    specification TEXT NOT NULL,
    destinations  TEXT NOT NULL,
    finished      TEXT,
    broker        TEXT,
    request       TEXT
)
"""
# Columns that older ledgers lack. A job without a broker may have been sent to any; `request` says by a digest what was
# specification, so that a map that is given again finds its jobs.
_ADDED = ("finished", "broker", "request")
_INDEX = "CREATE INDEX IF NOT EXISTS job_request ON job (request) WHERE request IS NOT NULL"
_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
# Another command writes for a millisecond; a program that locks the file for longer will not release it soon.
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Entry:
    """One job as the ledger notes it: what it does, where each written file belongs, and the request's digest."""

    id: str
    specification: Specification
    destinations: Mapping[str, Path]
    request: str | None = None


class Ledger:
    """The jobs that were submitted from here.

    Every method raises LedgerError where the file cannot be read or written.
    """

    def __init__(self, home: Path) -> None:
        self._file = home / "ledger.sqlite3"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(self._file, timeout=_PATIENCE_S)) as connection, connection:
                _prepare(connection)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(_in_words(self._file, error)) from error

    def check(self) -> None:
        """Find out now whether the ledger can be used, before files are sent for a job that it must keep."""
        with self._open():
            pass

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the file open: SQLite tidies it up whenever the last one closes it, and not after each of many notes."""
        with self._open():
            yield

    def note(self, job_id: str, specification: Specification, destinations: Mapping[str, Path], broker: str) -> None:
        """Record a job before it is sent, the paths of its output files, and its broker."""
        self.note_many([Entry(job_id, specification, destinations)], broker)

    def note_many(self, entries: Iterable["Entry"], broker: str) -> None:
        """Remember many jobs in one step; one that is known already is unfinished again."""
        rows = [
            (entry.id, entry.specification.to_json(), _places_json(entry.destinations), broker, entry.request)
            for entry in entries
        ]
        with self._open() as connection:
            connection.executemany(
                "INSERT INTO job (id, specification, destinations, broker, request) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET finished = NULL, submitted_at = excluded.submitted_at",
                rows,
            )

    def requested(self, requests: Sequence[str], broker: str) -> dict[str, str]:
        """The newest job of each request that was sent to a broker before."""
        if not self._file.exists():
            return {}
        ids: dict[str, str] = {}
        with self._open() as connection:
            for batch in in_batches(requests):
                marks = ", ".join("?" * len(batch))
                ids |= connection.execute(
                    f"SELECT request, id FROM job WHERE request IN ({marks}) AND ifnull(broker, ?) = ? ORDER BY rowid",  # noqa: S608  question marks
                    (*batch, broker, broker),
                )
        return ids

    def delete(self, job_id: str) -> None:
        """Forget a job that could not be sent."""
        with self._open() as connection:
            connection.execute("DELETE FROM job WHERE id = ?", (job_id,))

    def finish(self, job_id: str) -> None:
        """Mark a job as finished: it need not run again, even if Redis loses it."""
        self.finish_many([job_id])

    def finish_many(self, job_ids: Sequence[str]) -> None:
        """Mark many jobs as finished in one step."""
        if job_ids and self._file.exists():
            with self._open() as connection:
                connection.executemany(
                    f"UPDATE job SET finished = {_NOW} WHERE id = ? AND finished IS NULL",  # noqa: S608  our own constant
                    [(job_id,) for job_id in job_ids],
                )

    def reopen(self, job_id: str) -> None:
        """Note that a job which had ended is tried again."""
        if self._file.exists():
            with self._open() as connection:
                connection.execute(f"UPDATE job SET finished = NULL, submitted_at = {_NOW} WHERE id = ?", (job_id,))  # noqa: S608  as above

    def destinations(self, job_id: str) -> dict[str, Path]:
        """Paths of a job's output files; empty for a job that was submitted elsewhere."""
        if not self._file.exists():
            return {}
        with self._open() as connection:
            row = connection.execute("SELECT destinations FROM job WHERE id = ?", (job_id,)).fetchone()
        return {name: Path(place) for name, place in json.loads(row[0]).items()} if row else {}

    def unfinished(self, broker: str, since: datetime) -> dict[str, Specification]:
        """Unfinished jobs that a broker was sent since a time, by their ids, oldest first."""
        if not self._file.exists():
            return {}
        with self._open() as connection:
            rows = connection.execute(
                "SELECT id, specification FROM job WHERE finished IS NULL AND ifnull(broker, ?) = ?"
                " AND submitted_at >= ? ORDER BY submitted_at, rowid",
                (broker, broker, rfc3339(since)),
            ).fetchall()
        return dict(_readable(rows))


def _readable(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Specification]]:
    """Ids and specifications, but for those that this version of Hive cannot read."""
    unreadable = Unreadable()
    for job_id, text in rows:
        try:
            yield job_id, Specification.from_json(text)
        except UnreadableRecordError as error:
            unreadable.warn(job_id, error)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table, or add what an older one lacks.

    WAL, so that whoever reads never waits for whoever writes. synchronous=FULL and not NORMAL, because what Redis
    loses in a power cut is its last second (appendfsync everysec), and the ledger is what brings these jobs back.
    A note then takes 1.2 ms with opening and closing, as with NORMAL (2 virtual cores, Debian 12, 2026-11-23).
    """
    with suppress(sqlite3.OperationalError):  # two first commands at once: one of them turns it on
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_SCHEMA)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(job)")}
    for name in _ADDED:
        if name not in columns:
            with suppress(sqlite3.OperationalError):  # meanwhile another command has added it
                connection.execute(f"ALTER TABLE job ADD COLUMN {name} TEXT")
    connection.execute(_INDEX)


def _places_json(destinations: Mapping[str, Path]) -> str:
    return "{}" if not destinations else json.dumps({name: str(path.absolute()) for name, path in destinations.items()})


def _in_words(file: Path, error: Exception) -> str:
    what = f"The ledger of submitted jobs, {file}, cannot be used"
    if "locked" in str(error):
        return f"{what}: another program holds it. End that program, or try again in a moment."
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"{what}: it is damaged. Put it aside: {_mv(file)}; results then need hive fetch ID DIR."
    return f"{what}: {error}. See whether the disk is full, and whether the file and its folder are yours."


def _mv(file: Path) -> str:
    return shlex.join(["mv", str(file), f"{file}.damaged"])


def is_over(state: State, specification: Specification) -> bool:
    """Whether nothing is left to be done for a job; written files of a succeeded one are still to be fetched."""
    return state.is_final and not (state is State.SUCCEEDED and specification.outputs)

"""What this laptop submitted, and where its results are wanted: a small SQLite file under HIVE_HOME.

Paths of this machine stay here and never travel.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from hive.jobs import Specification

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id            TEXT PRIMARY KEY,
    submitted_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    specification TEXT NOT NULL,
    destinations  TEXT NOT NULL
)
"""


class Ledger:
    """The jobs that were submitted from here."""

    def __init__(self, home: Path) -> None:
        self._file = home / "ledger.sqlite3"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(sqlite3.connect(self._file, timeout=10.0)) as connection, connection:
            connection.execute(_SCHEMA)
            yield connection

    def note(self, job_id: str, asked: Specification, destinations: Mapping[str, Path]) -> None:
        """Remember a job before it is sent, and where each written file is wanted."""
        places = json.dumps({name: str(path.absolute()) for name, path in destinations.items()})
        with self._open() as connection:
            connection.execute(
                "INSERT INTO job (id, specification, destinations) VALUES (?, ?, ?)", (job_id, asked.to_json(), places)
            )

    def strike(self, job_id: str) -> None:
        """Forget a job that could not be sent."""
        with self._open() as connection:
            connection.execute("DELETE FROM job WHERE id = ?", (job_id,))

    def destinations(self, job_id: str) -> dict[str, Path]:
        """Where each written file of a job is wanted; empty for a job that was submitted elsewhere."""
        with self._open() as connection:
            row = connection.execute("SELECT destinations FROM job WHERE id = ?", (job_id,)).fetchone()
        return {name: Path(place) for name, place in json.loads(row[0]).items()} if row else {}

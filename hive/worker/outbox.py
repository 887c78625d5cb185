"""Results on their way to Redis. Where Redis is away they wait on the worker's disk and are reported afterwards."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from hive.errors import UnreadableRecordError
from hive.store import JobStore
from hive.task import replaced_atomically
from hive.wire.job import State
from hive.wire.record import Record, Value, read_record, write_record

logger = logging.getLogger(__name__)


class Outcome(Record, frozen=True):
    """How an attempt ended. A state of None: to be started again, after a stop or, with plans, after its parts."""

    job: str
    attempt: int
    state: str | None
    outputs: Mapping[str, Value] = {}
    measures: Mapping[str, Value] = {}
    error: Mapping[str, str] | None = None
    plans: Sequence[Sequence[str]] = ()
    input_bytes: int | None = None

    def report(self, store: JobStore) -> bool:
        """Keep the outcome in the job's record. Returns False where a newer attempt has taken over."""
        if self.plans:
            return store.divide(self.job, self.attempt, self.plans)
        if self.state is None:
            return store.release(self.job, self.attempt, "its worker was told to stop")
        state = State(self.state)
        return store.finish(self.job, self.attempt, state, self.outputs, self.measures, self.error, self.input_bytes)


class Outbox:
    """Outcomes of this worker that Redis does not know yet."""

    def __init__(self, folder: Path, store: JobStore) -> None:
        self._folder = folder
        self._store = store

    def send(self, outcome: Outcome) -> None:
        """Report an outcome now, or keep it until Redis is back."""
        try:
            self._report(outcome)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            logger.warning("job %s: Redis is away (%s); its outcome waits on this disk", outcome.job, error)
            self._folder.mkdir(parents=True, exist_ok=True)
            with replaced_atomically(self._file(outcome)) as unfinished:
                unfinished.write_text(write_record(outcome))

    def flush(self) -> None:
        """Report everything that waits.

        Raises
        ------
        redis.RedisError
            Redis is still away; what waits goes on waiting.
        """
        for outcome in self.waiting():
            self._report(outcome)
            self._file(outcome).unlink(missing_ok=True)
            logger.info("job %s: its outcome is reported now", outcome.job)

    def waiting(self) -> list[Outcome]:
        """Everything that waits."""
        return [outcome for file in sorted(self._folder.glob("*.json")) if (outcome := _read(file)) is not None]

    def _report(self, outcome: Outcome) -> None:
        if not outcome.report(self._store):
            logger.warning("job %s attempt %d is stale: a newer attempt has taken over", outcome.job, outcome.attempt)

    def _file(self, outcome: Outcome) -> Path:
        return self._folder / f"{outcome.job}.{outcome.attempt}.json"


def _read(file: Path) -> Outcome | None:
    """Read an outcome; one that cannot be read is put aside, so that the others are reported."""
    try:
        return read_record(Outcome, file.read_bytes(), f"The outcome in {file}")
    except UnreadableRecordError as error:
        logger.error("%s It is put aside.", error)
        file.rename(file.with_suffix(".unreadable"))
        return None

"""Celery's view of one delivery, with one addition: a pool child that dies is noted in the job's record at once."""

import logging
from typing import Any

import redis
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from hive.settings import load_settings
from hive.store import JobStore
from hive.store.connection import connect
from hive.worker.node import scribe_of, slots_of

logger = logging.getLogger(__name__)


class AttemptRequest(Request):
    """A delivery of a job."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  celery's own signature
        """Tell the record before Celery requeues the message, so that the next attempt may start at once."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt):
            note_loss(self.hostname, self.id, str(error))
        return super().on_failure(exc_info, *args, **kwargs)


def note_loss(worker: str, job_id: str, words: str) -> None:
    """Note that the process of an attempt died; nothing happens where the attempt is not the newest one any more.

    Billiard says `Worker exited prematurely: signal 9 (SIGKILL) Job: 0.`; the signal is what people need.
    """
    settings = load_settings()
    slots = slots_of(settings, worker)
    client = connect(settings)
    reason = words.partition(":")[2].partition(" Job:")[0].strip() or words or "an exit"
    for slot in slots.all():
        if slot.job == job_id and not slot.is_alive:
            try:
                scribe_of(settings, worker, client).finish(slot.name)
                JobStore(client).lose(job_id, slot.attempt, f"its process was ended by {reason}")
            except (redis.RedisError, OSError) as error:
                logger.warning("job %s lost its process, and Redis is away: %s", job_id, error)
                return  # the keeper finds it again
            slots.clear(slot)

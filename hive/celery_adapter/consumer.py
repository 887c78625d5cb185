"""Celery's consumer, which tells Flower of many changes at once."""

import time
from typing import Any

from celery.worker.consumer import Consumer

# Flower may learn of a change so much later [s]. Celery sends what it has to tell after each turn of its loop, which
# for short jobs is half of all that a worker's main process does.
_TELL_AFTER_S = 0.2


class GatheringConsumer(Consumer):
    """A consumer that gathers its events for a moment."""

    hub: Any  # celery's, and the next too
    _flush_events: Any
    _told_by = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # its types say otherwise than its code
        """Send what is gathered in a moment, unless that is going to happen already."""
        now = time.monotonic()
        if self.hub and now >= self._told_by:
            self._told_by = now + _TELL_AFTER_S
            self.hub.call_later(_TELL_AFTER_S, self._flush_events)

    def shutdown(self) -> None:
        """Send what is gathered, then stop."""
        self._flush_events()
        super().shutdown()

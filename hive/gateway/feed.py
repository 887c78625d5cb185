"""What the page shows, and its changes, for all open pages together."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from tornado.ioloop import IOLoop

from hive.client import Session
from hive.client.explain import job_document
from hive.errors import HiveError
from hive.store import Changes, Hour, Minute, Spending
from hive.store.connection import reachable

Event = tuple[str, Any]
POLL_S = 1.0
# A page with so many unread messages is asleep; it is disconnected, and starts again when it wakes.
_MAX_UNREAD = 64


class View:
    """Reads Redis for all pages together. Not to be used by two threads at the same time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes = Changes(session.broker, session.jobs)
        self._hour = Hour(session.broker, session.jobs)
        self._spending = Spending(session.broker)
        self._latest: dict[str, str] = {}
        self._minutes: list[Minute] = []

    def begin(self) -> None:
        """Look for the first time, or again after nobody has looked.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        """
        self._latest = {}
        with reachable(self._session.settings):
            queues = [queue.name for queue in self._session.registry.queues()]
            self._changes.begin(queues)
            self._minutes = self._hour.read(queues)
        self.look()

    def snapshot(self) -> list[Event]:
        """Everything that a newly opened page needs, except the list of jobs."""
        latest = [(name, json.loads(text)) for name, text in self._latest.items() if name != "minute"]
        return [*latest, ("hour", [vars(minute) for minute in self._minutes])]

    def look(self) -> list[Event]:
        """Look again; returns what is different.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        """
        registry = self._session.registry
        with reachable(self._session.settings):
            workers = registry.workers()
            queues = registry.queues(workers)
            names = [queue.name for queue in queues]
            changes = self._changes.look(names)
            minute = self._hour.now(names, sum(queue.queued for queue in queues))
            spending = self._spending.look(names)
        self._update_hour(minute)
        parts: list[Event] = [
            ("workers", workers),
            ("queues", [vars(queue) for queue in queues]),
            ("spending", vars(spending)),
            ("minute", vars(minute)),
        ]
        events = [part for part in parts if self._is_new(*part)]
        if changes.jobs:
            events.append(("jobs", [job_document(job) for job in changes.jobs]))
        if not changes.is_all:
            events.append(("many", {}))
        return events

    def _is_new(self, name: str, value: object) -> bool:
        text = json.dumps(value)
        is_new = self._latest.get(name) != text
        self._latest[name] = text
        return is_new

    def _update_hour(self, minute: Minute) -> None:
        """Append the present minute, or replace it as it was a moment ago."""
        others = [other for other in self._minutes if other.at != minute.at]
        self._minutes = [*others, minute][-len(self._minutes) :]


class Listener:
    """One open page."""

    def __init__(self) -> None:
        self._unread: asyncio.Queue[str | None] = asyncio.Queue(_MAX_UNREAD)

    def send(self, text: str) -> None:
        """Put a message into the page's queue."""
        with suppress(asyncio.QueueFull):
            self._unread.put_nowait(text)
        if self._unread.full():
            self.close()

    def close(self) -> None:
        """Disconnect the page."""
        while not self._unread.empty():
            self._unread.get_nowait()
        self._unread.put_nowait(None)

    async def next(self) -> str | None:
        """Wait for the next message; None if there will be no more."""
        return await self._unread.get()


class Feed:
    """Polls while somebody listens."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._listeners: set[Listener] = set()
        self._has_begun = False
        self._polling: asyncio.Task[None] | None = None

    def join(self) -> Listener:
        """Listen from now on; a snapshot comes first, then each change."""
        listener = Listener()
        self._listeners.add(listener)
        if self._has_begun:
            listener.send(_welcome(self._view))
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no longer."""
        self._listeners.discard(listener)
        listener.close()

    async def _poll(self) -> None:
        """Look until nobody listens."""
        try:
            while self._listeners:
                await self._look_once()
                await asyncio.sleep(POLL_S)
        finally:
            self._polling, self._has_begun = None, False
            for listener in self._listeners:  # a bug in Hive: disconnected pages come back and start again
                listener.close()

    async def _look_once(self) -> None:
        loop = IOLoop.current()
        try:
            if self._has_begun:
                text = _messages(await loop.run_in_executor(None, self._view.look))
            else:
                await loop.run_in_executor(None, self._view.begin)
                self._has_begun = True
                text = _welcome(self._view)
        except HiveError as error:
            self._has_begun = False
            text = _messages([("away", {"message": str(error)})])
        for listener in [*self._listeners] if text else []:
            listener.send(text)


def _welcome(view: View) -> str:
    """What a page needs to begin; at `hello` it asks for its list of jobs, and misses nothing from there on."""
    return _messages([*view.snapshot(), ("hello", {})])


def _messages(events: list[Event]) -> str:
    return "".join(f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n" for name, value in events)

"""What the page shows, and its changes as server-sent events."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError

from hive.client import Session
from hive.client.explain import shown
from hive.errors import HiveError
from hive.gateway.answers import Handler
from hive.store import Changes, Hour, Spending
from hive.store.connection import reachable

Event = tuple[str, Any]


class View:
    """Looks at Redis for all pages together. Not to be used by two threads at the same time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes = Changes(session.broker, session.jobs)
        self._hour = Hour(session.broker, session.jobs)
        self._spending = Spending(session.broker)
        self._told: dict[str, str] = {}
        self._minutes: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Look for the first time, or again after nobody has looked.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        """
        self._told = {}
        with reachable(self._session.settings):
            queues = [one.name for one in self._session.registry.queues()]
            self._changes.begin(queues)
            self._minutes = self._hour.read(queues)
        self.look()

    def whole(self) -> list[Event]:
        """All that a page needs which has just been opened, except the list of jobs."""
        known = [(name, json.loads(text)) for name, text in self._told.items() if name != "minute"]
        return [*known, ("hour", self._minutes)]

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
            names = [one.name for one in queues]
            happened = self._changes.look(names)
            minute = self._hour.now(names, sum(one.queued for one in queues))
            spending = self._spending.look(names)
        self._go_on(minute)
        parts: list[Event] = [
            ("workers", workers),
            ("queues", [vars(one) for one in queues]),
            ("spending", spending),
            ("minute", minute),
        ]
        events = [one for one in parts if self._is_new(*one)]
        if happened.jobs:
            events.append(("jobs", [shown(job) for job in happened.jobs]))
        if not happened.is_all:
            events.append(("many", {}))
        return events

    def _is_new(self, name: str, value: object) -> bool:
        text = json.dumps(value)
        is_new = self._told.get(name) != text
        self._told[name] = text
        return is_new

    def _go_on(self, minute: dict[str, Any]) -> None:
        """Put the present minute behind the others, or in the place of how it was before."""
        others = [one for one in self._minutes if one["at"] != minute["at"]]
        self._minutes = [*others, minute][-len(self._minutes) :]


LOOK_EVERY_S = 1.0
# A page that has not read so many messages is asleep; it is let go, and begins anew when it wakes.
_MOST_UNREAD = 64


class Listener:
    """One open page."""

    def __init__(self) -> None:
        self._unread: asyncio.Queue[str | None] = asyncio.Queue(_MOST_UNREAD)

    def tell(self, text: str) -> None:
        """Put a message before the page."""
        with suppress(asyncio.QueueFull):
            self._unread.put_nowait(text)
        if self._unread.full():
            self.close()

    def close(self) -> None:
        """Let the page go."""
        while not self._unread.empty():
            self._unread.get_nowait()
        self._unread.put_nowait(None)

    async def next(self) -> str | None:
        """Wait for the next message; None where there will be none any more."""
        return await self._unread.get()


class Feed:
    """Looks while somebody listens."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._listeners: set[Listener] = set()
        self._is_begun = False
        self._looking: asyncio.Task[None] | None = None

    def join(self) -> Listener:
        """Listen from now on; first comes the whole, then each change."""
        listener = Listener()
        self._listeners.add(listener)
        if self._is_begun:
            listener.tell(_welcome(self._view))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no longer."""
        self._listeners.discard(listener)
        listener.close()

    async def _look(self) -> None:
        """Look until nobody listens."""
        try:
            while self._listeners:
                await self._look_once()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._looking, self._is_begun = None, False
            for listener in self._listeners:  # a mistake in Hive: pages that were let go come back and begin anew
                listener.close()

    async def _look_once(self) -> None:
        loop = IOLoop.current()
        try:
            if self._is_begun:
                text = _messages(await loop.run_in_executor(None, self._view.look))
            else:
                await loop.run_in_executor(None, self._view.begin)
                self._is_begun = True
                text = _welcome(self._view)
        except HiveError as error:
            self._is_begun = False
            text = _messages([("away", {"message": str(error)})])
        for listener in [*self._listeners] if text else []:
            listener.tell(text)


def _welcome(view: View) -> str:
    """What a page needs to begin; at `hello` it asks for its list of jobs, and misses nothing from there on."""
    return _messages([*view.whole(), ("hello", {})])


def _messages(events: list[Event]) -> str:
    return "".join(f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n" for name, value in events)


# A line that says nothing, so that proxies and browsers do not take the connection for dead.
_SIGN_OF_LIFE_S = 15.0
_AGAIN_MS = 2000


class Events(Handler):
    """Everything that happens in this Hive."""

    def initialize(self) -> None:
        """Begin with nobody."""
        self._listener: Listener | None = None

    async def get(self) -> None:
        """Send the whole, then each change, until the page is closed."""
        self._listener = listener = self.application.feed.join()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.write(f"retry: {_AGAIN_MS}\n\n")
        try:
            await self.flush()
            while (text := await _next(listener)) is not None:
                self.write(text)
                await self.flush()
        except StreamClosedError:
            return  # the page has gone
        finally:
            self.application.feed.leave(listener)

    def on_connection_close(self) -> None:
        """Stop looking at once when the page is closed, not at the next change."""
        if self._listener is not None:
            self.application.feed.leave(self._listener)


async def _next(listener: Listener) -> str | None:
    try:
        return await asyncio.wait_for(listener.next(), _SIGN_OF_LIFE_S)
    except TimeoutError:
        return ":\n\n"

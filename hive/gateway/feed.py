"""The stream of changes that open pages share: one look a second for all of them, and none where there is no page."""

import asyncio
import json
from contextlib import suppress

from tornado.ioloop import IOLoop

from hive.errors import HiveError
from hive.gateway.view import Event, View

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

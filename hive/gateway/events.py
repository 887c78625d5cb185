"""`/events`: what changes, as server-sent events, for as long as somebody listens."""

import asyncio

from tornado.iostream import StreamClosedError

from hive.gateway.answers import Answer
from hive.gateway.feed import Listener

# A line that says nothing, so that proxies and browsers do not take the connection for dead.
_SIGN_OF_LIFE_S = 15.0
_AGAIN_MS = 2000


class Events(Answer):
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

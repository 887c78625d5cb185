"""A way in for a browser that need not type the token: a ticket, good once and for a minute.

`hive dashboard` shows the token to get a ticket, and opens the page that exchanges it for a cookie. So the token itself
is in no address, which a browser would keep, and which other programs of this machine could see.
"""

import hashlib
import secrets
import time
from http import HTTPStatus

from hive.gateway.answers import Answer
from hive.gateway.door import keep
from hive.gateway.files import text_of

LIFE_S = 60.0
_MOST = 20
_GONE = b"This link has been used, or is older than a minute. Make a new one, hive dashboard, or show the token."


class Tickets:
    """Tickets that are good now, by their digests: whoever reads this memory finds none."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def issue(self) -> str:
        """Make a ticket; beyond twenty unused ones the oldest is no longer good."""
        ticket = secrets.token_urlsafe(32)
        self._ends[_digest(ticket)] = time.monotonic() + LIFE_S
        while len(self._ends) > _MOST:
            del self._ends[next(iter(self._ends))]
        return ticket

    def take(self, ticket: str) -> bool:
        """Whether a ticket is good; from now on it is not."""
        return self._ends.pop(_digest(ticket), 0.0) > time.monotonic()


class Ticket(Answer):
    """A new ticket, for somebody who has shown the token."""

    def post(self) -> None:
        """Say it, with the path that takes it."""
        ticket = self.application.tickets.issue()
        self.say({"path": f"/enter?ticket={ticket}", "good_for_s": LIFE_S}, HTTPStatus.CREATED)


class Enter(Answer):
    """The page that takes a ticket."""

    def get(self) -> None:
        """Exchange it for a cookie, and go to the front page."""
        if self.application.tickets.take(self.get_query_argument("ticket", "")):
            keep(self, self.application.door.session())
            self.redirect("/")
            return
        self.set_status(HTTPStatus.UNAUTHORIZED)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text_of("login.html").replace(b"{said}", _GONE))


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()

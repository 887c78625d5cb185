"""The page's own files, its log-in by token or by a ticket of the command line, and the previews of jobs."""

import hashlib
import secrets
import time
from functools import cache
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from tornado.web import HTTPError

from hive.client.explain import previews
from hive.errors import NotFoundError
from hive.gateway.answers import Handler
from hive.gateway.auth import COOKIE, keep
from hive.staging import BlobStore, Reference

FOLDER = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def text_of(name: str) -> bytes:
    """The content of one of the files.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    if name not in {path.name for path in FOLDER.iterdir() if path.suffix in _TYPES}:
        raise NotFoundError(f"There is nothing at /page/{name[:100]}.")
    return (FOLDER / name).read_bytes()


class PageFile(Handler):
    """A stylesheet, a script, a picture."""

    def get(self, name: str) -> None:
        """Send it, where the browser has not got it already."""
        content = text_of(name)
        self.set_header("Content-Type", _TYPES[Path(name).suffix])
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        self.finish(content)


_MOST_BYTES = 16 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


class Preview(Handler):
    """A PNG that the task declares as a preview; nothing else that a job has written is ever shown by a browser."""

    async def get(self, job_id: str, name: str | None = None) -> None:
        """Send the first preview of a job, or the one of that name."""
        job = await self.blocking(self.application.session.find, job_id)
        found = await self.blocking(previews, job)
        reference = found.get(name) if name else next(iter(found.values()), None)
        if reference is None:
            raise NotFoundError(f"The job {job.short_id} has no such preview. It has: {', '.join(found) or 'none'}.")
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{reference.digest}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        picture = await self.blocking(_read, self.application.pictures, reference)
        self.set_header("Content-Type", "image/png")
        self.finish(picture)


def _read(store: BlobStore, reference: Reference) -> bytes:
    """Read a picture from the store, and make sure that it is one."""
    size = store.size(reference.digest)
    if size is None:
        raise NotFoundError(f"{reference.name} is not in the store any more.")
    if size > _MOST_BYTES:
        raise NotFoundError(f"{reference.name} has {size / (1 << 20):.0f} MiB, which is no preview.")
    with TemporaryDirectory(prefix="hive-preview-") as folder:
        place = Path(folder) / "preview.png"
        store.fetch(reference, place)
        picture = place.read_bytes()
    if not picture.startswith(_PNG):
        raise NotFoundError(f"{reference.name} is not a PNG.")
    return picture


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


class Ticket(Handler):
    """A new ticket, for somebody who has shown the token."""

    def post(self) -> None:
        """Say it, with the path that takes it."""
        ticket = self.application.tickets.issue()
        self.say({"path": f"/enter?ticket={ticket}", "good_for_s": LIFE_S}, HTTPStatus.CREATED)


class Enter(Handler):
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


class Home(Handler):
    """The front page."""

    def get(self) -> None:
        """Show what goes on."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text_of("index.html"))


class LogIn(Handler):
    """The page that asks for the token."""

    def get(self) -> None:
        """Ask for it."""
        self._ask("")

    def post(self) -> None:
        """Exchange it for a cookie that no script can read and no other site can use."""
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise HTTPError(HTTPStatus.FORBIDDEN, reason="Log in from this page itself")
        try:
            cookie = self.application.door.log_in(self.get_body_argument("token", ""))
        except PermissionError:
            self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
            self._ask("Too many wrong tokens. Wait a minute.")
            return
        if cookie is None:
            self.set_status(HTTPStatus.UNAUTHORIZED)
            self._ask("That is not the token.")
            return
        keep(self, cookie)
        self.redirect("/")

    def _ask(self, said: str) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text_of("login.html").replace(b"{said}", said.encode()))


class LogOut(Handler):
    """The way out."""

    def post(self) -> None:
        """Forget the cookie."""
        self.clear_cookie(COOKIE)
        self.redirect("/login")


class Healthcheck(Handler):
    """Whether the gateway answers."""

    def get(self) -> None:
        """Say so."""
        self.say({"state": "up"})

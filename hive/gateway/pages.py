"""The web page: its files and events, logging in by token or ticket, and the previews of jobs."""

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from hive.client.explain import previews
from hive.errors import NotFoundError
from hive.gateway.auth import COOKIE, TICKET_LIFE_S, set_session_cookie
from hive.gateway.context import Route
from hive.gateway.feed import Listener
from hive.gateway.handler import Handler
from hive.gateway.openapi import EVENT, NUMBER, TEXT, refusals, response, responses, structure
from hive.staging import BlobStore, Reference

FOLDER = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def read_page_file(name: str) -> bytes:
    """The content of one of the page's files.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    if name not in {path.name for path in FOLDER.iterdir() if path.suffix in _TYPES}:
        raise NotFoundError(f"There is nothing at /page/{name[:100]}.")
    return (FOLDER / name).read_bytes()


class Home(Handler):
    """The front page."""

    def get(self) -> None:
        """Send it."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(read_page_file("index.html"))


class PageFile(Handler):
    """A stylesheet, a script, a picture."""

    def get(self, name: str) -> None:
        """Send it, unless the browser has it already."""
        content = read_page_file(name)
        self.set_header("Content-Type", _TYPES[Path(name).suffix])
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        self.finish(content)


# A comment line that keeps proxies and browsers from closing a silent connection.
_KEEP_ALIVE = ":\n\n"
_KEEP_ALIVE_S = 15.0
_RECONNECT_MS = 2000


class Events(Handler):
    """Everything that happens in this Hive, as server-sent events."""

    def initialize(self) -> None:
        """Start without a listener."""
        self._listener: Listener | None = None

    async def get(self) -> None:
        """Send a snapshot, then each change, until the page is closed."""
        feed = self.context.feed
        self._listener = listener = feed.join()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.write(f"retry: {_RECONNECT_MS}\n\n")
        try:
            await self.flush()
            while (text := await _next(listener)) is not None:
                self.write(text)
                await self.flush()
        except StreamClosedError:
            return  # the page is closed
        finally:
            feed.leave(listener)

    def on_connection_close(self) -> None:
        """Stop polling at once when the page is closed, not at the next change."""
        if self._listener is not None:
            self.context.feed.leave(self._listener)


async def _next(listener: Listener) -> str | None:
    try:
        return await asyncio.wait_for(listener.next(), _KEEP_ALIVE_S)
    except TimeoutError:
        return _KEEP_ALIVE


def _events_api() -> Mapping[str, Any]:
    stream = response("A snapshot first, then each change, for as long as you listen.", EVENT, "text/event-stream")
    return {"get": {"summary": "Follow everything, as server-sent events.", "responses": {"200": stream} | refusals()}}


class LogIn(Handler):
    """The page that asks for the token."""

    def get(self) -> None:
        """Ask for it."""
        self._ask("")

    def post(self) -> None:
        """Exchange it for a cookie that no script can read and no other site can use."""
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise HTTPError(HTTPStatus.FORBIDDEN, reason="Log in on the login page")
        try:
            cookie = self.context.auth.log_in(self.get_body_argument("token", ""))
        except PermissionError:
            self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
            self._ask("Too many wrong tokens. Wait a minute.")
            return
        if cookie is None:
            self.set_status(HTTPStatus.UNAUTHORIZED)
            self._ask("Wrong token.")
            return
        set_session_cookie(self, cookie)
        self.redirect("/")

    def _ask(self, message: str) -> None:
        _send_login_page(self, message)


def _send_login_page(handler: Handler, message: str) -> None:
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    handler.finish(read_page_file("login.html").replace(b"{message}", message.encode()))


class LogOut(Handler):
    """The way out."""

    def post(self) -> None:
        """Delete the cookie."""
        self.clear_cookie(COOKIE)
        self.redirect("/login")


class Ticket(Handler):
    """A new one-time ticket."""

    def post(self) -> None:
        """Issue it, and say which path redeems it."""
        ticket = self.context.tickets.issue()
        self.send_json({"path": f"/enter?ticket={ticket}", "good_for_s": TICKET_LIFE_S}, HTTPStatus.CREATED)


def _ticket_api() -> Mapping[str, Any]:
    ticket = structure(path=TEXT, good_for_s=NUMBER)
    return {"post": {"summary": "Issue a one-time login link for a browser.", "responses": responses(201, ticket)}}


_INVALID_LINK = "This link has been used already, or is older than a minute. Get a new one (hive dashboard) or log in."


class Enter(Handler):
    """The page that redeems a ticket."""

    def get(self) -> None:
        """Exchange it for a cookie, and go to the front page."""
        if self.context.tickets.redeem(self.get_query_argument("ticket", "")):
            set_session_cookie(self, self.context.auth.session())
            self.redirect("/")
            return
        self.set_status(HTTPStatus.UNAUTHORIZED)
        _send_login_page(self, _INVALID_LINK)


_MAX_PREVIEW_BYTES = 16 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


class Preview(Handler):
    """A PNG that the task declares as a preview; no other output of a job is ever shown by a browser."""

    async def get(self, job_id: str, name: str | None = None) -> None:
        """Send the first preview of a job, or the one of that name."""
        job = await self.in_thread(self.context.session.find, job_id)
        of_job = await self.in_thread(previews, job)
        reference = of_job.get(name) if name else next(iter(of_job.values()), None)
        if reference is None:
            raise NotFoundError(f"The job {job.short_id} has no such preview. Previews: {', '.join(of_job) or 'none'}.")
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{reference.digest}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        picture = await self.in_thread(_read_preview, self.context.previews, reference)
        self.set_header("Content-Type", "image/png")
        self.finish(picture)


def _read_preview(store: BlobStore, reference: Reference) -> bytes:
    """Read a picture from the store, and make sure that it is one."""
    size = store.size(reference.digest)
    if size is None:
        raise NotFoundError(f"{reference.name} is no longer in the store.")
    if size > _MAX_PREVIEW_BYTES:
        raise NotFoundError(f"{reference.name} has {size / (1 << 20):.0f} MiB, too many for a preview.")
    with TemporaryDirectory(prefix="hive-preview-") as folder:
        place = Path(folder) / "preview.png"
        store.fetch(reference, place)
        picture = place.read_bytes()
    if not picture.startswith(_PNG):
        raise NotFoundError(f"{reference.name} is not a PNG.")
    return picture


def _preview_api() -> Mapping[str, Any]:
    picture = response("The picture.", {"type": "string", "format": "binary"}, "image/png")
    return {
        "get": {
            "summary": "Show a preview of a job: the first one, or that of a name.",
            "responses": {"200": picture} | refusals(404, 503),
        }
    }


class Healthcheck(Handler):
    """Whether the gateway is up."""

    def get(self) -> None:
        """Say so."""
        self.send_json({"state": "up"})


def _healthcheck_api() -> Mapping[str, Any]:
    return {"get": {"summary": "Whether the gateway is up.", "responses": responses(200, structure())}}


ROUTES = (
    Route("/", Home),
    Route("/page/{file}", PageFile, open_paths=("/page/hive.css",)),
    Route("/events", Events, _events_api),
    Route("/login", LogIn, open_paths=("/login",)),
    Route("/logout", LogOut),
    Route("/ticket", Ticket, _ticket_api),
    Route("/enter", Enter, open_paths=("/enter",)),
    Route("/task/{id}/preview", Preview, _preview_api),
    Route("/task/{id}/preview/{name}", Preview, _preview_api),
    Route("/healthcheck", Healthcheck, _healthcheck_api),
)

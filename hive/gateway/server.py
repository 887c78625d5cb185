"""The web server: Flower's application with Hive's handlers in front. All use of Flower's internals is in this file."""

import dataclasses
import logging
import re
import signal
import ssl
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from flower.app import Flower
from flower.options import default_options
from flower.urls import settings as flower_settings
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.web import url

from hive.celery_adapter import make_application
from hive.client import Session
from hive.errors import SettingError
from hive.gateway import blobs, feed, openapi, pages, status, tasks
from hive.gateway import status as metrics
from hive.gateway.answers import RateLimited, Unauthorized, Unknown
from hive.gateway.auth import Auth
from hive.gateway.feed import Feed, View
from hive.gateway.guard import SafeHeaders, TooLarge, is_too_large, make_server
from hive.gateway.incoming import Store
from hive.home.log_files import cap
from hive.home.network import SERVER, opened
from hive.home.users import is_identity
from hive.settings import Settings, tls_folder
from hive.staging import BlobStore, open_store

logger = logging.getLogger(__name__)
PREFIX = "flower"
_JOB = r"([0-9a-zA-Z]{1,64})"
_FILE = re.compile(r"/blob/([0-9a-f]{64})")
# Flower keeps about 10 kB for each job it has seen, and forgets the oldest beyond this many. Hive's page has them all.
_MOST_TASKS = 100
_CAP_LOGS_EVERY_S = 600
# What a stranger may see: the page that asks for the token, what it is made of, and the one that takes a ticket.
_OPEN = ("/login", "/page/hive.css", "/enter")
_HANDLERS = [
    url(r"/", pages.Home),
    url(r"/page/([a-z_.]{1,64})", pages.PageFile),
    url(r"/events", feed.Events),
    url(r"/login", pages.LogIn),
    url(r"/logout", pages.LogOut),
    url(r"/ticket", pages.Ticket),
    url(r"/enter", pages.Enter),
    url(r"/healthcheck", pages.Healthcheck),
    url(r"/openapi.json", openapi.OpenApi),
    url(r"/task", tasks.Tasks),
    url(rf"/task/{_JOB}", tasks.OneTask),
    url(rf"/task/{_JOB}/cancel", tasks.Change, {"step": Session.cancel}),
    url(rf"/task/{_JOB}/retry", tasks.Change, {"step": Session.retry}),
    url(rf"/task/{_JOB}/why", tasks.Why),
    url(rf"/task/{_JOB}/logs", tasks.Logs),
    url(rf"/task/{_JOB}/preview(?:/([a-z0-9_]{{1,64}}))?", pages.Preview),
    url(r"/workers", status.Workers),
    url(r"/queue", status.Queue),
    url(r"/status", status.Status),
    url(r"/metrics", metrics.Metrics),
    url(r"/blob/missing", blobs.Missing),
    url(_FILE.pattern, blobs.Blob),
    url(rf"/(?!{PREFIX}(?:/|$)).*", Unknown),
]


class Gateway(Flower):  # type: ignore[misc]  # Flower has no types
    """Flower under `/flower/`, everything else Hive's own, and nothing open without the token."""

    def __init__(self, settings: Settings, pictures: BlobStore) -> None:
        self.session = Session(settings)
        self.pictures = pictures
        self.feed = Feed(View(self.session))
        self.door = Auth(settings.token, lambda name: is_identity(settings, name))
        self.tickets = pages.Tickets()
        self.store = Store(_folder(settings.store))
        default_options.url_prefix = PREFIX
        default_options.read_only = True
        default_options.max_tasks = _MOST_TASKS
        default_options.enable_events = False  # Hive's workers send events by themselves
        super().__init__(
            options=default_options,
            capp=make_application(settings),
            **flower_settings
            | {"login_url": "/login", "static_url_prefix": f"/{PREFIX}/static/", "cookie_secret": settings.token},
        )
        self.add_handlers(r".*", _HANDLERS)
        self.add_transform(SafeHeaders)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # noqa: ANN401  tornado's own
        """Let nobody in who does not show the token; Flower's own checks come after that."""
        if request.path not in _OPEN and not self.door.admits(request):
            is_limited = self.door.is_shut(request)
            return cast(
                HTTPMessageDelegate, self.get_handler_delegate(request, RateLimited if is_limited else Unauthorized)
            )
        if is_too_large(request) and not _FILE.fullmatch(request.path):
            return cast(HTTPMessageDelegate, self.get_handler_delegate(request, TooLarge))
        return cast(HTTPMessageDelegate, super().find_handler(request, **kwargs))

    def listen_at(self, port: int, address: str) -> None:
        """Open the port."""
        make_server(self).add_sockets(bind_sockets(port, address=address))

    def listen_encrypted(self, port: int, address: str, folder: Path) -> None:
        """Open the port at an address of the network too, to TLS only."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        make_server(self, ssl_options=context).add_sockets(bind_sockets(port, address=address))


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    SettingError
        There is no token, so that the door could not be shut.
    """
    if not settings.token:
        raise SettingError("The gateway needs a token: start it with hive up, which makes one, or set HIVE_TOKEN.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("tornado.access", "tornado.general", "flower.inspector"):  # what visitors do wrong is told to them
        logging.getLogger(name).setLevel(logging.ERROR)
    # Its own files are in a folder; where workers bring theirs to a bucket, pictures are looked for there.
    is_gateways = settings.store.startswith(("http:", "https:"))
    store = settings.store if settings.store.startswith("file:") else (settings.home / "store").as_uri()
    own = dataclasses.replace(settings, store=store)
    gateway = Gateway(own, open_store(own if is_gateways else settings))
    gateway.listen_at(settings.gateway_port, settings.gateway_host)
    if found := opened(settings):
        gateway.listen_encrypted(settings.gateway_port, found.address, tls_folder(settings.home) / SERVER)
    loop = IOLoop.current()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.add_callback_from_signal(gateway.stop))
    PeriodicCallback(lambda: cap(settings), _CAP_LOGS_EVERY_S * 1000).start()
    logger.info("serving at port %d", settings.gateway_port)
    gateway.start()


def _folder(store: str) -> Path:
    return Path(unquote(urlsplit(store).path))

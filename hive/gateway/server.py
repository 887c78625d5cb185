"""The web server: Flower's application with Hive's handlers in front. All use of Flower's internals is in this file."""

import dataclasses
import logging
import re
import signal
import ssl
from pathlib import Path
from types import SimpleNamespace
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
from hive.gateway import blobs, openapi, pages, status, tasks
from hive.gateway.auth import Auth, Tickets
from hive.gateway.context import GatewayContext
from hive.gateway.feed import Feed, View
from hive.gateway.guard import SafeHeaders, is_too_large, make_server
from hive.gateway.handler import NotFound, RateLimited, TooLarge, Unauthorized
from hive.gateway.incoming import Store
from hive.home.log_files import cap
from hive.home.network import SERVER, network_access
from hive.home.users import is_identity
from hive.settings import Settings, tls_folder
from hive.staging import open_store

logger = logging.getLogger(__name__)
ROUTES = (*pages.ROUTES, *tasks.ROUTES, *status.ROUTES, *blobs.ROUTES, *openapi.ROUTES)
_PREFIX = "flower"
# Flower keeps about 10 kB for each job it has seen, and forgets the oldest beyond this many. Hive's page has them all.
_FLOWER_MAX_TASKS = 100
_CAP_LOGS_EVERY_S = 600


class Gateway(Flower):  # type: ignore[misc]  # Flower has no types
    """Flower under `/flower/`, everything else Hive's own, and nothing open without the token."""

    def __init__(self, context: GatewayContext) -> None:
        self._auth = context.auth
        self._open = {path for route in context.routes for path in route.open_paths}
        self._large = [re.compile(route.pattern) for route in context.routes if route.has_large_bodies]
        super().__init__(
            options=_flower_options(),
            capp=make_application(context.settings),
            context=context,
            **flower_settings
            | {
                "login_url": "/login",
                "static_url_prefix": f"/{_PREFIX}/static/",
                "cookie_secret": context.settings.token,
            },
        )
        own = [url(route.pattern, route.handler) for route in context.routes]
        self.add_handlers(r".*", [*own, url(rf"/(?!{_PREFIX}(?:/|$)).*", NotFound)])
        self.add_transform(SafeHeaders)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # noqa: ANN401  tornado's own
        """Refuse whoever has no valid token; Flower's own checks come after that."""
        if request.path not in self._open and not self._auth.admits(request):
            handler = RateLimited if self._auth.is_rate_limited(request) else Unauthorized
            return cast(HTTPMessageDelegate, self.get_handler_delegate(request, handler))
        if is_too_large(request) and not any(pattern.fullmatch(request.path) for pattern in self._large):
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


def _flower_options() -> SimpleNamespace:
    """Flower's options for this gateway; its defaults belong to the whole process and stay as they are."""
    own = {"url_prefix": _PREFIX, "read_only": True, "max_tasks": _FLOWER_MAX_TASKS}
    return SimpleNamespace(**default_options.as_dict() | own | {"enable_events": False})  # Hive's workers send events


def make_context(settings: Settings) -> GatewayContext:
    """What the handlers of this Hive's gateway work with."""
    # Its own files are in a folder; if workers upload theirs to a bucket, pictures are read from there.
    has_bucket = not settings.store.startswith(("http:", "https:"))
    folder = settings.store if settings.store.startswith("file:") else (settings.home / "store").as_uri()
    own = dataclasses.replace(settings, store=folder)
    session = Session(own)
    return GatewayContext(
        settings=own,
        session=session,
        auth=Auth(settings.token, lambda name: is_identity(own, name)),
        tickets=Tickets(),
        feed=Feed(View(session)),
        store=Store(Path(unquote(urlsplit(folder).path))),
        previews=open_store(settings if has_bucket else own),
        routes=ROUTES,
    )


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    SettingError
        There is no token to authenticate with.
    """
    if not settings.token:
        raise SettingError("The gateway needs a token. Start it with hive up, which makes one, or set HIVE_TOKEN.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("tornado.access", "tornado.general", "flower.inspector"):  # clients are told of their own errors
        logging.getLogger(name).setLevel(logging.ERROR)
    gateway = Gateway(make_context(settings))
    gateway.listen_at(settings.gateway_port, settings.gateway_host)
    if network := network_access(settings):
        gateway.listen_encrypted(settings.gateway_port, network.address, tls_folder(settings.home) / SERVER)
    loop = IOLoop.current()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.add_callback_from_signal(gateway.stop))
    PeriodicCallback(lambda: cap(settings), _CAP_LOGS_EVERY_S * 1000).start()
    logger.info("serving at port %d", settings.gateway_port)
    gateway.start()

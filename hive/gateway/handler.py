"""What all handlers of the gateway share: JSON in and out, errors in one sentence, headers that keep pages safe."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from hive.errors import (
    BudgetError,
    HiveError,
    JobStateError,
    NotFoundError,
    UnknownNameError,
    UnreachableError,
    UsageError,
)
from hive.gateway.context import GatewayContext

T = TypeVar("T")
# Longest body that is not streamed; a handler of files sets its own limit once it has read the request's head.
MAX_BODY_BYTES = 1 << 20
# The first that fits counts.
_STATUS: tuple[tuple[type[HiveError], HTTPStatus], ...] = (
    (UnknownNameError, HTTPStatus.NOT_FOUND),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (JobStateError, HTTPStatus.CONFLICT),
    (BudgetError, HTTPStatus.PAYMENT_REQUIRED),
    (UnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
# Besides those of every response (hive.gateway.guard).
_SAFE_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "base-uri 'none'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "img-src 'self' data:",
            "script-src 'self'",
            "style-src 'self'",
        )
    ),
    "Cache-Control": "no-store",
}
# So long the sender of a refused body can read why, before its connection is closed.
_CLOSE_DELAY_S = 1.0


class Handler(RequestHandler):
    """Base of Hive's own handlers."""

    @property
    def context(self) -> GatewayContext:
        """What all handlers work with."""
        context = self.settings["context"]
        assert isinstance(context, GatewayContext)  # noqa: S101  the server is made with it
        return context

    def set_default_headers(self) -> None:
        """Nothing in a response is run, framed, sniffed or cached."""
        for name, value in _SAFE_HEADERS.items():
            self.set_header(name, value)

    def check_xsrf_cookie(self) -> None:
        """Leave it to `Auth`, which refuses what another site sends with our cookie."""

    async def in_thread(self, step: Callable[..., T], *args: Any) -> T:  # noqa: ANN401  whatever the step takes
        """Do something that waits for Redis or a disk, without holding up other requests."""
        return await IOLoop.current().run_in_executor(None, step, *args)

    def send_json(self, document: object, status: int = HTTPStatus.OK) -> None:
        """Respond with a JSON document."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, ensure_ascii=False))

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Respond with an error, in one sentence."""
        self.send_json({"error": {"kind": kind, "message": message}}, status)

    def json_body(self) -> dict[str, Any]:
        """The JSON object in the request.

        Raises
        ------
        HTTPError
            There is none.
        """
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="The body must be a JSON object") from error
        if not isinstance(body, dict):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="The body must be a JSON object")
        return body

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401  tornado's own signature
        """Respond to an error of Hive with its status and sentence; anything else is a bug in Hive."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, HiveError):
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
            self.refuse(status, error.kind, str(error))
        elif status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.refuse(status_code, "bug", "This is a bug in Hive; the gateway's log has details.")
        else:
            if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(self._allowed_methods()))
            self.refuse(status_code, "http", f"{self._reason}.")

    def _allowed_methods(self) -> list[str]:
        methods = ("GET", "HEAD", "POST", "PUT", "DELETE")
        return [name for name in methods if getattr(type(self), name.lower()) is not getattr(Handler, name.lower())]

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401  tornado's own signature
        """Keep tracebacks for bugs in Hive."""
        if not isinstance(value, HiveError | StreamClosedError):
            super().log_exception(typ, value, tb)


class NotFound(Handler):
    """A path at which nothing is."""

    def prepare(self) -> None:
        """Say so, whatever the method."""
        self.refuse(HTTPStatus.NOT_FOUND, "not-found", f"There is nothing at {self.request.path[:200]}.")


class RateLimited(Handler):
    """A sender of too many wrong tokens."""

    def prepare(self) -> None:
        """Say so, without checking more of them."""
        self.set_header("Retry-After", "60")
        self.refuse(HTTPStatus.TOO_MANY_REQUESTS, "access", "Too many wrong tokens from this address. Wait a minute.")


class Unauthorized(Handler):
    """A request without a valid token: a browser is redirected to the login page, everybody else is refused."""

    def prepare(self) -> None:
        """Say what to do."""
        if self.request.method == "GET" and "text/html" in self.request.headers.get("Accept", ""):
            self.redirect("/login")
            return
        self.set_header("WWW-Authenticate", "Bearer")
        self.refuse(
            HTTPStatus.UNAUTHORIZED,
            "access",
            "A bearer token is required (Authorization: Bearer TOKEN). It is in gateway.token under HIVE_HOME.",
        )


@stream_request_body
class TooLarge(Handler):
    """A body that is longer than any handler but that of files reads."""

    def prepare(self) -> None:
        """Refuse it as soon as its head says so; hardly any of it is read."""
        connection: Any = self.request.connection
        connection.set_max_body_size(int(self.request.headers["Content-Length"]))
        self.set_header("Connection", "close")
        words = f"The body must have {MAX_BODY_BYTES:,} bytes at most."
        self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", words)
        IOLoop.current().call_later(_CLOSE_DELAY_S, connection.stream.close)

    def data_received(self, chunk: bytes) -> None:
        """Drop what arrives all the same."""

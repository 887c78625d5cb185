"""What all handlers of the gateway share: JSON in and out, errors in one sentence, headers that keep pages safe."""

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from hive.errors import (
    BudgetError,
    HiveError,
    JobStateError,
    NotFoundError,
    UnknownNameError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from hive.gateway.server import Gateway

logger = logging.getLogger(__name__)
T = TypeVar("T")
# The first that fits counts.
_STATUS: tuple[tuple[type[HiveError], HTTPStatus], ...] = (
    (UnknownNameError, HTTPStatus.NOT_FOUND),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (JobStateError, HTTPStatus.CONFLICT),
    (BudgetError, HTTPStatus.PAYMENT_REQUIRED),
    (UnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
# Beside those that every answer gets (hive.gateway.guard).
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


class Handler(RequestHandler):
    """A handler of Hive's own."""

    application: "Gateway"

    def set_default_headers(self) -> None:
        """Nothing that comes from here is run, framed, guessed at or kept."""
        for name, value in _SAFE_HEADERS.items():
            self.set_header(name, value)

    def check_xsrf_cookie(self) -> None:
        """Leave it to the door, which refuses what another site sends with our cookie."""

    async def blocking(self, step: Callable[..., T], *args: Any) -> T:  # noqa: ANN401  whatever the step takes
        """Do something that waits for Redis or a disk, without holding up other requests."""
        return await IOLoop.current().run_in_executor(None, step, *args)

    def say(self, document: object, status: int = HTTPStatus.OK) -> None:
        """Answer with a JSON document."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, ensure_ascii=False))

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Answer with what is wrong, in one sentence."""
        self.say({"error": {"kind": kind, "message": message}}, status)

    def json_body(self) -> dict[str, Any]:
        """The JSON object that was sent.

        Raises
        ------
        HTTPError
            It is none.
        """
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="The body must be a JSON object") from error
        if not isinstance(body, dict):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="The body must be a JSON object")
        return body

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401  tornado's own signature
        """Answer an error of Hive with its status and sentence; anything else is a mistake in Hive."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, HiveError):
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
            self.refuse(status, error.kind, str(error))
        elif status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.refuse(status_code, "bug", "This is a mistake in Hive; the gateway's log has more.")
        else:
            if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(self._methods()))
            self.refuse(status_code, "http", f"{self._reason}.")

    def _methods(self) -> list[str]:
        """What this handler can be asked."""
        known = ("GET", "HEAD", "POST", "PUT", "DELETE")
        return [name for name in known if getattr(type(self), name.lower()) is not getattr(Handler, name.lower())]

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401  tornado's own signature
        """Keep tracebacks for mistakes in Hive."""
        if not isinstance(value, HiveError | StreamClosedError):
            super().log_exception(typ, value, tb)


class Unknown(Handler):
    """Nothing is here."""

    def prepare(self) -> None:
        """Say so, whatever the method."""
        self.refuse(HTTPStatus.NOT_FOUND, "not-found", f"There is nothing at {self.request.path[:200]}.")


class RateLimited(Handler):
    """Somebody who has shown too many wrong tokens."""

    def prepare(self) -> None:
        """Say so, without looking at more of them."""
        self.set_header("Retry-After", "60")
        self.refuse(HTTPStatus.TOO_MANY_REQUESTS, "access", "Too many wrong tokens came from there. Wait a minute.")


class Unauthorized(Handler):
    """Somebody without the token: a browser is sent to the page that asks for it, everybody else is refused."""

    def prepare(self) -> None:
        """Say what to do."""
        if self.request.method == "GET" and "text/html" in self.request.headers.get("Accept", ""):
            self.redirect("/login")
            return
        self.set_header("WWW-Authenticate", "Bearer")
        self.refuse(
            HTTPStatus.UNAUTHORIZED,
            "access",
            "Show the token of this Hive: Authorization: Bearer TOKEN. It is in gateway.token under HIVE_HOME.",
        )

"""Authentication: the bearer token, the cookie that a browser gets for it, and tickets that the command line issues.

A worker with an identity of its own has a token of its own, which gives access to files and to nothing else.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from hive.settings import worker_token

logger = logging.getLogger(__name__)
COOKIE = "hive"
_SESSION_S = 30 * 86_400
# So many wrong tokens within this time from one address, and for as long it is answered 429.
_MAX_WRONG, _WRONG_WINDOW_S = 10, 60.0
_MAX_ADDRESSES = 1000
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_WORKER_PATHS = "/blob/"
TICKET_LIFE_S = 60.0
_MAX_TICKETS = 20


class Auth:
    """Checks every request before any handler sees it."""

    def __init__(self, token: str, is_identity: Callable[[str], bool]) -> None:
        self._token = token
        self._is_identity = is_identity
        self._wrong_logins: deque[float] = deque(maxlen=_MAX_WRONG)
        self._wrong_by_address: dict[str, deque[float]] = {}

    def admits(self, request: HTTPServerRequest) -> bool:
        """Whether a request has the token or a session cookie."""
        header = request.headers.get("Authorization", "")
        if header:
            scheme, _, credentials = header.partition(" ")
            token = credentials.strip()
            return scheme.lower() == "bearer" and (self._is_token(token) or self._is_worker(request, token))
        cookie = request.cookies.get(COOKIE)
        return cookie is not None and self._is_session(cookie.value) and is_same_origin(request)

    def is_rate_limited(self, request: HTTPServerRequest) -> bool:
        """Count a wrong token; whether its address had too many within a minute.

        Only wrong tokens are answered so. The right one always works: whoever shares an address with an attacker, as
        all do who come through one tunnel, is not locked out, and 256 bits are not guessed.
        """
        if "Authorization" not in request.headers:
            return False
        now, address = time.monotonic(), request.remote_ip or ""
        if len(self._wrong_by_address) >= _MAX_ADDRESSES:
            self._wrong_by_address.clear()
        wrong = self._wrong_by_address.setdefault(address, deque(maxlen=_MAX_WRONG))
        is_limited = _are_too_many(wrong, now)
        if not is_limited:
            wrong.append(now)
            if len(wrong) == _MAX_WRONG:
                logger.warning("%d wrong tokens from %s", _MAX_WRONG, address)
        return is_limited

    def log_in(self, token: str) -> str | None:
        """Exchange the token for a session cookie's value; None if the token is wrong.

        Raises
        ------
        PermissionError
            There were too many wrong tokens within a minute.
        """
        now = time.monotonic()
        if _are_too_many(self._wrong_logins, now):
            raise PermissionError
        if not self._is_token(token):
            self._wrong_logins.append(now)
            return None
        return self.session()

    def session(self) -> str:
        """The value of a new session cookie."""
        ends = str(int(time.time()) + _SESSION_S)
        return f"{ends}.{self._sign(ends)}"

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())

    def _is_worker(self, request: HTTPServerRequest, text: str) -> bool:
        """Whether a worker with a known identity asks for a file."""
        name = text.partition(".")[0]
        is_right = hmac.compare_digest(text.encode(), worker_token(self._token, name).encode())
        return is_right and request.path.startswith(_WORKER_PATHS) and self._is_identity(name)

    def _is_session(self, cookie: str) -> bool:
        ends, _, signature = cookie.partition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._sign(ends).encode())
        return is_ours and ends.isdecimal() and int(ends) > time.time()

    def _sign(self, ends: str) -> str:
        """Sign with the token, so that a new token invalidates all cookies."""
        return hmac.new(self._token.encode(), b"session" + ends.encode(), hashlib.sha256).hexdigest()


def _are_too_many(wrong: deque[float], now: float) -> bool:
    return len(wrong) == _MAX_WRONG and now - wrong[0] < _WRONG_WINDOW_S


def set_session_cookie(handler: RequestHandler, session: str) -> None:
    """Give a browser its cookie, which no script can read and no other site can use."""
    is_secure = handler.request.protocol == "https"
    days = _SESSION_S // 86_400
    handler.set_cookie(COOKIE, session, httponly=True, samesite="Strict", secure=is_secure, expires_days=days)


def is_same_origin(request: HTTPServerRequest) -> bool:
    """Whether a browser's request changes nothing, or comes from one of our own pages."""
    if request.method in _SAFE_METHODS:
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc == request.host


class Tickets:
    """Valid one-time tickets, by their digests: whoever reads this memory finds no ticket."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def issue(self) -> str:
        """Make a ticket; beyond twenty unused ones the oldest becomes invalid."""
        ticket = secrets.token_urlsafe(32)
        self._ends[_digest(ticket)] = time.monotonic() + TICKET_LIFE_S
        while len(self._ends) > _MAX_TICKETS:
            del self._ends[next(iter(self._ends))]
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Whether a ticket is valid; from now on it is not."""
        return self._ends.pop(_digest(ticket), 0.0) > time.monotonic()


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()

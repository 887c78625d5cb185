"""Who may come in: whoever shows the token, in a header or, in a browser, in a cookie that was given for it.

A worker with an identity of its own shows a token of its own, which opens files and nothing else.
"""

import hashlib
import hmac
import logging
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
# Wrong tokens within this time, from anywhere, before the door stays shut for as long.
_MOST_WRONG, _WRONG_S = 10, 60.0
_MOST_ADDRESSES = 1000
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_FOR_WORKERS = "/blob/"


class Auth:
    """Checks every request, before any handler sees it."""

    def __init__(self, token: str, is_identity: Callable[[str], bool]) -> None:
        self._token = token
        self._is_identity = is_identity
        self._wrong: deque[float] = deque(maxlen=_MOST_WRONG)
        self._wrong_from: dict[str, deque[float]] = {}

    def admits(self, request: HTTPServerRequest) -> bool:
        """Whether a request shows the token or a cookie that stands for it."""
        header = request.headers.get("Authorization", "")
        if header:
            kind, _, shown = header.partition(" ")
            return kind.lower() == "bearer" and (
                self._is_token(shown.strip()) or self._is_worker(request, shown.strip())
            )
        cookie = request.cookies.get(COOKIE)
        return cookie is not None and self._is_session(cookie.value) and is_from_here(request)

    def is_shut(self, request: HTTPServerRequest) -> bool:
        """Note a wrong token; whether there were too many from its address within a minute.

        Only what is wrong is answered so. The right token goes through: whoever shares an address with a guesser, as
        all do that come through a tunnel, is not shut out, and 256 bits are not guessed.
        """
        if "Authorization" not in request.headers:
            return False
        now, address = time.monotonic(), request.remote_ip or ""
        if len(self._wrong_from) >= _MOST_ADDRESSES:
            self._wrong_from.clear()
        wrong = self._wrong_from.setdefault(address, deque(maxlen=_MOST_WRONG))
        is_shut = _are_too_many(wrong, now)
        if not is_shut:
            wrong.append(now)
            if len(wrong) == _MOST_WRONG:
                logger.warning("%d wrong tokens came from %s", _MOST_WRONG, address)
        return is_shut

    def log_in(self, shown: str) -> str | None:
        """Exchange the token for the value of a cookie; None where it is wrong.

        Raises
        ------
        PermissionError
            Too many wrong tokens came within a minute.
        """
        now = time.monotonic()
        if _are_too_many(self._wrong, now):
            raise PermissionError
        if not self._is_token(shown):
            self._wrong.append(now)
            return None
        return self.session()

    def session(self) -> str:
        """The value of a cookie that stands for the token."""
        ends = str(int(time.time()) + _SESSION_S)
        return f"{ends}.{self._sign(ends)}"

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())

    def _is_worker(self, request: HTTPServerRequest, shown: str) -> bool:
        """Whether a worker asks for a file and shows what a known identity was given."""
        name = shown.partition(".")[0]
        is_right = hmac.compare_digest(shown.encode(), worker_token(self._token, name).encode())
        return is_right and request.path.startswith(_FOR_WORKERS) and self._is_identity(name)

    def _is_session(self, cookie: str) -> bool:
        ends, _, signature = cookie.partition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._sign(ends).encode())
        return is_ours and ends.isdecimal() and int(ends) > time.time()

    def _sign(self, ends: str) -> str:
        """A new token makes all cookies worthless, because they are signed with it."""
        return hmac.new(self._token.encode(), b"session" + ends.encode(), hashlib.sha256).hexdigest()


def _are_too_many(wrong: deque[float], now: float) -> bool:
    return len(wrong) == _MOST_WRONG and now - wrong[0] < _WRONG_S


def keep(handler: RequestHandler, session: str) -> None:
    """Let a browser keep its cookie, which no script can read and no other site can use."""
    is_secure = handler.request.protocol == "https"
    days = _SESSION_S // 86_400
    handler.set_cookie(COOKIE, session, httponly=True, samesite="Strict", secure=is_secure, expires_days=days)


def is_from_here(request: HTTPServerRequest) -> bool:
    """Whether a browser's request that changes something comes from a page of ours."""
    if request.method in _HARMLESS:
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc == request.host

"""The few calls of DigitalOcean's HTTP API that Hive needs: asked politely, with errors that say what to do."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hive.errors import CloudError, SettingError, UnreachableError, missing_library
from hive.settings import Settings

_ATTEMPTS, _PAUSE_S, _LONGEST_PAUSE_S = 5, 0.5, 8.0
_PER_PAGE = 200


class Api:
    """The API with the token of this Hive.

    Raises
    ------
    ServiceError
        httpx is not installed here.
    UnreachableError
        There is no token.
    SettingError
        Others can read the token's file, or it would travel unprotected.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            import httpx  # noqa: PLC0415  of an extra, and slow to import
        except ModuleNotFoundError as error:
            raise missing_library("digitalocean", error) from error
        head = {"Authorization": f"Bearer {_token(settings)}"}
        self._broken = httpx.TransportError
        self._http = httpx.Client(base_url=_safe(settings.do_url), headers=head, timeout=httpx.Timeout(20, connect=5))

    def pages(self, path: str, of: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """Everything of a list, page by page."""
        page = 1
        while True:
            found = self.ask("GET", path, parameters={**parameters, "page": page, "per_page": _PER_PAGE})
            yield from found[of]
            if not found.get("links", {}).get("pages", {}).get("next"):
                return
            page += 1

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        parameters: dict[str, Any] | None = None,
        allowed: Sequence[int] = (),
        before_again: Callable[[], dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Ask, and ask again after errors 5xx, time-outs and "slow down".

        Raises
        ------
        UnreachableError
            DigitalOcean refuses the token, or does not answer.
        CloudError
            It could not do that.
        """
        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
                if before_again and (found := before_again()):
                    return found
            try:
                answer = self._http.request(method, path, json=body, params=parameters)
            except self._broken as error:
                why = str(error) or type(error).__name__
                continue
            if answer.status_code < 500 and answer.status_code != 429:
                return _read(answer, f"{method} {path}", allowed)
            why = f"it answered {answer.status_code}"
        raise UnreachableError(f"DigitalOcean does not answer to {method} {path}, {_ATTEMPTS} times: {why}.")


def private_text(file: Path) -> str:
    """What a file of a secret holds.

    Raises
    ------
    SettingError
        It is not there, or others can read it.
    """
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingError(f"Others can read {file}, which holds a token. Run: chmod 600 {file}.")
            return opened.read().strip()
    except OSError as error:
        raise SettingError(f"{file} holds a token and cannot be read: {error.strerror}.") from error


def _read(answer: Any, what: str, allowed: Sequence[int]) -> dict[str, Any]:  # noqa: ANN401  of httpx, an extra
    if answer.is_success or answer.status_code in allowed:
        return dict(answer.json()) if answer.content and answer.is_success else {}
    try:
        words = str(answer.json().get("message", "")).rstrip(".")
    except ValueError:
        words = ""
    if answer.status_code == 401:
        raise UnreachableError("DigitalOcean refuses the token. Correct DIGITALOCEAN_TOKEN or HIVE_DO_TOKEN_FILE.")
    if answer.status_code == 403:
        raise UnreachableError(f"This token of DigitalOcean may not {what}: {words}.")
    if "limit" in words.lower():
        raise CloudError(
            f"This account may not have that many droplets: {words}. Ask for less with --count, or for a higher limit."
        )
    if answer.status_code == 422:
        raise CloudError(f"DigitalOcean cannot do that: {words}. Try another --region or --size, or later.")
    raise CloudError(f"DigitalOcean answered {answer.status_code} to {what}: {words}.")


def _token(settings: Settings) -> str:
    """The token from the environment or a file that nobody else can read; it is never shown."""
    token = os.environ.get("DIGITALOCEAN_TOKEN", "").strip()
    file = settings.do_token_file
    if token:
        return token
    if not file.exists():
        raise UnreachableError(f"There is no token of DigitalOcean. Set DIGITALOCEAN_TOKEN, or write it to {file}.")
    return private_text(file)


def _safe(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise SettingError(f"HIVE_DO_URL is {url}: the token would travel unprotected. Name an https:// address.")
    return url

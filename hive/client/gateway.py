"""Asking the gateway over HTTP: whether it is there, and small things of it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import urllib3

from hive.errors import UnreachableError
from hive.settings import Settings, start_command

_TIMEOUT_S = 5.0
# Streams of the gateway give a sign of life every 15 s.
_SILENCE_S = 60.0
_REFUSES = "refuses the token"


def ask(settings: Settings, method: str, path: str) -> dict[str, Any]:
    """Ask the gateway of this Hive; returns the JSON object that it answers.

    Raises
    ------
    UnreachableError
        It does not answer, or refuses the token.
    """
    name = f"The gateway at {settings.gateway_url}"
    try:
        answer = _request(settings, method, path)
        document: dict[str, Any] = json.loads(answer.data)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise UnreachableError(
            f"{name} does not answer. Start it: {start_command(settings.home)}. Or name another: HIVE_GATEWAY_URL."
        ) from error
    if answer.status == HTTPStatus.UNAUTHORIZED:
        origin = settings.origins["token"]
        raise UnreachableError(f"{name} {_REFUSES} from {origin}. Correct it there, or name another: HIVE_TOKEN.")
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise UnreachableError(
            f"{name} answers {answer.status} to {path}; it may be older than this Hive: hive restart."
        )
    return document


def state(settings: Settings) -> str:
    """Whether the gateway answers: `up`, `refuses the token` or `down`."""
    try:
        status = _request(settings, "GET", "/healthcheck").status
    except urllib3.exceptions.HTTPError:
        return "down"
    return {200: "up", 401: _REFUSES}.get(status, "down")


@contextmanager
def call(
    settings: Settings, method: str, path: str, body: bytes | None = None, *, is_json: bool = True
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Call the gateway of this Hive; the body of its response is read by the caller, as it comes.

    Raises
    ------
    UnreachableError
        It does not answer, or stops to answer.
    """
    headers = (
        {"Content-Type": "application/json" if is_json else "application/octet-stream"} if body is not None else {}
    )
    try:
        response = _request(settings, method, path, body, headers, is_streamed=True)
        try:
            yield response
        finally:
            response.close()
    except urllib3.exceptions.HTTPError as error:
        raise UnreachableError(
            f"The gateway at {settings.gateway_url} does not answer. Start it: {start_command(settings.home)}. "
            "Or name another: HIVE_GATEWAY_URL."
        ) from error


def _request(
    settings: Settings,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    is_streamed: bool = False,
) -> urllib3.BaseHTTPResponse:
    pool = urllib3.PoolManager(ca_certs=str(settings.ca_file) if settings.ca_file else None)
    return pool.request(
        method,
        settings.gateway_url + path,
        body=body,
        headers={"Authorization": f"Bearer {settings.token}", **headers},
        timeout=urllib3.Timeout(connect=_TIMEOUT_S, read=_SILENCE_S if is_streamed else _TIMEOUT_S),
        preload_content=not is_streamed,
        retries=False,
        redirect=False,
    )

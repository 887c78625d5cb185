"""Asking the gateway over HTTP: whether it is there, and small things of it."""

import json
from http import HTTPStatus
from typing import Any

import urllib3

from hive.errors import UnreachableError
from hive.settings import Settings, start_command

_TIMEOUT_S = 5.0
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


def _request(settings: Settings, method: str, path: str) -> urllib3.BaseHTTPResponse:
    pool = urllib3.PoolManager(ca_certs=str(settings.ca_file) if settings.ca_file else None)
    return pool.request(
        method,
        settings.gateway_url + path,
        headers={"Authorization": f"Bearer {settings.token}"},
        timeout=_TIMEOUT_S,
        retries=False,
        redirect=False,
    )

"""The connection to Redis, and its errors in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from hive.errors import SettingError, UnreachableError
from hive.settings import Settings, start_command
from hive.store import keys

# Workers outlast a Redis that is away: 0.1 s, 0.2 s … 5 s between tries, about five minutes in all.
_PATIENT = Retry(ExponentialBackoff(cap=5.0, base=0.1), 70)
_PROMPT = Retry(ExponentialBackoff(cap=0.5, base=0.1), 2)


def connect(settings: Settings, *, patient: bool = False) -> redis.Redis:
    """Open a connection that answers in text; a patient one waits for a Redis that is away.

    Raises
    ------
    SettingError
        The broker's URL cannot be read.
    """
    try:
        return redis.Redis.from_url(
            settings.broker_url,
            decode_responses=True,
            socket_timeout=10.0,
            socket_connect_timeout=5.0,
            socket_keepalive=True,
            health_check_interval=30,
            retry=_PATIENT if patient else _PROMPT,
            **encryption(settings),
        )
    except ValueError as error:
        raise SettingError(f"HIVE_BROKER_URL cannot be used ({settings.origins['broker_url']}): {error}.") from error


def encryption(settings: Settings) -> dict[str, Any]:
    """What a connection over TLS needs, in redis-py's words and kombu's; empty for one in plain text."""
    if not settings.broker_url.startswith("rediss:"):
        return {}
    files = {"ssl_ca_certs": settings.ca_file, "ssl_certfile": settings.cert_file, "ssl_keyfile": settings.key_file}
    given = {name: str(file) for name, file in files.items() if file is not None}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **given}


def held_keys(settings: Settings) -> dict[str, str]:
    """Where kombu keeps what was delivered and is not acknowledged yet, by its options; each user has a place apart."""
    user = urlsplit(settings.broker_url).username
    places = keys.unacked_all(user) if user else ("unacked", "unacked_index", "unacked_mutex")
    return dict(zip(("unacked_key", "unacked_index_key", "unacked_mutex_key"), places, strict=True))


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Turn what redis-py or kombu raise about the connection into one sentence.

    Raises
    ------
    UnreachableError
        The broker does not answer, or refuses the password or the command.
    """
    try:
        yield
    except redis.AuthenticationError as error:
        raise UnreachableError(f"{_name(settings)} refuses access: {_why_refused(settings)}") from error
    except redis.exceptions.NoPermissionError as error:
        raise UnreachableError(f"{_name(settings)} refuses access: {str(error).rstrip('.')}.") from error
    except redis.ResponseError as error:
        if not str(error).startswith(("WRONGPASS", "NOAUTH")):
            raise
        raise UnreachableError(f"{_name(settings)} refuses access: {_why_refused(settings)}") from error
    except redis.BusyLoadingError as error:
        raise UnreachableError(f"{_name(settings)} is still loading its data; try again in a moment.") from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise UnreachableError(
            f"{_name(settings)} does not answer. Start it: {start_command(settings.home)}. "
            "Or name another: HIVE_BROKER_URL."
        ) from error


def _name(settings: Settings) -> str:
    """The broker's address without its password."""
    return f"The broker at {public_address(settings.broker_url)}"


def public_address(url: str) -> str:
    """An address without user and password, fit to be shown.

    >>> public_address("redis://:secret@127.0.0.1:6379/0")
    '127.0.0.1:6379'
    """
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def _why_refused(settings: Settings) -> str:
    """What is wrong with the password, in our own words: Redis answers in those of its protocol."""
    parts = urlsplit(settings.broker_url)
    if parts.password is None:
        address = f"{parts.scheme}://:PASSWORD@{public_address(settings.broker_url)}{parts.path}"
        return f"it asks for a password. Name it with its address: HIVE_BROKER_URL={address}."
    return (
        f"the password from {settings.origins['broker_url']} is wrong. "
        "Correct it there, or name another broker: HIVE_BROKER_URL."
    )

"""The users of this Hive's Redis: what users.conf says, with the passwords and the queues of this home."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from hive.settings import ROLES, Settings, role_password, secret, write_private
from hive.wire.record import read_record

_FILE = Path(__file__).with_name("users.conf")
_WORKER, _EVERY_QUEUE, _TEST_QUEUE = "worker", "*", "test"
_STEP = r"\x06"


@dataclass(frozen=True)
class User:
    """One user of Redis: its name, and the words of its rights as a configuration has them."""

    name: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """The user's line in redis.conf."""
        return " ".join(("user", self.name, *self.words))

    def apply(self, client: redis.Redis) -> None:
        """Give a running Redis this user, or change the one that it has."""
        plain = [word.strip('"').encode().decode("unicode_escape") for word in self.words]
        client.execute_command("ACL", "SETUSER", self.name, *plain)  # type: ignore[no-untyped-call]  # redis-py


@dataclass(frozen=True)
class Identity:
    """A worker that may serve some queues only: its name, these queues, and the digest of its password."""

    name: str
    queues: tuple[str, ...]
    password_sha256: str


def users(settings: Settings) -> list[User]:
    """All users."""
    digests = {role: _sha256(secret(role_password(settings.home, role))) for role in ROLES}
    by_role = [User(name, tuple(_filled(words, (_EVERY_QUEUE,), digests))) for name, words in _templates(_WORKER)]
    return [*by_role, *map(worker_user, identities(settings))]


def worker_user(identity: Identity) -> User:
    """The user of a worker that serves some queues only; the queue of checks is everybody's."""
    template = dict(_templates(identity.name))[identity.name]
    queues = (*identity.queues, _TEST_QUEUE)
    return User(identity.name, tuple(_filled(template, queues, {_WORKER: identity.password_sha256})))


def identities(settings: Settings) -> list[Identity]:
    """The workers with an identity of their own, by name."""
    files = sorted(_folder(settings).glob("*.identity"))
    return [read_record(Identity, file.read_bytes(), str(file)) for file in files]


def identity_file(settings: Settings, name: str) -> Path:
    """Where an identity is kept."""
    return _folder(settings) / f"{name}.identity"


def is_identity(settings: Settings, name: str) -> bool:
    """Whether a worker of that name may come in."""
    return name == _WORKER or (name.replace("-", "").isalnum() and identity_file(settings, name).exists())


def keep_identity(settings: Settings, name: str, queues: Sequence[str], password: str) -> Identity:
    """Keep an identity for all later starts of Redis."""
    identity = Identity(name, tuple(queues), _sha256(password))
    write_private(identity_file(settings, name), json.dumps(dataclasses.asdict(identity)))
    return identity


def _folder(settings: Settings) -> Path:
    return settings.home / "access"


def _templates(worker: str) -> Iterator[tuple[str, list[str]]]:
    """Names and words of all users in users.conf; the worker's has the name that is given."""
    lines = [line for line in _FILE.read_text().splitlines() if not line.startswith("#")]
    for definition in " ".join(lines).replace("{user}", worker).split("user ")[1:]:
        name, *words = definition.split()
        yield name, words


def _filled(words: Sequence[str], queues: Sequence[str], digests: dict[str, str]) -> Iterator[str]:
    for word in words:
        if word.startswith("{") and word[1:-1] in digests:
            yield f"#{digests[word[1:-1]]}"
        elif "{queue}" not in word:
            yield word
        elif not (_STEP in word and _EVERY_QUEUE in queues):  # Redis refuses a pattern that another one contains
            yield from (word.replace("{queue}", queue) for queue in queues)


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()

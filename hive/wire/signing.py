"""Signed jobs: whoever submits a job signs its message, and workers run nothing else.

Whoever may submit has a key (Ed25519) that workers trust by name. A worker signs the parts that it plans; its key is
vouched for by a key that is trusted, and good for parts of its own capabilities only.

Many jobs take one signature: that of the root of a tree of digests (Merkle), and each job says by which digests one
comes from it to the root. Signing each of 10,000 jobs alone took as long as all the rest of sending them.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hive.errors import SettingError
from hive.settings import write_private

if TYPE_CHECKING:  # 15 ms that most commands need not pay
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EVERY_CAPABILITY = "*"
_DIGEST_BYTES = 32
# A batch of 2^32 jobs would be a little large.
_DEEPEST = 32


def statement(job_id: str, task: str, message: Mapping[str, Any] | str) -> bytes:
    """What is signed: the job's id, its task and its message, as canonical text.

    Whoever signs many jobs gives the message as `canonical` writes it, once for all of them.

    >>> statement("a1", "gis.dtm", {"outputs": {}, "inputs": {}})
    b'a1 gis.dtm {"inputs":{},"outputs":{}}'
    """
    return f"{job_id} {task} {message if isinstance(message, str) else canonical(message)}".encode()


def canonical(message: Mapping[str, Any]) -> str:
    """Write JSON in the one way that both sides agree on."""
    return json.dumps(message, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Signer:
    """Signs with the key that a file holds."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @cached_property
    def _content(self) -> dict[str, str]:
        """The file's content; made on first use, readable by its owner only."""
        if not self._file.exists():
            write_private(self._file, json.dumps({"private": secrets.token_hex(32)}))
        try:
            content: dict[str, str] = json.loads(self._file.read_text())
        except (OSError, ValueError) as error:
            raise SettingError(f"{self._file} should hold a key to sign with, and cannot be read: {error}.") from error
        return content

    @cached_property
    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  as above

        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self._content["private"]))

    @cached_property
    def public(self) -> str:
        """The key that others check with."""
        return _text(self._key.public_key().public_bytes_raw())

    @cached_property
    def _behind(self) -> str:
        return ".".join(("", self.public, *filter(None, [self._content.get("certificate")])))

    def sign(self, signed: bytes) -> str:
        """Sign a statement; the signature names the key, and who vouches for it."""
        return self.sign_all([signed])[0]

    def sign_all(self, statements: Sequence[bytes]) -> list[str]:
        """Sign many statements at the price of one; each signature is good alone."""
        levels = [[_leaf(each) for each in statements]]
        while len(levels[-1]) > 1:
            below = levels[-1]
            pairs = [_node(*pair) for pair in zip(below[::2], below[1::2], strict=False)]
            levels.append(pairs + below[2 * len(pairs) :])
        signed = _text(self._key.sign(_rooted(levels[-1][0]))) if statements else ""
        return [f"{signed}.{_text(_way_up(levels, number))}{self._behind}" for number in range(len(statements))]

    def make_worker_key(self, file: Path, capabilities: Sequence[str]) -> None:
        """Write the key of a worker, which this one vouches for."""
        own = Signer(file)
        _ = own._content
        allowed = _text(json.dumps(list(capabilities)).encode())
        vouched = _text(self._key.sign(_vouched(own.public, allowed)))
        write_private(file, json.dumps({"private": own._content["private"], "certificate": f"{allowed}.{vouched}"}))


@dataclass(frozen=True)
class Trust:
    """Whose jobs a worker runs: the public keys in a file, by name."""

    file: Path

    @cached_property
    def _keys(self) -> "dict[str, Ed25519PublicKey]":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415  as above

        try:
            named: dict[str, str] = json.loads(self.file.read_text())
            return {key: Ed25519PublicKey.from_public_bytes(_bytes(key)) for key in named.values()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise SettingError(f"{self.file} should hold the keys that are trusted: {error}.") from error

    def refusal(self, job_id: object, task: str, message: Mapping[str, Any], signature: object) -> str:
        """Why a message is not to be believed; empty where it is."""
        if not isinstance(job_id, str) or not isinstance(signature, str) or not signature:
            return "it is not signed"
        try:
            signed, way, key, *vouched = signature.split(".")
            root = _root(statement(job_id, task, message), _bytes(way))
            if key in self._keys:
                self._keys[key].verify(_bytes(signed), root)
                return ""
            return self._refuses_worker(root, signed, key, vouched, task, message)
        except (ValueError, TypeError, _invalid()):
            return "its signature is wrong"

    def _refuses_worker(
        self, root: bytes, signed: str, key: str, vouched: Sequence[str], task: str, message: Mapping[str, Any]
    ) -> str:
        """As `refusal`, for a message that a worker has signed."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415  as above

        if len(vouched) != 2 or not any(
            _is_right(trusted, vouched[1], _vouched(key, vouched[0])) for trusted in self._keys.values()
        ):
            return f"it is signed with a key that is not in {self.file}"
        Ed25519PublicKey.from_public_bytes(_bytes(key)).verify(_bytes(signed), root)
        allowed = json.loads(_bytes(vouched[0]))
        if not message.get("parent") or not {EVERY_CAPABILITY, task.partition(".")[0]} & set(allowed):
            return "a worker has signed it, and workers may ask for parts of their own capabilities only"
        return ""


def _is_right(key: "Ed25519PublicKey", signature: str, text: bytes) -> bool:
    try:
        key.verify(_bytes(signature), text)
    except _invalid():
        return False
    return True


def _invalid() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  as above

    return InvalidSignature


def _leaf(text: bytes) -> bytes:
    return hashlib.sha256(b"\0" + text).digest()


def _node(left: bytes, right: bytes) -> bytes:
    """Digest of a pair; its order does not count, so that the way up need not say it."""
    return hashlib.sha256(b"\1" + min(left, right) + max(left, right)).digest()


def _way_up(levels: Sequence[Sequence[bytes]], number: int) -> bytes:
    """The digests beside the way from a leaf to the root."""
    way = []
    for level in levels[:-1]:
        if (beside := number ^ 1) < len(level):
            way.append(level[beside])
        number >>= 1
    return b"".join(way)


def _root(text: bytes, way: bytes) -> bytes:
    """What was signed if the statement is one of those."""
    if len(way) % _DIGEST_BYTES or len(way) > _DEEPEST * _DIGEST_BYTES:
        raise ValueError("it is no way through a tree")
    digest = _leaf(text)
    for start in range(0, len(way), _DIGEST_BYTES):
        digest = _node(digest, way[start : start + _DIGEST_BYTES])
    return _rooted(digest)


def _rooted(digest: bytes) -> bytes:
    return b"jobs " + digest


def _vouched(key: str, allowed: str) -> bytes:
    return f"worker {key} {allowed}".encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

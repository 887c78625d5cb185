"""A store of files by content in a folder or a bucket: `file:///…`, `s3://…`, `gs://…`, `az://…`."""

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, from_url

from hive.errors import SettingError, StagingError, UnreachableError
from hive.staging.contents import NOBODY, Content, checked
from hive.staging.partial import PATIENT_S, Partial, Patience
from hive.staging.reference import Reference

logger = logging.getLogger(__name__)
T = TypeVar("T")
_PART_BYTES = 8 << 20
_AT_ONCE = 8
# The library itself repeats single requests for so long before it gives one up.
_RETRY_S = 30.0
_REFUSED = (PermissionDeniedError, UnauthenticatedError)


class ObjectBlobs:
    """Files by their digest. What is stored under a digest never changes.

    These stores show an object when its last part is there, and the last part is held back until the digest is known
    to be right. So a file is never seen half-written, and two that store the same content at once write the same bytes.
    """

    def __init__(self, url: str, area: str = "sha256", *, is_patient: bool = False) -> None:
        """Open the store, or an area of it that is managed apart from the rest; a patient one outlasts an outage.

        Raises
        ------
        SettingError
            The URL is of a kind that Hive does not know, or lacks what the store needs.
        UnreachableError
            The store's folder cannot be made.
        """
        self.url = url
        self._area = area
        self._is_patient = is_patient
        self._store = _open(url)
        self._is_local = isinstance(self._store, LocalStore)

    def area(self, name: str) -> "ObjectBlobs":
        """An area of the same store whose files come and go with their owner."""
        return ObjectBlobs(self.url, name, is_patient=self._is_patient)

    def _path(self, digest: str) -> str:
        return f"{self._area}/{digest[:2]}/{digest}"

    def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is fine."""
        with contextlib.suppress(BaseError, OSError):
            obstore.delete(self._store, self._path(digest))

    def size(self, digest: str) -> int | None:
        """Size of a stored file [bytes]; None where there is none."""

        def ask() -> int | None:
            try:
                return int(obstore.head(self._store, self._path(digest))["size"])
            except FileNotFoundError:
                return None

        return self._try(ask)

    def has(self, digest: str) -> bool:
        """Whether a file of that content is there."""
        return self.size(digest) is not None

    def missing(self, digests: Collection[str]) -> set[str]:
        """Which of these are not there."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            are_there = list(pool.map(self.has, digests))
        return {digest for digest, is_there in zip(digests, are_there, strict=True) if not is_there}

    def put(self, content: Content, reference: Reference, advance: Callable[[int], None] = NOBODY) -> None:
        """Store what has been hashed before; nothing of it is seen until all of it is there.

        Raises
        ------
        StagingError
            It changed since it was hashed, or the store has no room.
        UnreachableError
            The store does not answer, or refuses access.
        """

        def send() -> None:
            sent = 0

            def count(size: int) -> None:
                nonlocal sent
                sent += size
                advance(size)

            try:
                obstore.put(
                    self._store,
                    self._path(reference.digest),
                    checked(content, reference.digest, count),
                    use_multipart=True,
                    chunk_size=_PART_BYTES,
                )
            except BaseException:
                advance(-sent)
                raise

        try:
            self._try(send)
        except FileNotFoundError as error:
            raise StagingError(f"There is no bucket at {self.url}. Make it, or correct HIVE_STORE.") from error
        except OSError as error:
            raise StagingError(f"{content.name} could not be stored at {self.url}: {_words(error)}.") from error

    def fetch(self, reference: Reference, path: Path, advance: Callable[[int], None] = NOBODY) -> None:
        """Write a stored file to `path`; it appears there only when it is whole and its digest is right.

        Raises
        ------
        StagingError
            The file is not in the store, or its SHA-256 does not match.
        UnreachableError
            The store does not answer, or refuses access.
        OSError
            The file cannot be written here.
        """
        size = self.size(reference.digest)
        if size is None:
            raise StagingError(f"{reference} is not in the store {self.url}. Submit the job again.")
        with Partial(path, reference.digest, advance) as partial:
            if partial.size > size:
                partial.restart()
            self._try(lambda: self._continue(reference, partial, size))
            if not partial.finish():
                self.delete(reference.digest)
                raise StagingError(
                    f"{reference.name} was damaged in the store {self.url}: its digest was wrong. It is removed there; "
                    "submit the job again, which sends it anew."
                )

    def _continue(self, reference: Reference, partial: Partial, size: int) -> None:
        if partial.size < size:
            whole = obstore.get(self._store, self._path(reference.digest), options={"range": {"offset": partial.size}})
            for part in whole.stream(_PART_BYTES):
                partial.write(bytes(part))

    def _try(self, step: Callable[[], T]) -> T:
        """Do a step; a patient store does it again where the network was at fault."""
        patience = Patience(PATIENT_S if self._is_patient and not self._is_local else 0.0)
        while True:
            try:
                return step()
            except _REFUSED as error:
                raise UnreachableError(f"The store {self.url} refuses access: {_words(error)}.") from error
            except GenericError as error:
                if self._is_local:
                    raise StagingError(f"The store {self.url} failed: {_words(error)}.") from error
                if not patience.wait():
                    raise UnreachableError(f"The store {self.url} does not answer: {_words(error)}.") from error
                logger.warning("the store %s does not answer; it is tried again: %s", self.url, _words(error))
            except BaseError as error:
                raise StagingError(f"The store {self.url} failed: {_words(error)}.") from error


def read_object(url: str, path: str) -> Iterator[bytes]:
    """Read one object of any store, in blocks.

    Raises
    ------
    StagingError
        It is not there, or does not come.
    """
    try:
        for part in obstore.get(_open(url), path).stream(_PART_BYTES):
            yield bytes(part)
    except (BaseError, OSError) as error:
        raise StagingError(f"{url}/{path} could not be fetched: {_words(error)}.") from error


def _open(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return _open_folder(url, Path(unquote(parts.path)))
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    try:
        return from_url(
            url,
            client_options={
                "allow_http": endpoint.startswith("http://"),  # its owner has named it so
                "connect_timeout": timedelta(seconds=5),
                "read_timeout": timedelta(seconds=60),
                "timeout": timedelta(days=1),  # of a whole file, however large
            },
            retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=_RETRY_S)},
        )
    except (BaseError, ValueError) as error:
        raise SettingError(f"HIVE_STORE cannot be {url!r}: {_words(error)}.") from error


def _open_folder(url: str, folder: Path) -> LocalStore:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UnreachableError(f"The store {url} cannot be made: {error.strerror}.") from error
    return LocalStore(folder)


def _words(error: BaseException) -> str:
    """What the library says, without the structure that it prints behind."""
    return str(error).partition("\n")[0].rstrip(".")

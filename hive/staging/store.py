"""The store of files by content, behind one URL: `file:///…` on one machine."""

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore

from hive.errors import SettingError, StagingError, UnreachableError
from hive.staging.reference import Reference
from hive.task import replaced_atomically

_PART_BYTES = 8 << 20
_NOBODY: Callable[[int], None] = lambda _: None  # noqa: E731  a default for callers without progress bar


class BlobStore:
    """Files by their digest. What is stored under a digest never changes."""

    def __init__(self, url: str, area: str = "sha256") -> None:
        """Open the store, or an area of it that is managed apart from the rest.

        Raises
        ------
        SettingError
            The URL is of a kind that Hive does not know.
        UnreachableError
            The store's folder cannot be made.
        """
        self.url = url
        self._area = area
        parts = urlsplit(url)
        if parts.scheme != "file" or not parts.path:
            raise SettingError(f"HIVE_STORE cannot be {url!r}: write file:///folder.")
        folder = Path(unquote(parts.path))
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UnreachableError(f"The store {url} cannot be made: {error.strerror}.") from error
        self._store = LocalStore(folder)

    def area(self, name: str) -> "BlobStore":
        """An area of the same store whose files come and go with their owner."""
        return BlobStore(self.url, name)

    def _path(self, digest: str) -> str:
        return f"{self._area}/{digest[:2]}/{digest}"

    def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is fine."""
        self._discard(self._path(digest))

    def has(self, digest: str) -> bool:
        """Whether a file of that content is there."""
        try:
            obstore.head(self._store, self._path(digest))
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise self._unreachable(error) from error
        return True

    def put(self, path: Path, reference: Reference, advance: Callable[[int], None] = _NOBODY) -> None:
        """Store a file that has been hashed before; nothing of it is seen until all of it is there.

        Raises
        ------
        StagingError
            The file changed since it was hashed, or the store has no room.
        """
        incoming = f"incoming/{reference.digest}-{secrets.token_hex(4)}"
        try:
            if self._upload(path, incoming, advance) != reference.digest:
                raise StagingError(f"{path} changed while it was sent. Send it again when it is finished.")
            obstore.rename(self._store, incoming, self._path(reference.digest), overwrite=False)
        except AlreadyExistsError:
            self._discard(incoming)  # somebody else has stored the same content meanwhile
        except (BaseError, OSError) as error:
            self._discard(incoming)
            raise StagingError(f"{path} could not be stored at {self.url}: {error}.") from error
        except StagingError:
            self._discard(incoming)
            raise

    def _upload(self, path: Path, incoming: str, advance: Callable[[int], None]) -> str:
        """Write the file under a passing name; returns the digest of what was written."""
        digest = hashlib.sha256()
        with path.open("rb") as file, obstore.open_writer(self._store, incoming, buffer_size=_PART_BYTES) as writer:
            while block := file.read(_PART_BYTES):
                digest.update(block)
                writer.write(block)
                advance(len(block))
        return digest.hexdigest()

    def _discard(self, incoming: str) -> None:
        with contextlib.suppress(BaseError, OSError):
            obstore.delete(self._store, incoming)

    def fetch(self, reference: Reference, path: Path, advance: Callable[[int], None] = _NOBODY) -> None:
        """Write a stored file to `path`; it appears there only when it is whole and its digest is right.

        Raises
        ------
        StagingError
            The file is not in the store, or what came is not what was asked for.
        """
        digest = hashlib.sha256()
        with replaced_atomically(path) as unfinished:
            try:
                with unfinished.open("xb") as file:
                    for part in obstore.get(self._store, self._path(reference.digest)).stream(_PART_BYTES):
                        file.write(part)
                        digest.update(part)
                        advance(len(part))
            except (NotFoundError, FileNotFoundError) as error:
                raise StagingError(f"{reference} is not in the store {self.url}. Submit the job again.") from error
            except (BaseError, OSError) as error:
                raise StagingError(f"{reference.name} could not be fetched to {path.parent}: {error}.") from error
            if digest.hexdigest() != reference.digest:
                raise StagingError(f"{reference.name} is damaged in the store {self.url}: its digest is wrong.")

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(f"The store {self.url} does not answer: {error}.")

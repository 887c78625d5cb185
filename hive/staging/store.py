"""The store of files by content, behind one URL: HIVE_STORE."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol, Self

from hive.settings import Settings
from hive.staging.contents import NOBODY, Content
from hive.staging.reference import Reference


class BlobStore(Protocol):
    """Files by their digest. What is stored under a digest never changes."""

    url: str

    def area(self, name: str) -> Self:
        """An area of the same store whose files come and go with their owner."""

    def has(self, digest: str) -> bool:
        """Whether a file of that content is there."""

    def missing(self, digests: Collection[str]) -> set[str]:
        """Which of these are not there."""

    def size(self, digest: str) -> int | None:
        """Size of a stored file [bytes]; None where there is none."""

    def put(self, content: Content, reference: Reference, advance: Callable[[int], None] = NOBODY) -> None:
        """Store what has been hashed before; nothing of it is seen until all of it is there."""

    def fetch(self, reference: Reference, path: Path, advance: Callable[[int], None] = NOBODY) -> None:
        """Write a stored file to `path`; it appears there only when it is whole and its digest is right."""

    def delete(self, digest: str) -> None:
        """Remove a file; one that is not there is fine."""


def open_store(settings: Settings, *, is_patient: bool = False) -> BlobStore:
    """Open the store of a Hive; a patient one outlasts a store that is away.

    Raises
    ------
    SettingError
        HIVE_STORE names a store that cannot be used.
    UnreachableError
        Its folder cannot be made.
    """
    if settings.store.startswith(("http://", "https://")):
        from hive.staging.gateway import GatewayBlobs  # noqa: PLC0415  60 ms that other stores need not pay

        return GatewayBlobs(settings.store, settings.token, is_patient=is_patient, ca_file=settings.ca_file)
    from hive.staging.objects import ObjectBlobs  # noqa: PLC0415  as above

    return ObjectBlobs(settings.store, is_patient=is_patient)

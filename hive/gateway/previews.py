"""`/task/ID/preview`: the small picture that a job has made to be looked at."""

from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from hive.client.shown import previews
from hive.errors import NotFoundError
from hive.gateway.answers import Answer
from hive.staging import BlobStore, Reference

_MOST_BYTES = 16 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


class Preview(Answer):
    """A PNG that the task declares as a preview; nothing else that a job has written is ever shown by a browser."""

    async def get(self, job_id: str, name: str | None = None) -> None:
        """Send the first preview of a job, or the one of that name."""
        job = await self.blocking(self.application.session.find, job_id)
        found = await self.blocking(previews, job)
        reference = found.get(name) if name else next(iter(found.values()), None)
        if reference is None:
            raise NotFoundError(f"The job {job.short_id} has no such preview. It has: {', '.join(found) or 'none'}.")
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{reference.digest}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        picture = await self.blocking(_read, self.application.pictures, reference)
        self.set_header("Content-Type", "image/png")
        self.finish(picture)


def _read(store: BlobStore, reference: Reference) -> bytes:
    """Read a picture from the store, and make sure that it is one."""
    size = store.size(reference.digest)
    if size is None:
        raise NotFoundError(f"{reference.name} is not in the store any more.")
    if size > _MOST_BYTES:
        raise NotFoundError(f"{reference.name} has {size / (1 << 20):.0f} MiB, which is no preview.")
    with TemporaryDirectory(prefix="hive-preview-") as folder:
        place = Path(folder) / "preview.png"
        store.fetch(reference, place)
        picture = place.read_bytes()
    if not picture.startswith(_PNG):
        raise NotFoundError(f"{reference.name} is not a PNG.")
    return picture

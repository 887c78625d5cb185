"""`/page/…`: what Hive's own pages are made of. The files are in the folder `page` and are served as they are."""

import hashlib
from functools import cache
from http import HTTPStatus
from pathlib import Path

from hive.errors import NotFoundError
from hive.gateway.answers import Answer

FOLDER = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def text_of(name: str) -> bytes:
    """The content of one of the files.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    if name not in {path.name for path in FOLDER.iterdir() if path.suffix in _TYPES}:
        raise NotFoundError(f"There is nothing at /page/{name[:100]}.")
    return (FOLDER / name).read_bytes()


class PageFile(Answer):
    """A stylesheet, a script, a picture."""

    def get(self, name: str) -> None:
        """Send it, where the browser has not got it already."""
        content = text_of(name)
        self.set_header("Content-Type", _TYPES[Path(name).suffix])
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Etag", f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        self.finish(content)

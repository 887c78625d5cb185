"""Files that are somewhere else already: the worker reads them from there itself, and nothing passes the laptop."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit

from hive.errors import BadParameterError, StagingError
from hive.staging.reference import safe_name

SCHEMES = ("https", "s3", "gs", "az")
_MOST_REDIRECTIONS = 5
_BLOCK_BYTES = 1 << 20
_REDIRECTED = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Remote:
    """A file by its URL: `https://…`, or in a bucket that the worker may read, `s3://…`, `gs://…`, `az://…`."""

    url: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises
        ------
        BadParameterError
            It is of a kind that workers do not read, or names no file.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc or parts.username or parts.password:
            kinds = ", ".join(f"{name}://" for name in SCHEMES)
            raise BadParameterError(f"{url!r} is no URL that workers read; it must begin with one of {kinds}")
        if not PurePosixPath(parts.path).name:
            raise BadParameterError(f"{url!r} names no file; write the whole URL of one.")
        safe_name(unquote(PurePosixPath(parts.path).name))
        return cls(url)

    @staticmethod
    def matches(text: str) -> bool:
        """Whether a text is meant as a URL and not as a path."""
        return "://" in text

    @property
    def name(self) -> str:
        """The file's name, as people call it."""
        return safe_name(unquote(PurePosixPath(urlsplit(self.url).path).name))

    def __str__(self) -> str:
        """Write the URL."""
        return self.url

    def fetch(self, folder: Path) -> Path:
        """Bring the file into a folder.

        Raises
        ------
        StagingError
            It is not there, or does not come.
        """
        place = folder / self.name
        try:
            with place.open("xb") as file:
                for block in _over_https(self.url) if self.url.startswith("https:") else _from_bucket(self.url):
                    file.write(block)
        except OSError as error:
            raise StagingError(f"{self.url} could not be fetched: {error.strerror or error}.") from error
        return place


def _over_https(url: str) -> Iterator[bytes]:
    """Read a file from a web server whose certificate is good; a redirection may not lead to one without."""
    import urllib3  # noqa: PLC0415  only where it is needed

    pool = urllib3.PoolManager(ssl_context=ssl.create_default_context(), timeout=urllib3.Timeout(connect=10, read=60))
    try:
        for _ in range(_MOST_REDIRECTIONS):
            answer = pool.request("GET", url, redirect=False, preload_content=False)
            if answer.status not in _REDIRECTED:
                break
            url = urljoin(url, answer.headers.get("Location", ""))
            if urlsplit(url).scheme != "https":
                raise StagingError(f"{url} is where it leads, and that is not https.")
        if answer.status != HTTPStatus.OK:
            raise StagingError(f"{url} could not be fetched: the server answered {answer.status}.")
        yield from answer.stream(_BLOCK_BYTES)
    except urllib3.exceptions.HTTPError as error:
        raise StagingError(f"{url} could not be fetched: {error}.") from error


def _from_bucket(url: str) -> Iterator[bytes]:
    from hive.staging.objects import read_object  # noqa: PLC0415  as above

    parts = urlsplit(url)
    yield from read_object(f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/"))

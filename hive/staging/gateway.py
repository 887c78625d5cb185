"""The store behind a gateway: `http://…/blob`, one file by its digest at `/blob/<sha256>`.

A file goes up in parts, each appended where the last one ended. Where the line is cut, the gateway keeps what it has
and tells how much that is: at most one part travels twice, also where another process goes on.
"""

import json
import logging
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from hive.errors import StagingError, UnreachableError
from hive.staging.contents import NOBODY, Content
from hive.staging.partial import PATIENT_S, PROMPT_S, STRANGER_S, Partial, Patience
from hive.staging.reference import Reference
from hive.staging.upload import OFFSET, Upload

logger = logging.getLogger(__name__)
_BLOCK_BYTES = 1 << 20
_DIGESTS_AT_ONCE = 1000
_TIMEOUT = urllib3.Timeout(connect=5, read=60)
_NO_ROOM = 507


class _FailingError(HTTPError):
    """The gateway answered that it cannot now."""


class GatewayBlobs:
    """Files by their digest, kept by a gateway; a patient one outlasts a gateway that is away for long."""

    def __init__(
        self, url: str, token: str, area: str = "sha256", *, is_patient: bool = False, ca_file: Path | None = None
    ) -> None:
        self.url = url
        self._token = token
        self._area = area
        self._is_patient = is_patient
        self._ca_file = ca_file
        self._has_answered = False
        parts = urlsplit(url)
        self._root = parts.path.rstrip("/")
        self._pool = urllib3.connection_from_url(
            f"{parts.scheme}://{parts.netloc}",
            maxsize=8,
            retries=False,
            timeout=_TIMEOUT,
            blocksize=_BLOCK_BYTES,
            **({"ssl_context": ssl.create_default_context(cafile=ca_file)} if parts.scheme == "https" else {}),
        )

    def area(self, name: str) -> "GatewayBlobs":
        """An area of the same store whose files come and go with their owner."""
        return GatewayBlobs(self.url, self._token, name, is_patient=self._is_patient, ca_file=self._ca_file)

    def delete(self, digest: str) -> None:
        """Remove a file from an area; one that is not there is fine."""
        self._ask("DELETE", self._path(digest))

    def size(self, digest: str) -> int | None:
        """Size of a stored file [bytes]; None where there is none."""
        answer = self._ask("HEAD", self._path(digest))
        return int(answer.headers["Content-Length"]) if answer.status == 200 else None

    def has(self, digest: str) -> bool:
        """Whether a file of that content is there."""
        return self.size(digest) is not None

    def missing(self, digests: Collection[str]) -> set[str]:
        """Which of these are not there; a thousand are asked for at once."""
        every, missing = list(digests), set[str]()
        for start in range(0, len(every), _DIGESTS_AT_ONCE):
            body = json.dumps({"digests": every[start : start + _DIGESTS_AT_ONCE]})
            answer = self._ask("POST", f"{self._root}/missing", body=body)
            missing |= set(answer.json()["missing"])
        return missing

    def put(self, content: Content, reference: Reference, advance: Callable[[int], None] = NOBODY) -> None:
        """Store what has been hashed before; nothing of it is seen until all of it is there.

        Raises
        ------
        StagingError
            It changed since it was hashed, or the gateway has no room.
        UnreachableError
            The gateway does not answer, or refuses access; what it has got is kept for the next try.
        """
        upload = Upload(content, reference, advance)
        self._look(upload)
        patience = self._patience()
        while not upload.is_stored:
            if upload.offset is None:
                self._look(upload)
                continue
            try:
                upload.take(self._send_part(upload))
                patience.renew()
            except HTTPError as error:
                self._wait(patience, error)
                upload.offset = None

    def _look(self, upload: Upload) -> None:
        """Ask how much of the file is there; somebody else who sends it now is left to it."""
        answer = self._ask("HEAD", f"{self._path(upload.reference.digest)}&size={upload.content.size}")
        if answer.status == 200:
            upload.finish()
            return
        upload.reach(int(answer.headers.get(OFFSET, 0)))
        if "Retry-After" in answer.headers:
            time.sleep(float(answer.headers["Retry-After"]))
            upload.offset = None

    def _send_part(self, upload: Upload) -> urllib3.BaseHTTPResponse:
        headers = self._headers(upload.part_headers())
        path = self._path(upload.reference.digest)
        return self._accepted(self._pool.request("PUT", path, body=upload.part(), headers=headers))

    def fetch(self, reference: Reference, path: Path, advance: Callable[[int], None] = NOBODY) -> None:
        """Write a stored file to `path`; it appears there only when it is whole and its digest is right.

        Raises
        ------
        StagingError
            The file is not in the store, or its SHA-256 does not match.
        UnreachableError
            The gateway does not answer, or refuses access; what has come is kept for the next try.
        OSError
            The file cannot be written here.
        """
        size = self.size(reference.digest)
        if size is None:
            raise StagingError(f"{reference} is not in the store {self.url}. Submit the job again.")
        patience = self._patience()
        with Partial(path, reference.digest, advance) as partial:
            if partial.size > size:
                partial.restart()
            while partial.size < size:
                try:
                    self._continue(reference, partial, patience)
                except HTTPError as error:
                    self._wait(patience, error)
            if not partial.finish():
                self._ask("DELETE", f"{self._path(reference.digest)}&if=damaged")
                raise StagingError(
                    f"{reference.name} does not match its SHA-256. Where it is damaged in the "
                    f"store {self.url}, it is removed there; submit the job again, which sends it anew."
                )

    def _continue(self, reference: Reference, partial: Partial, patience: Patience) -> None:
        answer = self._pool.request(
            "GET",
            self._path(reference.digest),
            headers=self._headers({"Range": f"bytes={partial.size}-"}),
            preload_content=False,
        )
        try:
            if self._accepted(answer).status == 404:
                raise StagingError(f"{reference} has gone from the store {self.url}. Submit the job again.")
            for block in answer.stream(_BLOCK_BYTES, decode_content=False):
                partial.write(block)
                patience.renew()
        finally:
            answer.release_conn() if answer.closed else answer.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> urllib3.BaseHTTPResponse:
        """Ask a small thing, as often as it takes."""
        patience = self._patience()
        headers = self._headers({"Content-Type": "application/json"} if body else {})
        while True:
            try:
                return self._accepted(self._pool.request(method, path, body=body, headers=headers))
            except HTTPError as error:
                self._wait(patience, error)

    def _accepted(self, answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        """Pass on an answer that is none of an error."""
        if answer.status in (401, 403):
            raise UnreachableError(
                f"The gateway at {self.url} refuses access: the token is missing or wrong. Set HIVE_TOKEN to "
                "what gateway.token holds, in HIVE_HOME where the gateway runs."
            )
        if answer.status == _NO_ROOM:
            raise StagingError(f"The disk of the gateway at {self.url} is full. Make room there, then try again.")
        if answer.status >= 500 or answer.status == 429:
            raise _FailingError(f"it answered {answer.status}")
        self._has_answered = True
        return answer

    def _patience(self) -> Patience:
        if self._is_patient:
            return Patience(PATIENT_S)
        return Patience(PROMPT_S if self._has_answered else STRANGER_S)

    def _wait(self, patience: Patience, error: HTTPError) -> None:
        if not patience.wait():
            raise UnreachableError(
                f"The gateway at {self.url} does not answer. Start it where it belongs: hive up. "
                "Files that were on their way go on from where they were."
            ) from error
        logger.warning("the gateway at %s does not answer; it is tried again: %s", self.url, error)

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", **more}

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest}?area={self._area}"

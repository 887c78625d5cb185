"""`/blob/<sha256>`: files by content, in and out, streamed."""

import asyncio
import errno
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeGuard, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from hive.gateway.context import Route
from hive.gateway.handler import Handler
from hive.gateway.incoming import Incoming
from hive.gateway.openapi import COUNT, DIGEST, array, content, query, refusals, response, responses, structure
from hive.staging.upload import OFFSET

_BLOCK_BYTES = 1 << 20
_AREA = re.compile(r"sha256|checkpoint/[0-9a-f]{1,64}")
_PART = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18})")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_ASKED = 10_000
# A body that is not wanted is read to its end where it is short, so that its sender hears the answer.
_DRAINED_BYTES = 32 << 20
# A body that comes more slowly than over a poor line is not waited for.
_PATIENCE_S, _SLOWEST_BYTES_PER_S = 60.0, 10_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


@stream_request_body
class Blob(Handler):
    """One file by its digest."""

    def initialize(self) -> None:
        """Begin with nothing."""
        self._area = ""
        self._answer: tuple[int, str, str] | None = None
        self._incoming: Incoming | None = None
        self._total = 0
        self._writing: asyncio.Future[None] | None = None

    async def prepare(self) -> None:
        """Look at the request's head before any of its body is read."""
        self._area = self.get_query_argument("area", "sha256")
        if not _AREA.fullmatch(self._area):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="area must be checkpoint and the id of a job")
        if self.request.method == "PUT":
            await self._begin()

    @property
    def _digest(self) -> str:
        return self.path_args[0]

    @property
    def _place(self) -> Path:
        return self.context.store.place(self._area, self._digest)

    async def _begin(self) -> None:
        """Decide whether the body is wanted, and where it goes."""
        length = self.request.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise HTTPError(HTTPStatus.LENGTH_REQUIRED, reason="Say Content-Length")
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(int(length))
        connection.set_body_timeout(_PATIENCE_S + int(length) / _SLOWEST_BYTES_PER_S)
        start = self._read_part(int(length))
        if self._place.exists():
            self._unwanted(HTTPStatus.OK, "", "")
        elif not self.context.store.has_room(int(length)):
            self._unwanted(HTTPStatus.INSUFFICIENT_STORAGE, "no-room", "The disk of the gateway is full.")
        elif start is None:
            await self._receive(self.context.store.incoming_alone())
        else:
            await self._continue(self.context.store.incoming(self._area, self._digest), start)
        if self._answer is not None and int(length) > _DRAINED_BYTES:
            self._conclude()

    def _read_part(self, length: int) -> int | None:
        """Where the part begins, and how large the whole is; None where the body is the whole."""
        text = self.request.headers.get("Content-Range")
        if text is None:
            self._total = length
            return None
        match = _PART.fullmatch(text)
        if match is None:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="Content-Range must be: bytes START-END/TOTAL")
        self._total = int(match[2])
        start = int(match[1]) if match[1] else self._total
        if start + length > self._total:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="the part ends behind the end of the file")
        return start

    async def _continue(self, incoming: Incoming, start: int) -> None:
        """Append to what is there, where nobody else does."""
        if incoming.is_busy:
            self.set_header("Retry-After", "1")
            self._unwanted(HTTPStatus.CONFLICT, "busy", "Somebody else sends this file now.")
            return
        await self._receive(incoming)
        if incoming.size != start:
            self._unwanted(HTTPStatus.CONFLICT, "offset", f"{incoming.size} bytes of this file are here; go on there.")

    async def _receive(self, incoming: Incoming) -> None:
        incoming.sender = self
        self._incoming = incoming
        if not incoming.is_open:
            await self.in_thread(incoming.open)

    def _unwanted(self, status: int, kind: str, message: str) -> None:
        """Decide on the answer now; what comes of the body is not kept."""
        self._answer = (status, kind, message)

    async def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body; while it is written, the next one is read."""
        await self._settle()
        incoming = self._incoming
        if self._answer is not None or incoming is None:
            return
        if incoming.sender is not self:
            self._unwanted(HTTPStatus.CONFLICT, "busy", "Somebody else has gone on with this file.")
            return
        self._writing = asyncio.get_running_loop().run_in_executor(None, incoming.append, chunk)

    async def _settle(self) -> None:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                await writing
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._unwanted(HTTPStatus.INSUFFICIENT_STORAGE, "no-room", "The disk of the gateway is full.")

    async def put(self, _: str) -> None:
        """Keep what came; the last part makes the file appear, if its digest is right."""
        await self._settle()
        incoming = self._incoming
        if self._answer is None and incoming is not None and incoming.size == self._total:
            await self._finish(incoming)
        self._conclude()

    async def _finish(self, incoming: Incoming) -> None:
        is_right = await self.in_thread(incoming.finish, self._digest, self._place)
        self.context.store.forget(incoming)
        if is_right:
            self._unwanted(HTTPStatus.CREATED, "", "")
        else:
            words = f"What came is not what was announced: its SHA-256 is not {self._digest}. Nothing is kept."
            self._unwanted(HTTPStatus.UNPROCESSABLE_ENTITY, "digest", words)

    def _conclude(self) -> None:
        """Answer a PUT."""
        if self._incoming is not None:
            self.set_header(OFFSET, str(self._incoming.size))
        status, kind, message = self._answer or (HTTPStatus.ACCEPTED, "", "")
        if kind:
            self.refuse(status, kind, message)
        else:
            self.send_json({"received": self._incoming.size if self._incoming else self._total}, status)

    def on_connection_close(self) -> None:
        """Let others go on with what a broken line has left."""
        self.on_finish()

    def on_finish(self) -> None:
        """Let go of the upload, when nothing of it is being written any more."""
        if self._writing is not None:
            self._writing.add_done_callback(self._written_last)
        else:
            self._let_go()

    def _written_last(self, writing: "asyncio.Future[None]") -> None:
        writing.exception()  # its sender has gone, so nobody hears of it
        self._let_go()

    def _let_go(self) -> None:
        if self._incoming is not None and self._incoming.sender is self:
            self.context.store.leave(self._incoming)

    async def head(self, _: str) -> None:
        """Say how large the file is; where it is not here, how much of it has come."""
        size = await self.in_thread(self._size)
        if size is not None:
            self._describe(size)
            self.finish()
            return
        store = self.context.store
        announced = self.get_query_argument("size", "0")
        received = await self.in_thread(store.received, self._area, self._digest)
        is_full = announced.isdecimal() and not store.has_room(max(int(announced[:18]) - received, 0))
        self.set_status(HTTPStatus.INSUFFICIENT_STORAGE if is_full else HTTPStatus.NOT_FOUND)
        self.set_header(OFFSET, str(received))
        if store.is_busy(self._area, self._digest):
            self.set_header("Retry-After", "1")
        self.finish()

    def _size(self) -> int | None:
        try:
            return self._place.stat().st_size
        except FileNotFoundError:
            return None

    def _describe(self, size: int) -> None:
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", "attachment")
        self.set_header("Content-Length", str(size))
        self.set_header("Etag", f'"{self._digest}"')
        self.set_header("Cache-Control", "private, max-age=31536000, immutable")

    async def get(self, _: str) -> None:
        """Give the file, or from a place on."""
        size = await self.in_thread(self._size)
        if size is None:
            self.refuse(HTTPStatus.NOT_FOUND, "not-found", f"sha256:{self._digest} is not here.")
            return
        start, end = self._range(size)
        if start >= end and size:
            self.set_header("Content-Range", f"bytes */{size}")
            self.refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "range", f"The file has {size} bytes.")
            return
        self._describe(end - start)
        if end - start < size:
            self.set_status(HTTPStatus.PARTIAL_CONTENT)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        await self._stream(start, end - start)

    def _range(self, size: int) -> tuple[int, int]:
        """The part that is asked for, [start, end); a range that is no range asks for everything (RFC 9110, 14.2)."""
        match = _RANGE.fullmatch(self.request.headers.get("Range", ""))
        if match is None:
            return 0, size
        return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size

    async def _stream(self, start: int, left: int) -> None:
        with await self.in_thread(self._place.open, "rb") as file:
            file.seek(start)
            try:
                while left and (block := await self.in_thread(file.read, min(left, _BLOCK_BYTES))):
                    self.write(block)
                    await self.flush()
                    left -= len(block)
            except StreamClosedError:
                return  # whoever read it has gone

    async def delete(self, _: str) -> None:
        """Remove a file of a checkpoint; of all others only one that is damaged."""
        if self.get_query_argument("if", "") == "damaged":
            await self.in_thread(self.context.store.remove_damaged, self._area, self._digest)
        elif self._area == "sha256":
            self.refuse(
                HTTPStatus.FORBIDDEN,
                "access",
                "Files of jobs are not removed from outside, only damaged ones: ?if=damaged.",
            )
            return
        else:
            await self.in_thread(self._place.unlink, True)
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()


class Missing(Handler):
    """Which of many files are not here."""

    async def post(self) -> None:
        """Look at all of them at once."""
        digests = self.json_body().get("digests")
        if not _are_digests(digests):
            raise HTTPError(
                HTTPStatus.BAD_REQUEST, reason=f"digests must be a list of up to {_MOST_ASKED} SHA-256 of 64 hex digits"
            )
        place = self.context.store.place
        missing = await self.in_thread(lambda: [digest for digest in digests if not place("sha256", digest).exists()])
        self.send_json({"missing": missing})


def _are_digests(value: object) -> TypeGuard[list[str]]:
    is_list = isinstance(value, list) and len(value) <= _MOST_ASKED
    return is_list and all(
        isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in cast(list[object], value)
    )


def _blob_api() -> Mapping[str, Any]:
    file = {"type": "string", "format": "binary"}
    binary = "application/octet-stream"
    whole = response("The file, or the requested range of it.", file, binary)
    received = structure(received=COUNT)
    stored = {
        "200": response("The file was here already.", received),
        "201": response("The file is complete.", received),
        "202": response("The part is here; send the next one.", received),
    }
    area = query(
        "area",
        "Files of a checkpoint are stored apart, under the id of their job.",
        {"type": "string", "pattern": "^(sha256|checkpoint/[0-9a-f]{1,64})$"},
    )
    return {
        "parameters": [area],
        "get": {"summary": "Download a file.", "responses": {"200": whole, "206": whole} | refusals(400, 404, 416)},
        "head": {
            "summary": "Size of a file; if it is incomplete, Upload-Offset says how much of it is here.",
            "responses": {code: {"description": "See the headers."} for code in ("200", "400", "401", "404", "507")},
        },
        "put": {
            "summary": "Upload a file, whole or, with Content-Range, in parts.",
            "requestBody": {"required": True} | content(file, binary),
            "responses": stored | refusals(400, 404, 409, 411, 422, 507),
        },
        "delete": {
            "summary": "Delete a file of a checkpoint, or a damaged file.",
            "parameters": [query("if", "Delete the file only if its content is damaged.", {"const": "damaged"})],
            "responses": {"204": {"description": "The file is not here any more."}} | refusals(400, 403, 404),
        },
    }


def _missing_api() -> Mapping[str, Any]:
    digests = array(DIGEST) | {"maxItems": _MOST_ASKED}
    return {
        "post": {
            "summary": "Which of many files are not in the store.",
            "requestBody": {"required": True} | content(structure(digests=digests)),
            "responses": responses(200, structure(missing=digests), 400, 413),
        }
    }


ROUTES = (
    Route("/blob/missing", Missing, _missing_api),
    Route("/blob/{sha256}", Blob, _blob_api, has_large_bodies=True),
)

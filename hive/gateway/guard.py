"""What protects the gateway whatever the handler: limits on connections and bodies, and headers of every response."""

from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, OutputTransform

from hive.gateway.handler import MAX_BODY_BYTES

# Whoever takes longer to send a head or a small body is disconnected.
_HEAD_S = _BODY_S = 30.0
_MAX_CONNECTIONS = 500
_CHUNK_BYTES = 1 << 18
# Of a large body so much is read at once, into one of two buffers that take turns.
_BLOCK_BYTES = 1 << 20
# Flower's pages have scripts and styles of their own, and none from elsewhere. Hive's own pages are stricter.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ONLY_ENCRYPTED = "max-age=31536000"


class SafeHeaders(OutputTransform):
    """Adds the headers that a response does not set itself."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._is_encrypted = request.protocol == "https"

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the headers."""
        for name, value in _HEADERS.items():
            if name not in headers:
                headers[name] = value
        if self._is_encrypted:
            headers["Strict-Transport-Security"] = _ONLY_ENCRYPTED
        if "Server" in headers:
            del headers["Server"]
        return status_code, headers, chunk


def is_too_large(request: HTTPServerRequest) -> bool:
    """Whether a request announces too long a body; one that announces nothing is cut off at the limit."""
    length = request.headers.get("Content-Length", "")
    return length.isascii() and length.isdecimal() and len(length) < 19 and int(length) > MAX_BODY_BYTES


def make_server(application: Application, **options: Any) -> HTTPServer:  # noqa: ANN401  tornado's own
    """A web server with limits."""
    return Server(
        application,
        chunk_size=_CHUNK_BYTES,
        max_body_size=MAX_BODY_BYTES,
        idle_connection_timeout=_HEAD_S,
        body_timeout=_BODY_S,
        **options,
    )


class Server(HTTPServer):
    """A web server that slow senders cannot fill up, and that reads large bodies in large blocks."""

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:  # noqa: ANN401  tornado's own
        """Begin with a request."""
        # Tornado copies each 64 KiB of a body three times on its way to the handler, and has no hook for another way.
        # Where a release of it reads bodies by another method, they are read as Tornado does.
        if (usual := getattr(request_conn, "_read_fixed_body", None)) is not None:
            request_conn._read_fixed_body = partial(_read_body, request_conn, usual)
        return super().start_request(server_conn, request_conn)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Accept a connection, unless there are too many."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            stream.close()
        else:
            super().handle_stream(stream, address)


async def _read_body(connection: Any, usual: Any, length: int, delegate: Any) -> None:  # noqa: ANN401
    """Read a body; what is delivered of a large one stays as it is until the next but one is delivered."""
    if length <= MAX_BODY_BYTES:
        await usual(length, delegate)
        return
    blocks = bytearray(_BLOCK_BYTES), bytearray(_BLOCK_BYTES)
    for start in range(0, length, _BLOCK_BYTES):
        block, other = blocks
        blocks = other, block
        del block[length - start :]
        await connection.stream.read_into(block)
        if (handling := delegate.data_received(block)) is not None:
            await handling

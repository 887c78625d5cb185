"""How far one file has come on its way to a gateway."""

from collections.abc import Callable, Iterator

from urllib3 import BaseHTTPResponse

from hive.errors import StagingError
from hive.staging.contents import Content, digest_of
from hive.staging.reference import Reference

PART_BYTES = 16 << 20
# What the gateway answers beside plain HTTP: how much of an unfinished upload it has.
OFFSET = "Upload-Offset"


class Upload:
    """One file on its way up; an `offset` of None says that the gateway must be asked how much it has."""

    def __init__(self, content: Content, reference: Reference, advance: Callable[[int], None]) -> None:
        self.content = content
        self.reference = reference
        self.offset: int | None = None
        self.is_stored = False
        self._advance = advance
        self._reported = 0
        self._blocks: Iterator[bytes] = iter(())
        self._rest = b""
        self._read_to = -1
        self._was_refused = False

    @property
    def _start(self) -> int:
        return self.offset or 0

    @property
    def _end(self) -> int:
        return max(self._start, min(self._start + PART_BYTES, self.content.size))

    def reach(self, offset: int) -> None:
        """Note how much is there."""
        self.offset = offset
        self._advance(offset - self._reported)
        self._reported = offset

    def finish(self) -> None:
        """Note that all is there."""
        self.reach(self.content.size)
        self.is_stored = True

    def part_headers(self) -> dict[str, str]:
        """What the next part says of itself."""
        headers = {"Content-Length": str(self._end - self._start), "Content-Type": "application/octet-stream"}
        if self.content.size:
            span = f"{self._start}-{self._end - 1}" if self._start < self._end else "*"
            headers["Content-Range"] = f"bytes {span}/{self.content.size}"
        return headers

    def part(self) -> Iterator[bytes]:
        """The bytes of the next part; reading goes on where the last part ended."""
        position, end = self._start, self._end
        if self._read_to != position:
            self._blocks, self._rest = self.content.read(position), b""
        self._read_to = -1  # until this part is through
        while position < end:
            block = self._rest or next(self._blocks, b"")
            if not block:
                raise StagingError(f"{self.content.name} changed while it was sent. Send it again when it is finished.")
            block, self._rest = block[: end - position], block[end - position :]
            position += len(block)
            yield block
        self._read_to = end

    def take(self, answer: BaseHTTPResponse) -> None:
        """Note what the gateway says of a part.

        Raises
        ------
        StagingError
            The whole does not have the digest that was announced, or the gateway does not accept the part.
        """
        if answer.status in (200, 201):
            self.finish()
        elif answer.status == 202:
            self.reach(self._end)
        elif answer.status == 409:  # somebody else sends the same
            self.offset = None
        elif answer.status == 422:
            self._check_own()
        else:
            raise StagingError(f"{self.content.name} is not accepted by the gateway: {answer.data.decode()[:500]}")

    def _check_own(self) -> None:
        """Find out whether it was this file that changed; where another sender's part was wrong, begin again once."""
        if self._was_refused or digest_of(self.content) != self.reference.digest:
            raise StagingError(f"{self.content.name} changed while it was sent. Send it again when it is finished.")
        self._was_refused = True
        self.reach(0)

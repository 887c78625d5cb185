"""A job's log in Redis: what its attempts logged and printed, line by line, with a bound, to be read and followed."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from hive.errors import NotFoundError
from hive.store import keys
from hive.store.scripts import load_script
from hive.task import Progress
from hive.wire.job import State, from_milliseconds, rfc3339

if TYPE_CHECKING:
    import redis

# Levels beside those of `logging`: raw text, and what Hive itself has to say about the log.
STDOUT, STDERR, REMARK = "STDOUT", "STDERR", "HIVE"
BEGINNING = "0"
_PAGE = 1000
# How often a follower looks whether the job has ended, and whether it is still wanted itself.
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class LogLine:
    """A line on its way into the log: its time [ms since 1970, UTC], level and text.

    A remark may stand for a number of lines that are left out.
    """

    ms: int
    level: str
    text: str
    left_out: int = 0


@dataclass(frozen=True)
class LogEntry:
    """A line of the log; `id` says where to go on reading."""

    id: str
    time: datetime
    level: str
    attempt: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` and the HTTP API show."""
        return {"time": rfc3339(self.time), "level": self.level, "attempt": self.attempt, "text": self.text}


class LogStore:
    """The logs of all jobs of one Hive; of each at most `most_lines` are kept."""

    def __init__(self, client: "redis.Redis", most_lines: int = 5000) -> None:
        self._redis = client
        self._most_lines = most_lines
        self._log = client.register_script(load_script("log"))

    def append(
        self,
        job_id: str,
        attempt: int,
        start: str,
        end: str,
        lines: Sequence[LogLine],
        progress: Progress | None = None,
    ) -> str | None:
        """Append what an attempt has written between two places of its spool, and keep its newest progress.

        Nothing is appended where the log does not end at `start`: somebody else has brought it further, or an answer
        was lost. Then this returns where it ends, otherwise None. So each line is kept once, whoever brings it, however
        often.
        """
        progress_json = json.dumps(vars(progress), default=float) if progress else ""
        words = [word for line in lines for word in (line.ms, line.level, _sendable(line.text), line.left_out)]
        args = [attempt, start, end, progress_json, self._most_lines, *words]
        return cast(str, self._log(keys=[keys.job(job_id)], args=args)) or None

    def read(self, job_id: str, after: str = BEGINNING, attempt: int | None = None) -> Iterator[LogEntry]:
        """Give what is kept now, in the order in which it came; with `attempt`, of that one only.

        `after` is the id of the last entry that is known already.
        """
        dropped = self._dropped(job_id) if after == BEGINNING else 0
        while page := cast(list[Any], self._redis.xrange(keys.log(job_id), f"({after}", "+", count=_PAGE)):
            entries = [_entry(*item) for item in page]
            if dropped:
                yield _remark(entries[0], dropped)
                dropped = 0
            yield from _of(entries, attempt)
            after = entries[-1].id

    def follow(
        self,
        job_id: str,
        after: str = BEGINNING,
        attempt: int | None = None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> Iterator[LogEntry]:
        """Give what is kept, then every new line as it comes, until the job has ended or `is_enough` says so.

        Raises
        ------
        NotFoundError
            There is no such job.
        redis.RedisError
            Redis is away; go on with `after`, the id of the last entry that came.
        """
        for entry in self.read(job_id, after):
            after = entry.id
            yield from _of([entry], attempt)
        while not is_enough():
            is_over = self._is_over(job_id)  # asked first: what comes before the end is read afterwards
            block = None if is_over else int(_LOOK_EVERY_S * 1000)
            answer = cast(list[Any], self._redis.xread({keys.log(job_id): after}, count=_PAGE, block=block))
            entries = [_entry(*item) for _, page in answer for item in page]
            if entries:
                yield from _of(entries, attempt)
                after = entries[-1].id
            elif is_over:
                return

    def _is_over(self, job_id: str) -> bool:
        state = cast(str | None, self._redis.hget(keys.job(job_id), "state"))
        if state is None:
            raise NotFoundError(f"There is no job {job_id!r}. List them: hive jobs.")
        return State(state).is_final

    def _dropped(self, job_id: str) -> int:
        return int(cast(str | None, self._redis.hget(keys.job(job_id), "log_dropped")) or 0)


def _of(entries: list[LogEntry], attempt: int | None) -> list[LogEntry]:
    return [entry for entry in entries if attempt is None or entry.attempt == attempt]


def _entry(entry_id: str, fields: dict[str, str]) -> LogEntry:
    time = from_milliseconds(fields["ms"]) or datetime.fromtimestamp(0, UTC)
    return LogEntry(entry_id, time, fields["level"], int(fields["attempt"]), fields["text"])


def _remark(first: LogEntry, dropped: int) -> LogEntry:
    """The entry that stands for those before the first one that is kept."""
    return LogEntry("0-0", first.time, REMARK, first.attempt, f"not kept: {counted(dropped)} before this")


def counted(lines: int) -> str:
    """Write a number of lines.

    >>> counted(1), counted(12_345)
    ('1 line', '12,345 lines')
    """
    return "1 line" if lines == 1 else f"{lines:,} lines"


def _sendable(text: str) -> str:
    """Text that UTF-8 can carry; a file name that is no text may bring halves of characters along."""
    return text.encode("utf-8", "replace").decode()

"""Who is there: workers report themselves, queues are counted."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hive.errors import UnreadableRecordError
from hive.store import keys
from hive.store.scripts import DAY_S, load_script
from hive.wire.job import from_milliseconds, rfc3339
from hive.wire.record import Unreadable, read_record, write_record
from hive.wire.report import WorkerReport

if TYPE_CHECKING:
    import redis

# A worker reports this often, and at once when it is busier or less busy than it said.
REPORT_EVERY_S = 10.0
# Where there are dozens, each reports so much less often that two reports come in a second, but not less than that.
_SELDOM_S, _REPORTS_PER_S = 30.0, 2.0
# One report may be lost before a worker counts as gone.
_GONE_AFTER = 2.5
GONE_AT_LAST_S = _GONE_AFTER * _SELDOM_S
_REMEMBERED_S = 86_400


@dataclass(frozen=True)
class QueueReport:
    """How long a queue is, how old its oldest job, and how many workers serve it."""

    name: str
    queued: int
    running: int
    oldest_s: float
    workers: int


class Registry:
    """Workers and queues of one Hive."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._report = client.register_script(load_script("report"))
        self._leave = client.register_script(load_script("leave"))
        self._unreadable = Unreadable()
        self._boot = client.register_script(load_script("boot"))

    def report(self, worker: WorkerReport, there_s: float = 0.0, every_s: float = REPORT_EVERY_S) -> float:
        """Keep a worker's report until it is overdue, and count the time [s] that it was there since its last one.

        Returns after how long [s] the report after the next is due.
        """
        workers = self._report(
            keys=[keys.worker(worker.name), keys.WORKERS],
            args=[
                write_record(worker),
                int(_GONE_AFTER * every_s * 1000),
                worker.name,
                _usd(worker.price_usd_per_h, there_s),
                GONE_AT_LAST_S,
            ],
        )
        return min(_SELDOM_S, max(REPORT_EVERY_S, cast(int, workers) / _REPORTS_PER_S))

    def leave(self, name: str, price_usd_per_h: float | None = None, there_s: float = 0.0) -> None:
        """Remove a worker that stops, and count its last time [s]."""
        self._leave(keys=[keys.worker(name), keys.WORKERS], args=[name, _usd(price_usd_per_h, there_s)])

    def boot(self, name: str, price_usd_per_h: float, since_s: float, took_s: float) -> None:
        """Count once what a machine cost before its worker was there: since a time [s since 1970], for so long [s]."""
        self._boot(args=[name, int(since_s // DAY_S), _usd(price_usd_per_h, took_s)])

    def workers(self) -> list[dict[str, Any]]:
        """List the workers that are there, as `hive workers --json` shows them, without those of unreadable reports."""
        reports = ((seen_s, self._read(name, text)) for name, seen_s, text in self._reports() if text is not None)
        return [_with_times(report, seen_s) for seen_s, report in reports if report is not None]

    def _read(self, name: str, text: str) -> WorkerReport | None:
        try:
            return read_record(WorkerReport, text, f"The report of worker {name}")
        except UnreadableRecordError as error:
            self._unreadable.warn(name, error)
            return None

    def silent(self) -> dict[str, float]:
        """Workers that ended without signing off, and when they were last heard of [s since 1970]; for a day."""
        return {name: seen_s for name, seen_s, report in self._reports() if report is None}

    def _reports(self) -> list[tuple[str, float, str | None]]:
        """Every worker that was heard of within a day: its name, when that was [s since 1970], and its report."""
        workers = cast(list[tuple[str, float]], self._redis.zrange(keys.WORKERS, 0, -1, withscores=True))
        if not workers:
            return []
        reports = cast(list[str | None], self._redis.mget([keys.worker(name) for name, _ in workers]))
        if workers[0][1] < time.time() - _REMEMBERED_S:
            self._redis.zremrangebyscore(keys.WORKERS, "-inf", time.time() - _REMEMBERED_S)
        return [(*worker, report) for worker, report in zip(workers, reports, strict=True)]

    def serving(self, queue: str) -> int:
        """How many workers serve a queue."""
        return sum(queue in worker["capabilities"] for worker in self.workers())

    def ahead(self, queue: str, job_id: str) -> int:
        """How many jobs of a queue wait for longer than this one; priorities are not looked at."""
        return cast(int | None, self._redis.zrank(keys.waiting(queue), job_id)) or 0

    def queues(self, workers: list[dict[str, Any]] | None = None) -> list[QueueReport]:
        """Count every queue that has ever had a job or has a worker; whoever knows the workers already names them."""
        workers = self.workers() if workers is None else workers
        served = [queue for worker in workers for queue in worker["capabilities"]]
        names = sorted(cast(set[str], self._redis.smembers(keys.QUEUES)) | set(served))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        for name in names:
            pipeline.zcard(keys.waiting(name))
            pipeline.zcard(keys.running(name))
            pipeline.zrange(keys.waiting(name), 0, 0, withscores=True)
        (seconds, micros), *counts = pipeline.execute()
        now_ms = seconds * 1000 + micros / 1000
        return [
            QueueReport(
                name=name,
                queued=counts[3 * number],
                running=counts[3 * number + 1],
                oldest_s=round(max(0.0, now_ms - oldest[0][1]) / 1000, 1)
                if (oldest := counts[3 * number + 2])
                else 0.0,
                workers=served.count(name),
            )
            for number, name in enumerate(names)
        ]


def _usd(price_usd_per_h: float | None, time_s: float) -> str:
    """What a time costs; nothing where nobody knows, or where there is nothing to count."""
    return f"{price_usd_per_h * time_s / 3600:.12f}" if price_usd_per_h and time_s else ""


def _with_times(report: WorkerReport, seen_s: float) -> dict[str, Any]:
    """A report as it is shown: when it came by Redis' clock, and how far ahead of that the worker's own clock is."""
    skew_s = round((report.clock_s or seen_s) - seen_s, 3)
    times = {"last_seen": rfc3339(from_milliseconds(seen_s * 1000)), "clock_skew_s": skew_s}
    return report.to_json() | times

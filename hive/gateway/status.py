"""Workers, queues and the whole over HTTP, and the same for Prometheus.

What an answer costs grows with the number of queues, workers and tasks, not with that of jobs.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from hive.client import Session
from hive.gateway.answers import Handler
from hive.home import overview
from hive.home.overview import meters
from hive.home.tunnels import states, with_tunnels
from hive.store import read_totals
from hive.store.connection import reachable


class Workers(Handler):
    """All workers."""

    async def get(self) -> None:
        """List them as `hive workers --json` does."""
        self.say(await self.blocking(_workers, self.application.session))


class Queue(Handler):
    """All queues."""

    async def get(self) -> None:
        """Count them as `hive queues --json` does."""
        self.say(await self.blocking(_queues, self.application.session))


class Status(Handler):
    """The whole of this Hive."""

    async def get(self) -> None:
        """Show it as `hive status --json` does."""
        self.say(await self.blocking(overview, self.application.session, os.getpid()))


def _workers(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return with_tunnels(session.registry.workers(), states(session.settings))


def _queues(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return [vars(one) for one in session.registry.queues()]


class Metrics(Handler):
    """All metrics."""

    async def get(self) -> None:
        """Write them."""
        text = await self.blocking(_written, self.application.session)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(text)


def _written(session: Session) -> bytes:
    registry = CollectorRegistry()
    with reachable(session.settings):
        there = session.registry.workers()
        found = (_metrics_queues(session, there), _metrics_workers(session, there), _jobs(session), _processes(session))
        registry.register(_Found(metric for kind in found for metric in kind))
    return generate_latest(registry)


class _Found(Collector):
    """What was found for one answer."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterable[Metric]:
        """Give it."""
        return self._found


def _metrics_queues(session: Session, there: list[dict[str, Any]]) -> Iterator[Metric]:
    jobs = Gauge("hive_queue_jobs", "Jobs that wait or run.", labels=["queue", "state"])
    oldest = Gauge("hive_queue_oldest_seconds", "How long the oldest waiting job has waited.", labels=["queue"])
    workers = Gauge("hive_queue_workers", "Workers that serve the queue.", labels=["queue"])
    for one in session.registry.queues(there):
        jobs.add_metric([one.name, "queued"], one.queued)
        jobs.add_metric([one.name, "running"], one.running)
        oldest.add_metric([one.name], one.oldest_s)
        workers.add_metric([one.name], one.workers)
    yield from (jobs, oldest, workers)


# Of each worker: what a metric is called, what it says, the field of its report, and the factor to its unit.
_OF_WORKERS = (
    ("hive_worker_slots", "Jobs that it can run at once.", "slots", 1.0),
    ("hive_worker_busy_slots", "Jobs that it runs.", "busy", 1.0),
    ("hive_worker_cpu_cores", "CPU that it and its jobs use.", "cpu_percent", 0.01),
    ("hive_worker_memory_bytes", "Resident memory of it and its jobs.", "memory_bytes", 1.0),
    ("hive_worker_clock_skew_seconds", "How far its clock is ahead of that of Redis.", "clock_skew_s", 1.0),
)


def _metrics_workers(session: Session, there: list[dict[str, Any]]) -> Iterator[Metric]:
    words = "1 where it reports, 0 for a day where it ended without signing off."
    is_up = Gauge("hive_worker_up", words, labels=["worker"])
    seen = Gauge("hive_worker_last_seen_timestamp_seconds", "When it last reported.", labels=["worker"])
    for one in there:
        is_up.add_metric([one["name"]], 1)
        seen.add_metric([one["name"]], datetime.fromisoformat(one["last_seen"]).timestamp())
    for name, last_s in session.registry.silent().items():
        is_up.add_metric([name], 0)
        seen.add_metric([name], last_s)
    yield from (is_up, seen)
    for name, words, field, factor in _OF_WORKERS:
        gauge = Gauge(name, words, labels=["worker"])
        for one in there:
            gauge.add_metric([one["name"]], one.get(field, 0) * factor)
        yield gauge


def _jobs(session: Session) -> Iterator[Metric]:
    totals = read_totals(session.broker)
    ended = Counter("hive_jobs_finished", "Jobs that have ended; once more after a retry.", labels=["task", "state"])
    for (task, state), count in totals.ended.items():
        ended.add_metric([task, state], count)
    took = Histogram("hive_job_duration_seconds", "How long the last attempt of a job ran.", labels=["task"])
    for task, runs in totals.runs.items():
        took.add_metric([task], [("+Inf" if b == float("inf") else f"{b:g}", n) for b, n in runs.within], runs.total_s)
    cost = Counter("hive_job_cost_usd", "Cost of jobs whose cost is known.", labels=["task"])
    priced = Counter("hive_jobs_with_known_cost", "Jobs whose cost is known.", labels=["task"])
    for task, usd in totals.cost_usd.items():
        cost.add_metric([task], usd)
        priced.add_metric([task], totals.jobs_with_cost[task])
    yield from (ended, took, cost, priced)


def _processes(session: Session) -> Iterator[Metric]:
    """What the Mac side itself uses."""
    cpu = Counter("hive_process_cpu_seconds", "CPU time since the start of the process.", labels=["process"])
    memory = Gauge("hive_process_memory_bytes", "Resident memory of the process.", labels=["process"])
    for name, read in meters(session, os.getpid()).items():
        try:
            found = read()
        except psutil.Error:  # Redis has just been started again
            continue
        cpu.add_metric([name], found.cpu_s)
        memory.add_metric([name], found.memory_bytes)
    yield from (cpu, memory)

"""Workers, queues and the whole over HTTP, and the same for Prometheus.

The cost of a response grows with the number of queues, workers and tasks, not with that of jobs.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
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
from hive.gateway.context import Route
from hive.gateway.handler import Handler
from hive.gateway.openapi import TEXT, array, ref, refusals, response, responses
from hive.home import overview
from hive.home.overview import meters
from hive.home.tunnels import states, with_tunnels
from hive.store import read_totals
from hive.store.connection import reachable


class Workers(Handler):
    """All workers."""

    async def get(self) -> None:
        """List them as `hive workers --json` does."""
        self.send_json(await self.in_thread(_workers, self.context.session))


def _workers(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return with_tunnels(session.registry.workers(), states(session.settings))


def _workers_api() -> Mapping[str, Any]:
    return {"get": {"summary": "List the workers.", "responses": responses(200, array(ref("Worker")), 503)}}


class Queues(Handler):
    """All queues."""

    async def get(self) -> None:
        """Count them as `hive queues --json` does."""
        self.send_json(await self.in_thread(_queues, self.context.session))


def _queues(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return [vars(queue) for queue in session.registry.queues()]


def _queues_api() -> Mapping[str, Any]:
    return {"get": {"summary": "Count the jobs of each queue.", "responses": responses(200, array(ref("Queue")), 503)}}


class Status(Handler):
    """A Hive in a few numbers."""

    async def get(self) -> None:
        """Show it as `hive status --json` does."""
        self.send_json(await self.in_thread(overview, self.context.session, os.getpid()))


def _status_api() -> Mapping[str, Any]:
    return {"get": {"summary": "Show this Hive in a few numbers.", "responses": responses(200, ref("Status"), 503)}}


class Metrics(Handler):
    """All metrics, for Prometheus."""

    async def get(self) -> None:
        """Expose them."""
        text = await self.in_thread(_exposition, self.context.session)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(text)


def _metrics_api() -> Mapping[str, Any]:
    exposition = {"200": response("Success.", TEXT, "text/plain")}
    return {"get": {"summary": "Metrics for Prometheus.", "responses": exposition | refusals(503)}}


ROUTES = (
    Route("/workers", Workers, _workers_api),
    Route("/queue", Queues, _queues_api),
    Route("/status", Status, _status_api),
    Route("/metrics", Metrics, _metrics_api),
)


def _exposition(session: Session) -> bytes:
    registry = CollectorRegistry()
    with reachable(session.settings):
        workers = session.registry.workers()
        kinds = (
            _queue_metrics(session, workers),
            _worker_metrics(session, workers),
            _job_metrics(session),
            _process_metrics(session),
        )
        registry.register(_Snapshot(metric for kind in kinds for metric in kind))
    return generate_latest(registry)


class _Snapshot(Collector):
    """The metrics of one response."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def _queue_metrics(session: Session, workers: list[dict[str, Any]]) -> Iterator[Metric]:
    jobs = Gauge("hive_queue_jobs", "Queued and running jobs.", labels=["queue", "state"])
    oldest = Gauge("hive_queue_oldest_seconds", "How long the oldest queued job has been waiting.", labels=["queue"])
    serving = Gauge("hive_queue_workers", "Workers that serve the queue.", labels=["queue"])
    for queue in session.registry.queues(workers):
        jobs.add_metric([queue.name, "queued"], queue.queued)
        jobs.add_metric([queue.name, "running"], queue.running)
        oldest.add_metric([queue.name], queue.oldest_s)
        serving.add_metric([queue.name], queue.workers)
    yield from (jobs, oldest, serving)


# Of each worker: name and meaning of a metric, the field of the worker's report, and the factor to the metric's unit.
_OF_WORKERS = (
    ("hive_worker_slots", "Jobs that it can run at once.", "slots", 1.0),
    ("hive_worker_busy_slots", "Jobs that it runs.", "busy", 1.0),
    ("hive_worker_cpu_cores", "CPU that it and its jobs use.", "cpu_percent", 0.01),
    ("hive_worker_memory_bytes", "Resident memory of it and its jobs.", "memory_bytes", 1.0),
    ("hive_worker_clock_skew_seconds", "How far its clock is ahead of that of Redis.", "clock_skew_s", 1.0),
)


def _worker_metrics(session: Session, workers: list[dict[str, Any]]) -> Iterator[Metric]:
    words = "1 while it reports; 0 for a day after it ended without signing off."
    is_up = Gauge("hive_worker_up", words, labels=["worker"])
    seen = Gauge("hive_worker_last_seen_timestamp_seconds", "When it last reported.", labels=["worker"])
    for worker in workers:
        is_up.add_metric([worker["name"]], 1)
        seen.add_metric([worker["name"]], datetime.fromisoformat(worker["last_seen"]).timestamp())
    for name, last_s in session.registry.silent().items():
        is_up.add_metric([name], 0)
        seen.add_metric([name], last_s)
    yield from (is_up, seen)
    for name, words, field, factor in _OF_WORKERS:
        gauge = Gauge(name, words, labels=["worker"])
        for worker in workers:
            gauge.add_metric([worker["name"]], worker.get(field, 0) * factor)
        yield gauge


def _job_metrics(session: Session) -> Iterator[Metric]:
    totals = read_totals(session.broker)
    ended = Counter("hive_jobs_finished", "Finished jobs; counted again after a retry.", labels=["task", "state"])
    for (task, state), count in totals.ended.items():
        ended.add_metric([task, state], count)
    took = Histogram("hive_job_duration_seconds", "Duration of the last attempt of a job.", labels=["task"])
    for task, runs in totals.runs.items():
        took.add_metric([task], [("+Inf" if b == float("inf") else f"{b:g}", n) for b, n in runs.within], runs.total_s)
    cost = Counter("hive_job_cost_usd", "Cost of the jobs whose cost is known.", labels=["task"])
    priced = Counter("hive_jobs_with_known_cost", "Jobs whose cost is known.", labels=["task"])
    for task, usd in totals.cost_usd.items():
        cost.add_metric([task], usd)
        priced.add_metric([task], totals.jobs_with_cost[task])
    yield from (ended, took, cost, priced)


def _process_metrics(session: Session) -> Iterator[Metric]:
    """What the Mac side itself uses."""
    cpu = Counter("hive_process_cpu_seconds", "CPU time since the start of the process.", labels=["process"])
    memory = Gauge("hive_process_memory_bytes", "Resident memory of the process.", labels=["process"])
    for name, read in meters(session, os.getpid()).items():
        try:
            usage = read()
        except psutil.Error:  # Redis has just been restarted
            continue
        cpu.add_metric([name], usage.cpu_s)
        memory.add_metric([name], usage.memory_bytes)
    yield from (cpu, memory)

"""What a worker reports of itself: that it is there, its load, its GPUs, its tasks."""

import csv
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import psutil
import redis

from hive.celery_adapter.worker import RunningWorker
from hive.settings import Settings, host_name, load_settings
from hive.store import Registry
from hive.store.connection import connect
from hive.store.registry import REPORT_EVERY_S
from hive.versions import terms
from hive.wire.report import WorkerReport

logger = logging.getLogger(__name__)
_PROGRAM = "nvidia-smi"
_TIMEOUT_S = 20.0  # a driver that was not in use takes some seconds to come up
_MIB_PER_GIB = 1024


def gpu_names() -> tuple[str, ...]:
    """Name and memory of each GPU, such as `NVIDIA A10G, 22.5 GiB`; empty where there is none.

    CUDA_VISIBLE_DEVICES says which of them this worker may use; empty or -1 means none.
    """
    program = shutil.which(_PROGRAM)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if program is None or visible in ("", "-1"):
        return ()
    selection = [f"--id={visible}"] if visible else []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", *selection]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)  # noqa: S603  no shell
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s does not list the GPUs: %s", _PROGRAM, error)
        return ()
    return tuple(_gpu_name(row) for row in csv.reader(result.stdout.splitlines(), skipinitialspace=True) if row)


def _gpu_name(row: list[str]) -> str:
    """One GPU; its memory in GiB, where the program knows it [MiB].

    >>> _gpu_name(["NVIDIA A10G", "23028"]), _gpu_name(["NVIDIA GB10", "[N/A]"])
    ('NVIDIA A10G, 22.5 GiB', 'NVIDIA GB10')
    """
    name, memory = row[0].strip(), row[-1].strip()
    return f"{name}, {int(memory) / _MIB_PER_GIB:.1f} GiB" if memory.isdecimal() else name


_LOOK_EVERY_S = 2.0


class Presence:
    """Reports from a thread of its own: a solo pool blocks the worker's event loop while a task runs."""

    def __init__(self, worker: RunningWorker) -> None:
        self._worker = worker
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to report."""
        self._thread = threading.Thread(target=self._report_until_over, daemon=True, name="presence")
        self._thread.start()

    def stop(self) -> None:
        """Stop reporting and sign off."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=REPORT_EVERY_S)

    def _report_until_over(self) -> None:
        settings, worker = load_settings(), self._worker
        registry = Registry(connect(settings))
        meter, gpus, own_terms = _Meter(), gpu_names(), _terms(worker, settings)
        clock, idle = PresenceClock(registry, worker.name, settings), _Idle(worker)
        every_s = REPORT_EVERY_S
        while not self._over.is_set():
            running, pause_s = worker.jobs_running, every_s
            try:
                with clock.counted() as time_s:
                    report = describe(worker, meter, gpus, own_terms, settings.price_usd_per_h, idle.seconds())
                    every_s = registry.report(report, time_s, pause_s)
            except (redis.RedisError, OSError) as error:
                logger.warning("cannot report to Redis: %s", error)
            self._wait(running, pause_s)
        try:
            with clock.counted() as time_s:
                registry.leave(worker.name, settings.price_usd_per_h, time_s)
        except (redis.RedisError, OSError):
            logger.info("Redis is away; it will notice that this worker has gone")

    def _wait(self, running: int, pause_s: float) -> None:
        """Wait until the next report is due: after a pause, or when another number of jobs runs than was reported."""
        end = time.monotonic() + pause_s
        while not self._over.wait(_LOOK_EVERY_S) and time.monotonic() < end:
            if self._worker.jobs_running != running:
                return


class PresenceClock:
    """The time of this worker that is not counted yet: it began when its process did."""

    def __init__(self, registry: Registry, worker: str, settings: Settings) -> None:
        self._registry = registry
        self._worker = worker
        self._settings = settings
        self._started_s = psutil.Process().create_time()
        self._counted = time.monotonic() - max(0.0, time.time() - self._started_s)
        self._is_boot_counted = False

    @contextmanager
    def counted(self) -> Iterator[float]:
        """Give the time [s] since the last count; it counts on where the block fails."""
        now = time.monotonic()
        if not self._is_boot_counted:
            self._count_boot()
        yield now - self._counted
        self._counted = now

    def _count_boot(self) -> None:
        price, since = self._settings.price_usd_per_h, self._settings.paid_since
        if price and since is not None and since.timestamp() < self._started_s:
            self._registry.boot(self._worker, price, since.timestamp(), self._started_s - since.timestamp())
        self._is_boot_counted = True


def describe(
    worker: RunningWorker,
    meter: "_Meter",
    gpus: tuple[str, ...],
    own_terms: Mapping[str, Any],
    price_usd_per_h: float | None,
    idle_s: float | None = None,
) -> WorkerReport:
    """Describe a running worker."""
    cpu_percent, memory_bytes = meter.read()
    return WorkerReport(
        name=worker.name,
        host=host_name(),
        capabilities=tuple(sorted(worker.queues)),
        slots=worker.slots,
        busy=worker.jobs_running,
        cpu_percent=cpu_percent,
        memory_bytes=memory_bytes,
        gpus=gpus,
        price_usd_per_h=price_usd_per_h,
        pid=os.getpid(),
        version=version("hive-compute"),
        clock_s=time.time(),
        terms=own_terms,
        idle_s=idle_s,
    )


def _terms(worker: RunningWorker, settings: Settings) -> dict[str, Any]:
    """The terms of this worker; the tasks are those that Celery has registered, which it will run."""
    return terms(settings, worker.queues) | {
        "visibility_timeout_s": worker.visibility_timeout_s,
        "tasks": worker.task_names,
    }


class _Idle:
    """For how long this worker has had no job; one that came and went between two looks counts too."""

    def __init__(self, worker: RunningWorker) -> None:
        self._worker = worker
        self._received = 0
        self._since = time.monotonic()

    def seconds(self) -> float:
        received = self._worker.jobs_received
        if self._worker.jobs_running or received != self._received:
            self._received, self._since = received, time.monotonic()
        return round(time.monotonic() - self._since, 1)


class _Meter:
    """CPU and memory of this process and its children."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}

    def read(self) -> tuple[float, int]:
        """CPU since the last call [% of one core], and resident memory [bytes]."""
        own = psutil.Process()
        family = (own, *own.children(recursive=True))
        self._processes = {process.pid: self._processes.get(process.pid, process) for process in family}
        cpu_percent, memory_bytes = 0.0, 0
        for process in self._processes.values():
            try:
                with process.oneshot():
                    cpu_percent += process.cpu_percent()
                    memory_bytes += process.memory_info().rss
            except psutil.Error:
                continue  # it has ended since it was listed
        return round(cpu_percent, 1), memory_bytes

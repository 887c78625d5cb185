"""What a worker reports of itself: that it is there, its load, its GPUs."""

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
from celery import bootsteps
from celery.worker import state

from hive.settings import Settings, host_name, load_settings
from hive.store import Registry, WorkerReport
from hive.store.connection import connect
from hive.store.registry import REPORT_EVERY_S
from hive.versions import terms

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
    chosen = [f"--id={visible}"] if visible else []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", *chosen]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)  # noqa: S603  no shell
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s does not tell the GPUs: %s", _PROGRAM, error)
        return ()
    return tuple(_named(row) for row in csv.reader(ended.stdout.splitlines(), skipinitialspace=True) if row)


def _named(row: list[str]) -> str:
    """One GPU; its memory in GiB, where the program knows it [MiB].

    >>> _named(["NVIDIA A10G", "23028"]), _named(["NVIDIA GB10", "[N/A]"])
    ('NVIDIA A10G, 22.5 GiB', 'NVIDIA GB10')
    """
    name, memory = row[0].strip(), row[-1].strip()
    return f"{name}, {int(memory) / _MIB_PER_GIB:.1f} GiB" if memory.isdecimal() else name


_LOOK_EVERY_S = 2.0


class Presence(bootsteps.StartStopStep):
    """A step of the Celery worker, so that any `celery -A hive worker` has it.

    It reports from a thread of its own: a solo pool blocks the worker's event loop while a task runs.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:  # noqa: ANN401  celery's own signature
        super().__init__(parent, **options)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Begin to report."""
        self._thread = threading.Thread(target=self._report_until_over, args=(parent,), daemon=True, name="presence")
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ANN401
        """Stop reporting and sign off."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=REPORT_EVERY_S)

    terminate = stop

    def _report_until_over(self, parent: Any) -> None:  # noqa: ANN401
        settings = load_settings()
        registry = Registry(connect(settings))
        meter, gpus, agreed = _Meter(), gpu_names(), _terms(parent, settings)
        there, idle = There(registry, parent.hostname, settings), _Idle()
        every_s = REPORT_EVERY_S
        while not self._over.is_set():
            said, pause_s = len(state.active_requests), every_s
            try:
                with there.counted() as time_s:
                    own = describe(parent, meter, gpus, agreed, settings.price_usd_per_h, idle.seconds())
                    every_s = registry.report(own, time_s, pause_s)
            except (redis.RedisError, OSError) as error:
                logger.warning("cannot report to Redis: %s", error)
            self._wait(said, pause_s)
        try:
            with there.counted() as time_s:
                registry.leave(parent.hostname, settings.price_usd_per_h, time_s)
        except (redis.RedisError, OSError):
            logger.info("Redis is away; it will notice by itself that this worker has gone")

    def _wait(self, said: int, pause_s: float) -> None:
        """Wait until the next report is due: after a pause, or when another number of jobs runs than was said."""
        end = time.monotonic() + pause_s
        while not self._over.wait(_LOOK_EVERY_S) and time.monotonic() < end:
            if len(state.active_requests) != said:
                return


class There:
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
    parent: Any,  # noqa: ANN401
    meter: "_Meter",
    gpus: tuple[str, ...],
    agreed: Mapping[str, Any],
    price_usd_per_h: float | None,
    idle_s: float | None = None,
) -> WorkerReport:
    """Describe a running Celery worker."""
    cpu_percent, memory_bytes = meter.read()
    return WorkerReport(
        name=parent.hostname,
        host=host_name(),
        capabilities=tuple(sorted(queue for queue in parent.app.amqp.queues.consume_from)),
        slots=parent.concurrency,
        busy=len(state.active_requests),
        cpu_percent=cpu_percent,
        memory_bytes=memory_bytes,
        gpus=gpus,
        price_usd_per_h=price_usd_per_h,
        pid=os.getpid(),
        version=version("hive-compute"),
        clock_s=time.time(),
        terms=agreed,
        idle_s=idle_s,
    )


def _terms(parent: Any, settings: Settings) -> dict[str, Any]:  # noqa: ANN401
    """What holds here; Celery's own options are those in force, whatever file they came from."""
    options = parent.app.conf.broker_transport_options
    return terms(settings, parent.app.amqp.queues.consume_from) | {
        "visibility_timeout_s": options.get("visibility_timeout")
    }


class _Idle:
    """For how long this worker has had no job; one that came and went between two looks counts too."""

    def __init__(self) -> None:
        self._had = 0
        self._since = time.monotonic()

    def seconds(self) -> float:
        had = sum(state.total_count.values())
        if state.active_requests or had != self._had:
            self._had, self._since = had, time.monotonic()
        return round(time.monotonic() - self._since, 1)


class _Meter:
    """CPU and memory of this process and its children."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}

    def read(self) -> tuple[float, int]:
        """CPU since the last call [% of one core], and resident memory [bytes]."""
        own = psutil.Process()
        found = {one.pid: self._processes.get(one.pid, one) for one in (own, *own.children(recursive=True))}
        self._processes = found
        cpu_percent, memory_bytes = 0.0, 0
        for process in found.values():
            try:
                with process.oneshot():
                    cpu_percent += process.cpu_percent()
                    memory_bytes += process.memory_info().rss
            except psutil.Error:
                continue  # it has ended since it was listed
        return round(cpu_percent, 1), memory_bytes

"""What logs and progress cost a task: `python tools/bench_logs.py`. It needs a redis-server and starts no worker."""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_throughput import free_port

from hive.home import start, stop
from hive.settings import Settings, load_settings
from hive.store import JobStore
from hive.store.connection import connect
from hive.task import Attempt, progress
from hive.task.context import running
from hive.wire.job import Specification
from hive.worker.attempt import Reporter
from hive.worker.context import logs_of, scribe_of
from hive.worker.logs.capture import captured
from hive.worker.logs.spool import Spool

ATTEMPTS = 300
logger = logging.getLogger("workers.bench")
CALLS: dict[str, tuple[Callable[[int], object], int]] = {
    "progress()": (lambda number: progress(number, 1e6, "points", "counting"), 1_000_000),
    "logger.info()": (lambda number: logger.info("line %d", number), 50_000),
    "print()": (print, 100_000),
}


def attempt_ms(settings: Settings, say: Callable[[], object]) -> float:
    """Median time that catching and sending add to one attempt."""
    redis = connect(settings)
    JobStore(redis).create("one", Specification("test", "test.probe", "test", {}, {}, {}))
    scribe, times = scribe_of(settings, "bench", redis), []
    for number in range(ATTEMPTS):
        begin = time.perf_counter()
        with captured(Spool(logs_of(settings, "bench"), f"one.{number}"), "workers.bench", owns_process=True):
            say()
        scribe.finish(f"one.{number}")
        times.append(time.perf_counter() - begin)
    JobStore(redis).forget("one")
    return statistics.median(times) * 1e3


def call_us(settings: Settings, call: Callable[[int], object], count: int) -> float:
    """Mean time of the processor for one call inside a task."""
    spool = Spool(logs_of(settings, "bench"), "two.1")
    with captured(spool, "workers.bench", owns_process=True) as writer:
        attempt = Attempt(
            job="two",
            number=1,
            worker="",
            host="",
            worker_pid=0,
            trace_folder=None,
            stop_flag=Path(),
            report=Reporter(writer),
            checkpoints=None,  # type: ignore[arg-type]  not asked for
            cache_folder=Path(),
            allows_scripts=False,
        )
        with running(attempt):
            begin = time.process_time()
            for number in range(count):
                call(number)
            took = time.process_time() - begin
    spool.remove()
    return took / count * 1e6


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {"home": Path(folder), "redis_port": free_port()}
        start(load_settings(flags, {}))
        settings = load_settings(flags, {})
        shown = os.fdopen(os.dup(1), "w")
        try:
            silent, one = attempt_ms(settings, lambda: None), attempt_ms(settings, lambda: sys.stdout.write("x\n"))
            shown.write(
                f"an attempt that says nothing  {silent:5.2f} ms\nan attempt that prints a line {one:5.2f} ms\n"
            )
            for name, (call, count) in CALLS.items():
                shown.write(f"{name:<29} {call_us(settings, call, count):5.2f} µs of CPU\n")
        finally:
            stop(settings)
            shown.close()


if __name__ == "__main__":
    main()

"""Submitting 10 000 no-op jobs: `hive map` beside plain Celery's loop of apply_async, interleaved: `make bench`.

No worker is attached. Hive's side is all that `hive map test probe --count 10000` does until its jobs are sent: it
checks, looks into the ledger for an earlier run, writes ledger, records and messages. The peer is plain Celery at its
fastest: no result store, no events.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from celery import Celery
from hive_workers.test.probe import probe

from hive.client import Session
from hive.client.map import send_items
from hive.client.plan import Plan, make_items
from hive.home import start, stop
from hive.options import JobOptions
from hive.settings import Settings, load_settings
from hive.store.connection import connect
from tools.bench_throughput import free_port

JOBS = 10_000
ROUNDS = 3
WANTED = 5.0


def plain(settings: Settings) -> None:
    """Submit the peer's jobs."""
    application = Celery("plain", broker=settings.broker_url, set_as_current=False)
    application.conf.update(task_ignore_result=True, task_default_queue="bench")

    @application.task(name="plain.nothing")
    def nothing() -> None:
        pass

    for _ in range(JOBS):
        nothing.apply_async()
    application.close()


def hive_map(settings: Settings) -> None:
    """Submit Hive's jobs."""
    sent = send_items(
        Session(settings), make_items(Plan(probe, count=JOBS, options=JobOptions(queue="bench"))), again=True
    )
    assert len({one.id for one in sent}) == JOBS  # noqa: S101  a bench must not be fast by doing nothing


def rate(submit: Callable[[Settings], None], settings: Settings, admin: Settings) -> float:
    """Jobs per second, on a Redis that is empty at the start and has all of them at the end."""
    broker = connect(admin)
    broker.flushall()
    begin = time.perf_counter()
    submit(settings)
    seconds = time.perf_counter() - begin
    queued = sum(int(broker.llen(name)) for name in ("bench", "bench\x06\x163"))  # type: ignore[arg-type]
    if queued != JOBS:
        sys.exit(f"{queued} messages are in the queue instead of {JOBS}")
    return JOBS / seconds


def main() -> None:
    """Print the rates of each round, and the median of their ratios; exit code 1 where that is less than wanted."""
    with tempfile.TemporaryDirectory() as home:
        flags = {"home": Path(home), "redis_port": free_port()}
        start(load_settings(flags, {}))
        settings = load_settings(flags, {})
        admin = load_settings(
            flags | {"role": "admin"}, {}
        )  # empties Redis, and plain Celery's keys are no other user's
        try:
            ratios = []
            for number in range(ROUNDS):
                peer, own = rate(plain, admin, admin), rate(hive_map, settings, admin)
                ratios.append(own / peer)
                print(f"round {number + 1}: hive map {own:,.0f}/s, apply_async {peer:,.0f}/s, ratio {own / peer:.1f}")
        finally:
            stop(settings)
    median = statistics.median(ratios)
    print(f"median ratio {median:.1f} (wanted: {WANTED:g} or more)")
    sys.exit(median < WANTED)


if __name__ == "__main__":
    main()

"""The lease keeper: a thread of each worker that renews its leases and ends what must not go on.

A thread and not the worker's event loop: a solo pool blocks the loop while a task runs, and a warm shutdown stops it.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import redis

from hive.celery_adapter.worker import RunningWorker
from hive.settings import Settings, load_settings
from hive.store import JobStore, keys
from hive.store.connection import connect, held_keys
from hive.store.scripts import load_script
from hive.wire.job import State
from hive.worker.context import outbox_of, scribe_of, slots_of
from hive.worker.logs.scribe import EVERY_S, Scribe
from hive.worker.outbox import Outbox, Outcome
from hive.worker.slots import Slot
from hive.worker.sweeper import Sweeper

logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
_RENEWALS_PER_LEASE = 4
_SWEEPS_PER_LEASE = 5
_DEAF_LEASES = 3  # after one in which it was first seen so
# Celery looks after its pool every 5 s, and then knows the signal.
_LOOKS_AT_DEAD = 8


class LeaseKeeper:
    """The threads beside a worker's jobs: one renews leases and ends attempts, one carries logs, one sweeps."""

    def __init__(self, worker: RunningWorker) -> None:
        self._worker = worker
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to renew and to sweep."""
        settings, worker = load_settings(), self._worker
        scribe = scribe_of(settings, worker.name, connect(settings))
        sweeper = Sweeper(settings, worker.application, worker.name, worker.queues)
        monitor = WorkerMonitor(settings, worker, scribe, sweeper)
        monitor.take_over()
        worker.on_soft_shutdown(monitor.wait_for_tasks)
        self._run("keeper", monitor.look, _LOOK_EVERY_S)
        self._run("scribe", scribe.look, EVERY_S)
        self._run("sweeper", sweeper.sweep, settings.lease_s / _SWEEPS_PER_LEASE)

    def stop(self) -> None:
        """Stop; by now no task runs here any more."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=2 * _LOOK_EVERY_S)

    def _run(self, name: str, step: Callable[[], None], pause_s: float) -> None:
        def run() -> None:
            while not self._over.wait(pause_s):
                try:
                    step()
                except (redis.RedisError, OSError) as error:
                    logger.warning("%s: Redis is away: %s", name, error)
                except Exception:
                    logger.exception("%s: this is a bug in Hive; it goes on", name)

        thread = threading.Thread(target=run, daemon=True, name=name)
        thread.start()
        self._threads.append(thread)


class WorkerMonitor:
    """What the lease keeper does for its worker."""

    def __init__(self, settings: Settings, worker: RunningWorker, scribe: Scribe, sweeper: Sweeper) -> None:
        self._settings = settings
        self._worker = worker
        self._scribe = scribe
        self._sweeper = sweeper
        self._redis = connect(settings)
        self._renew = self._redis.register_script(load_script("renew"))
        self._index = held_keys(settings)["unacked_index_key"]
        self._store = JobStore(self._redis)
        self._slots = slots_of(settings, worker.name)
        self._outbox: Outbox = outbox_of(settings, self._store)
        self._peaks: dict[tuple[str, int], int] = {}
        self._dead: dict[Slot, int] = {}
        self._next_renewal = self._next_deaf_look = 0.0
        self._received = -1
        self._deaf_since: float | None = None
        self._idle_since: dict[str, float] = {}
        self._cancelled: Any = None

    def take_over(self) -> None:
        """Note that attempts which an earlier worker of this name left behind have died with it."""
        for slot in self._slots.all():
            if not slot.is_alive:
                with contextlib.suppress(redis.RedisError):
                    self._scribe.finish(slot.name)
                    self._store.lose(slot.job, slot.attempt, "its worker died")
                self._slots.clear(slot)
        self._slots.prepare()

    def look(self) -> None:
        """Do everything that is due: limits, cancellations, renewals, results that wait."""
        slots = self._slots.all()
        for slot in slots:
            self._check_limits(slot)
        self._note_dead(slots)
        if time.monotonic() >= self._next_renewal:
            if self._outbox.waiting() and self._scribe.look_now():  # a job's log comes before its end
                self._outbox.flush()
            self._next_renewal = time.monotonic() + self._settings.lease_s / _RENEWALS_PER_LEASE
            self._end_stale(slots)
        if time.monotonic() >= self._next_deaf_look:
            self._next_deaf_look = time.monotonic() + self._settings.lease_s
            self._end_where_deaf(slots)
        if (slots or self._cancelled is None) and {slot.job for slot in slots} & set(self._newly_cancelled()):
            self._end_stale(slots)  # a job that was retried meanwhile may have a wanted attempt too

    def _note_dead(self, slots: list[Slot]) -> None:
        """Note attempts whose process is gone; after some looks, because Celery mostly notes them, with the signal."""
        self._dead = {slot: self._dead.get(slot, 0) + 1 for slot in slots if not slot.is_alive}
        for slot in [slot for slot, looks in self._dead.items() if looks >= _LOOKS_AT_DEAD]:
            self._scribe.finish(slot.name)
            self._store.lose(slot.job, slot.attempt, "its process died")
            self._slots.clear(slot)

    def _renewed(self, slots: list[Slot]) -> list[str]:
        """Renew everything that this worker holds; returns the names of attempts whose work is for nobody."""
        waiting = self._outbox.waiting()
        held = {(slot.job, slot.attempt) for slot in slots} | {(outcome.job, outcome.attempt) for outcome in waiting}
        jobs = [[job, attempt, self._peaks.get((job, attempt), 0)] for job, attempt in held]
        self._peaks = {key: peak for key, peak in self._peaks.items() if key in held}
        tags = self._worker.delivery_tags() - self._never_started(slots)
        if not jobs and not tags:
            return []  # sweeps show that a worker is alive; a hundred idle ones must not cost the laptop
        document = json.dumps({"jobs": jobs, "tags": list(tags)})
        lease_ms = int(self._settings.lease_s * 1000)
        stale: list[str] = self._renew(keys=[self._index], args=[lease_ms, document])
        return stale

    def _never_started(self, slots: list[Slot]) -> set[str]:
        """Tags of messages that wait in this worker for more than a lease beside a free slot; others may have them.

        Celery can lose a slot whose process dies while the worker reconnects, and keeps the message that it gave to it.
        """
        running = {slot.job for slot in slots}
        has_free_slot = len(slots) < self._worker.slots
        idle = {tag for tag, job in self._worker.reserved().items() if has_free_slot and job not in running}
        now = time.monotonic()
        self._idle_since = {tag: self._idle_since.get(tag, now) for tag in idle}
        return {tag for tag, since in self._idle_since.items() if now - since > self._settings.lease_s}

    def _end_where_deaf(self, slots: list[Slot]) -> None:
        """End this worker where jobs wait, slots are free, and for four leases it has taken none.

        Its connection has died without saying so, or its main thread hangs. Whoever supervises it starts it again; what
        runs here is taken over by others.
        """
        waiting = self._sweeper.waiting + len(self._idle_since)
        received = self._worker.jobs_received
        is_deaf = waiting and received == self._received and len(slots) < self._worker.slots
        self._received = received
        if not is_deaf or self._slots.stop_flag.exists():
            self._deaf_since = None
        elif self._deaf_since is None:
            self._deaf_since = time.monotonic()
        elif time.monotonic() - self._deaf_since >= _DEAF_LEASES * self._settings.lease_s:
            logger.critical("%d jobs wait and this worker takes none; it ends, to be started again", waiting)
            os.kill(os.getpid(), signal.SIGKILL)

    def _newly_cancelled(self) -> list[str]:
        """Jobs that were cancelled since the last look, as Redis publishes them."""
        if self._cancelled is None:
            self._cancelled = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py
            self._cancelled.subscribe(keys.CANCEL)
        jobs = []
        try:
            while (message := self._cancelled.get_message(timeout=0)) is not None:
                jobs.append(message["data"])
        except redis.RedisError:
            self._cancelled = None
            raise
        return jobs

    def _check_limits(self, slot: Slot) -> None:
        """Measure an attempt, and fail it where it goes beyond its limits."""
        memory, passed_s = slot.memory(), time.time() - slot.started
        key = (slot.job, slot.attempt)
        self._peaks[key] = max(memory, self._peaks.get(key, 0))
        if slot.memory_bytes is not None and memory > slot.memory_bytes:
            used, limit = memory / 2**20, slot.memory_bytes / 2**20
            self._fail(
                slot, "memory-limit", f"It used {used:.0f} MiB of memory, more than its limit of {limit:.0f} MiB."
            )
        elif slot.time_s is not None and passed_s > slot.time_s:
            self._fail(slot, "time-limit", f"It ran for longer than its limit of {slot.time_s:g} s.")

    def _fail(self, slot: Slot, kind: str, message: str) -> None:
        may_end = self._claim(slot)
        if not may_end and slot.pid != os.getpid():
            return  # it has ended already
        self._scribe.hurry(slot.name)
        outcome = Outcome(slot.job, slot.attempt, State.FAILED, error={"kind": kind, "message": message})
        self._outbox.send(outcome)
        if may_end:
            end_process(slot)

    def wait_for_tasks(self) -> None:
        """Give running tasks the grace period to finish or to save their state, then let them wait again elsewhere.

        Celery calls this when the worker is told to stop.
        """
        self._slots.stop_flag.touch()
        deadline = time.monotonic() + self._settings.grace_s
        while (slots := self._slots.all()) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S / 5)
        for slot in slots:
            self._scribe.hurry(slot.name)
            self._outbox.send(Outcome(slot.job, slot.attempt, None))
            if self._claim(slot):
                end_process(slot)

    def _end_stale(self, slots: list[Slot]) -> None:
        """Renew what this worker holds, and end the processes of attempts whose work nobody needs any more."""
        stale = set(self._renewed(slots))
        for slot in slots:
            if slot.name in stale and self._claim(slot):
                end_process(slot)

    def _claim(self, slot: Slot) -> bool:
        """Make sure that a process is still at this attempt and may be ended; a thread of the worker may not."""
        if slot.pid == os.getpid():
            logger.warning("job %s is not needed any more, but runs in a thread, which cannot be ended", slot.job)
            return False
        return self._slots.claim(slot)


def end_process(slot: Slot) -> None:
    """End the process of an attempt and everything below it."""
    try:
        process = psutil.Process(slot.pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)


def note_loss(worker: str, job_id: str, reason: str) -> None:
    """Note that the process of an attempt died; does nothing where the attempt is not the newest one any more.

    Billiard says `Worker exited prematurely: signal 9 (SIGKILL) Job: 0.`; the signal is what people need.
    """
    settings = load_settings()
    slots = slots_of(settings, worker)
    client = connect(settings)
    signal_name = reason.partition(":")[2].partition(" Job:")[0].strip() or reason or "an exit"
    for slot in slots.all():
        if slot.job == job_id and not slot.is_alive:
            try:
                scribe_of(settings, worker, client).finish(slot.name)
                JobStore(client).lose(job_id, slot.attempt, f"its process was ended by {signal_name}")
            except (redis.RedisError, OSError) as error:
                logger.warning("job %s lost its process, and Redis is away: %s", job_id, error)
                return  # the lease keeper finds it again
            slots.clear(slot)

"""What an attempt works with: this worker's folders, and the connections of one of its processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import redis

from hive.celery_adapter import make_application, open_writer
from hive.settings import Settings, host_name, load_settings
from hive.staging import BlobStore, Cache, open_store
from hive.store import JobStore, LogStore
from hive.store.connection import connect
from hive.wire.signing import Signer, Trust
from hive.worker.logs.scribe import Scribe
from hive.worker.outbox import Outbox
from hive.worker.slots import Slots


@dataclass(frozen=True)
class WorkerContext:
    """What the attempts of one process of a worker share.

    `logs` is the folder in which the attempts' logs wait; `scribe` carries them to Redis. `patient` waits for a Redis
    that is away, `prompt` gives up at once; `resend` sends the messages of jobs that wait. `trust` says whose jobs are
    run, `signer` signs the parts that they plan. `slot_usd_per_h` is what a slot costs, where that is known.
    """

    settings: Settings
    patient: JobStore
    prompt: JobStore
    outbox: Outbox
    slots: Slots
    scribe: Scribe
    logs: Path
    blobs: BlobStore
    cache: Cache
    worker: str
    host: str
    worker_pid: int
    slot_usd_per_h: float | None
    resend: Callable[[Sequence[str]], None]
    trust: Trust
    signer: Signer


@cache
def this_context(worker: str, worker_pid: int, slots: int | None) -> WorkerContext:
    """The context of this process; made after the fork, because a connection cannot be shared with the parent."""
    settings = load_settings()
    price = settings.price_usd_per_h
    client = connect(settings)
    prompt = JobStore(client)
    return WorkerContext(
        settings=settings,
        patient=JobStore(connect(settings, patient=True)),
        prompt=prompt,
        outbox=outbox_of(settings, prompt),
        slots=slots_of(settings, worker),
        scribe=scribe_of(settings, worker, client),
        logs=logs_of(settings, worker),
        blobs=open_store(settings, is_patient=True),
        cache=cache_of(settings),
        worker=worker,
        host=host_name(),
        worker_pid=worker_pid,
        slot_usd_per_h=price / slots if price is not None and slots else None,
        resend=partial(_resend, settings, prompt),
        trust=Trust(settings.trust_file),
        signer=Signer(settings.signing_key),
    )


def slots_of(settings: Settings, worker: str) -> Slots:
    """The running attempts of one worker of this machine."""
    return Slots(settings.cache / "running" / worker, cache_of(settings))


def cache_of(settings: Settings) -> Cache:
    """The files that this machine keeps."""
    return Cache(settings.cache, open_store(settings, is_patient=True), settings.cache_max_bytes)


def outbox_of(settings: Settings, store: JobStore) -> Outbox:
    """The outcomes that wait on this machine; whichever worker finds Redis back first reports them."""
    return Outbox(settings.cache / "outbox", store)


def logs_of(settings: Settings, worker: str) -> Path:
    """Where the logs of one worker's attempts wait."""
    return settings.cache / "logs" / worker


def scribe_of(settings: Settings, worker: str, client: redis.Redis) -> Scribe:
    """What carries the logs of one worker's attempts to Redis."""
    logs = LogStore(client, settings.log_lines)
    return Scribe(logs_of(settings, worker), slots_of(settings, worker), logs, settings.log_lines)


def _resend(settings: Settings, records: JobStore, job_ids: Sequence[str]) -> None:
    """Send the messages of jobs that wait."""
    jobs = [job for job in records.get_many(job_ids) if job is not None]
    if jobs:
        with open_writer(settings, make_application(settings)) as writer:
            writer.push(writer.encode(job.id, job.specification) for job in jobs)

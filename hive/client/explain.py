"""A job in words and as JSON: why it waits or failed, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from hive.catalog import find_capability, find_task
from hive.client.session import Session
from hive.errors import HiveError
from hive.options import Priority
from hive.staging import Reference
from hive.store import QueueReport
from hive.store.connection import reachable
from hive.task import Written
from hive.wire.job import JobRecord, State

_Schemas = Mapping[str, Mapping[str, Any]]


def previews(job: JobRecord) -> dict[str, Reference]:
    """The previews that a job has written, by the parameters that name them."""
    references = {}
    for name in _declared(job.specification.task).previews:
        reference = _reference(job.outputs.get(name))
        if reference is not None and not reference.is_folder:
            references[name] = reference
    return references


def job_document(job: JobRecord) -> dict[str, Any]:
    """A job as lists show it: its record, and which of its files are previews."""
    return job.to_json() | {"previews": list(previews(job))}


def job_document_with_story(job: JobRecord) -> dict[str, Any]:
    """A job with its story, as `hive show --json` and the HTTP API show it."""
    return job_document(job) | {"story": list(job.story), "units": dict(_declared(job.specification.task).units)}


@dataclass(frozen=True)
class _Declared:
    """What a task says: which of its parameters are previews, and the units of parameters and measures."""

    previews: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)


@cache
def _declared(wire_name: str) -> _Declared:
    """What a task says; nothing where it is not known here."""
    try:
        task = find_task(wire_name, or_part=True)
    except HiveError:
        return _Declared()
    described = {**cast(_Schemas, task.schema()["properties"]), **cast(_Schemas, task.result_schema()["properties"])}
    return _Declared(
        tuple(output.name for output in task.writes if isinstance(output.kind, Written) and output.kind.is_preview),
        {name: str(schema["x-unit"]) for name, schema in described.items() if "x-unit" in schema},
    )


def _reference(text: object) -> Reference | None:
    """What a record says; whoever wrote it may have written anything."""
    try:
        return Reference.parse(text) if isinstance(text, str) else None
    except HiveError:
        return None


# A message reaches a free worker at once, and one that was lost is sent again within a lease or two.
_SOON_S = 60.0
_MOST_LOSSES = 3
_MEMORY = "Start a worker with more memory, or give it less at once (smaller tiles). Then: hive retry {id}"
# What helps, by the kind of the error.
_REMEDIES: Mapping[str, str] = {
    "bad-input": "Look at the file {files}; correct it and submit it again.",
    "bad-file": "Look at the file {files}; correct it and submit it again.",
    "bad-parameter": "Submit it again with another value.",
    "worker-lost": "Read the end of its log: hive logs {id}. " + _MEMORY,
    "memory-limit": _MEMORY,
    "out-of-memory": _MEMORY,
    "time-limit": "Give it less at once (smaller tiles) and submit it again; the same work takes the same time.",
    "engine": "The message comes from a program that the task runs, most often because of the file {files}. "
    "If the file is valid: hive retry {id}",
    "script": "The message is the last that your script printed. Fix the script and submit it again.",
    "not-allowed": "Ask the owner of {host} to allow it, or send it to a worker of your own.",
    "part-failed": "See which part: hive show {id}. Once it is fixed: hive retry {id}, which runs what is missing.",
    "staging": "Submit it again: that sends what the store lacks.",
    "os-error": "Look at {host}: is its disk full, may Hive write there? Then: hive retry {id}",
    "task-error": "This is a bug in the task; report it to its author with the output of hive logs {id}. "
    "Once it is fixed: hive retry {id}",
}
_REMEDY = "Its log: hive logs {id}. Its history: hive show {id}. Run it again: hive retry {id}"


@dataclass(frozen=True)
class Surroundings:
    """What is around a job: all workers, its queue, how many jobs there wait for longer, and the time now (UTC)."""

    workers: Sequence[Mapping[str, Any]]
    queue: QueueReport | None
    ahead: int
    now: datetime


@dataclass(frozen=True)
class Reason:
    """Why a job is where it is, and what to do about it."""

    why: str
    todo: str


def look_around(session: Session, job: JobRecord) -> Surroundings:
    """See what is around a job now.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    name = job.specification.queue
    with reachable(session.settings):
        queues = {queue.name: queue for queue in session.registry.queues()}
        ahead = session.registry.ahead(name, job.id)
        return Surroundings(session.registry.workers(), queues.get(name), ahead, datetime.now(UTC))


def explain(job: JobRecord, around: Surroundings) -> Reason:
    """Say why a job waits, runs, failed or ended, and what to do."""
    if job.state is State.QUEUED:
        reason = _queued(job, around)
        return Reason(" ".join([reason.why, *_history(job)]), reason.todo)
    if job.state is State.RUNNING:
        reason = _running(job, around)
        return Reason(" ".join([reason.why, *_history(job)]), reason.todo)
    return {State.FAILED: _failed, State.CANCELLED: _cancelled, State.SUCCEEDED: _succeeded}[job.state](job)


def starter(queue: str) -> str:
    """The command that serves a queue; one that is no capability is none of `hive worker`'s.

    >>> starter("test"), starter("my-own")
    ('hive worker --capabilities test=2', 'celery -A hive worker -Q my-own -c 2')
    """
    try:
        return f"hive worker --capabilities {find_capability(queue).name}=2"
    except HiveError:
        return f"celery -A hive worker -Q {queue} -c 2"


def _queued(job: JobRecord, around: Surroundings) -> Reason:
    queue = job.specification.queue
    serving = [worker for worker in around.workers if queue in worker["capabilities"]]
    if not serving:
        return Reason(
            f"It has been waiting since {_at(_waits_since(job))}: no worker serves {queue!r}.",
            f"Start one: {starter(queue)}",
        )
    capable = [worker for worker in serving if _has_task(worker, job.specification.task)]
    if not capable:
        return Reason(
            f"It has been waiting since {_at(_waits_since(job))}: no worker of {queue!r} has the task "
            f"{job.specification.task}.",
            f"Update Hive on {serving[0]['host']} and start {serving[0]['name']} again.",
        )
    slots = sum(worker["slots"] for worker in capable)
    busy = max(sum(worker["busy"] for worker in capable), around.queue.running if around.queue else 0)
    if busy + around.ahead >= slots:
        return _in_line(job, around.ahead, min(busy, slots), slots)
    return _about_to_start(job, around.now, capable)


def _has_task(worker: Mapping[str, Any], task: str) -> bool:
    """Whether a worker has registered a task; one of an older Hive does not report its tasks."""
    tasks = (worker.get("terms") or {}).get("tasks")
    return tasks is None or task in tasks


def _in_line(job: JobRecord, ahead: int, busy: int, slots: int) -> Reason:
    queue = job.specification.queue
    load = "the only slot is busy" if busy == slots == 1 else f"{busy} of {_count(slots, 'slot')} are busy"
    place = f"It is {_ordinal(ahead + 1)} in the {queue!r} queue; {load}."
    rule = {
        Priority.HIGH: " Its priority is high: it starts before jobs of normal or low priority.",
        Priority.NORMAL: "",
        Priority.LOW: " Its priority is low: it starts after jobs of normal or high priority.",
    }[job.specification.priority]
    return Reason(place + rule, f"Nothing: it starts automatically. To start it sooner, add a worker: {starter(queue)}")


def _about_to_start(job: JobRecord, now: datetime, serving: Sequence[Mapping[str, Any]]) -> Reason:
    waited_s = (now - _waits_since(job)).total_seconds()
    if waited_s < _SOON_S:
        return Reason(
            f"A slot is free and the job has waited for only {max(waited_s, 0):.0f} s; it starts in a moment. "
            "If its message was lost, a worker notices and sends it again within seconds.",
            f"Nothing: it starts automatically. Wait for it: hive wait {job.short_id}",
        )
    return Reason(
        f"It has been waiting since {_at(_waits_since(job))}, although a slot is free: no worker takes it.",
        f"Read the log of {serving[0]['name']}: an older Hive there may not have {job.specification.task}. "
        "Update it and restart the worker.",
    )


def _divided(job: JobRecord) -> Reason:
    done, total = (job.progress.done, job.progress.total) if job.progress else (0, len(job.plans[-1]))
    return Reason(
        f"It is waiting for its parts, without holding a slot: {done:g} of its {total:g} parts are done.",
        f"See them: hive show {job.short_id}. Or cancel all: hive cancel {job.short_id}",
    )


def _running(job: JobRecord, around: Surroundings) -> Reason:
    if job.is_divided:
        return _divided(job)
    where = f"on {job.worker} ({job.host})" if job.host else f"on {job.worker}"
    since = f" since {_at(job.started_at)}" if job.started_at else ""
    attempt = f", attempt {job.attempts}" if job.attempts > 1 else ""
    words = [f"It has been running {where}{since}{attempt}; {_progress(job)}."]
    if job.worker not in [worker["name"] for worker in around.workers]:
        words.append("That worker is silent; if it stays silent, the job starts again elsewhere automatically.")
    return Reason(" ".join(words), f"Wait for it: hive wait {job.short_id}. Or cancel it: hive cancel {job.short_id}")


def _progress(job: JobRecord) -> str:
    progress = job.progress
    if progress is None:
        return "no progress reported yet"
    total = "" if progress.total is None else f" of {progress.total:g}"
    return " ".join(filter(None, [f"progress: {progress.done:g}{total}", progress.unit, progress.message]))


def _failed(job: JobRecord) -> Reason:
    error = job.error or {"kind": "error", "message": "It has left no reason."}
    started = f"started {_count(job.attempts, 'time')}"
    why = f"It failed at {_at(job.finished_at)} ({error['kind']}, {started}): {error['message'].rstrip('.')}."
    files = ", ".join(_file_names(job)) or "that it reads"
    todo = _REMEDIES.get(error["kind"], _REMEDY).format(id=job.short_id, files=files, host=job.host or "its worker")
    return Reason(why, todo)


def _cancelled(job: JobRecord) -> Reason:
    return Reason(f"It was cancelled at {_at(job.finished_at)}.", f"Run it again: hive retry {job.short_id}")


def _succeeded(job: JobRecord) -> Reason:
    todo = f"Fetch its files: hive fetch {job.short_id}" if job.outputs else f"See it: hive show {job.short_id}"
    return Reason(f"It succeeded at {_at(job.finished_at)} on {job.worker}.", todo)


def _history(job: JobRecord) -> list[str]:
    """A sentence on each of the last attempts that ended without a result."""
    ended = [event for event in job.story if event["event"] in ("lost", "stopped")]
    return [
        f"Attempt {event['attempt']}{_on(event)} was {event['event']} at {_at(_time(event))} because {event['reason']}."
        for event in ended[-_MOST_LOSSES:]
    ]


def _on(event: Mapping[str, Any]) -> str:
    return f" on {event['worker']}" if event.get("worker") else ""


def _waits_since(job: JobRecord) -> datetime:
    """When the job began to wait: with its last change, for it is queued."""
    times = [time for event in job.story if (time := _time(event)) is not None]
    return times[-1] if times else job.submitted_at


def _time(event: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(str(event["at"])) if event.get("at") else None


def _at(time: datetime | None) -> str:
    return "an unknown time" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _ordinal(number: int) -> str:
    """Write a place in a queue.

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 12, 21, 102, 111)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st', '102nd', '111th']
    """
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _file_names(job: JobRecord) -> list[str]:
    """The names of the files that a job reads; a reference is `sha256:<hex>/<file name>`."""
    inputs = job.specification.inputs.values()
    names = [name for value in inputs for name in (value if isinstance(value, list) else [value])]
    return [str(name).rpartition("/")[2] for name in names]

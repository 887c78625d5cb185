"""A job: its specification, the message to its worker, and its record."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self, TypeVar, overload

import msgspec

from hive.errors import BadParameterError, UnreadableRecordError
from hive.options import Priority as Priority
from hive.task import Limits, Progress
from hive.task.values import Json
from hive.wire.record import Record, Value, convert_record, read_record
from hive.wire.signing import Signer, canonical, statement

T = TypeVar("T")
D = TypeVar("D")


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a state that somebody names.

        Raises
        ------
        BadParameterError
            There is no such state; lists those that there are.
        """
        if text not in set(cls):
            raise BadParameterError(f"state must be one of {', '.join(cls)}, not {text[:40]!r}.")
        return cls(text)


class JobMessage(Record, frozen=True):
    """What a worker learns of a job beside its id and task. All of it is signed.

    `inputs` has a reference (or a list of them) for each file that is read, `outputs` the name of each file that is
    written. `parent` is the job that this one is a part of.
    """

    parameters: Mapping[str, Value]
    inputs: Mapping[str, Value]
    outputs: Mapping[str, str]
    limits: Limits
    parent: str = ""


_USUAL = Limits(attempts=3)


class Specification(Record, frozen=True, dict=True):
    """What a job is to do; it never changes, and the message to the worker is made of it.

    Fields are as in `JobMessage`. `signature` says who submitted the job.
    """

    capability: str
    task: str
    queue: str
    parameters: Mapping[str, Value]
    inputs: Mapping[str, Value] = {}
    outputs: Mapping[str, str] = {}
    limits: Limits = _USUAL
    priority: Priority = Priority.NORMAL
    parent: str = ""
    signature: str = ""

    def to_json(self) -> str:
        """Write the specification as one line of JSON."""
        return f'{self._json[:-1]},"signature":"{self.signature}"}}' if self.signature else self._json

    @cached_property
    def _json(self) -> str:
        # Written once: the ledger and the record of each of many jobs need it. What is as usual is left out, because
        # Redis keeps this text in memory for every job of a month. Scripts look for the task, which comes second.
        values: dict[str, object] = {
            "capability": self.capability,
            "task": self.task,
            "queue": self.queue,
            "parameters": self.parameters,
            "inputs": self.inputs or None,
            "outputs": self.outputs or None,
            "limits": _without_none(vars(self.limits)) if self.limits != _USUAL else None,
            "priority": self.priority if self.priority is not Priority.NORMAL else None,
            "parent": self.parent or None,
        }
        return json.dumps(_without_none(values), separators=(",", ":"), allow_nan=False)

    @cached_property
    def message(self) -> dict[str, Json]:
        """The fields of `JobMessage` as they are sent and signed."""
        message: dict[str, Json] = {
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "limits": dict(vars(self.limits)),
        }
        return message | ({"parent": self.parent} if self.parent else {})

    @cached_property
    def message_text(self) -> str:
        """The message for people."""
        return repr(self.message)

    @cached_property
    def _signable(self) -> str:
        return canonical(self.message)  # written once, as above

    def signed(self, job_id: str, signer: Signer) -> "Specification":
        """The same, signed for one job."""
        return self._with(signer.sign(self._statement(job_id)))

    @staticmethod
    def all_signed(jobs: Sequence[tuple[str, "Specification"]], signer: Signer) -> list[tuple[str, "Specification"]]:
        """The same jobs, each signed; many cost hardly more than one."""
        signatures = signer.sign_all([job._statement(job_id) for job_id, job in jobs])
        return [(job_id, job._with(signature)) for (job_id, job), signature in zip(jobs, signatures, strict=True)]

    def _statement(self, job_id: str) -> bytes:
        return statement(job_id, self.task, self._signable)

    def _with(self, signature: str) -> "Specification":
        # A copy with all that was worked out already.
        _ = self._json, self.message_text
        signed = copy(self)
        msgspec.structs.force_setattr(signed, "signature", signature)
        vars(signed).update(vars(self))
        return signed

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        UnreadableRecordError
            It is damaged, or was written by a newer Hive.
        """
        return read_record(cls, text, "A job's specification")


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class JobRecord:
    """A job's record. Times are UTC.

    `plans` has the ids of the parts that it was divided into, each time; `is_divided` says that it waits for the last.
    """

    id: str
    specification: Specification
    state: State
    submitted_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    worker: str | None = None
    host: str | None = None
    progress: Progress | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Json] = field(default_factory=dict)
    error: Mapping[str, str] | None = None
    cost_usd: float | None = None
    peak_memory_bytes: int | None = None
    plans: tuple[tuple[str, ...], ...] = ()
    is_divided: bool = False
    story: tuple[Mapping[str, Json], ...] = ()

    @property
    def short_id(self) -> str:
        """Enough of the id for people to name the job by."""
        return self.id[:8]

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` and the HTTP API show."""
        specification = self.specification
        return {
            "id": self.id,
            "capability": specification.capability,
            "task": specification.task,
            "queue": specification.queue,
            "state": str(self.state),
            "parameters": dict(specification.parameters),
            "inputs": dict(specification.inputs),
            "outputs": dict(self.outputs),
            "measures": dict(self.measures),
            "submitted_at": rfc3339(self.submitted_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "attempts": self.attempts,
            "worker": self.worker,
            "host": self.host,
            "progress": vars(self.progress) if self.progress else None,
            "error": self.error,
            "cost_usd": self.cost_usd,
            "priority": str(specification.priority),
            "peak_memory_bytes": self.peak_memory_bytes,
            "parts": [part for plan in self.plans for part in plan],
            "parent": specification.parent or None,
        }


@overload
def rfc3339(time: datetime) -> str: ...


@overload
def rfc3339(time: datetime | None) -> str | None: ...


def rfc3339(time: datetime | None) -> str | None:
    """Write a UTC time as RFC 3339 with milliseconds.

    >>> rfc3339(from_milliseconds(1_000))
    '1970-01-01T00:00:01.000Z'
    """
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def from_milliseconds(milliseconds: str | float | None) -> datetime | None:
    """Read a time that is kept as milliseconds since 1970."""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC) if milliseconds else None


class _Hash(Record, frozen=True):
    """A job's record as Redis keeps it; some fields are JSON."""

    specification: str
    state: State
    submitted_ms: float
    started_ms: float | None = None
    finished_ms: float | None = None
    attempts: int = 0
    worker: str | None = None
    host: str | None = None
    progress: str = ""
    outputs: str = ""
    measures: str = ""
    error: str = ""
    cost_usd: float | None = None
    peak_memory_bytes: int | None = None
    plans: str = ""
    divided: str = ""
    story: str = ""


def job_from_hash(job_id: str, fields: Mapping[str, str], *, with_story: bool = False) -> JobRecord:
    """Read a job from the hash that Redis keeps.

    Raises
    ------
    UnreadableRecordError
        It is damaged, or was written by a newer Hive.
    """
    what = f"The record of job {job_id}"
    row = convert_record(_Hash, fields, what, from_text=True)
    try:
        return JobRecord(
            id=job_id,
            specification=read_record(Specification, row.specification, f"The specification of job {job_id}"),
            state=row.state,
            submitted_at=datetime.fromtimestamp(row.submitted_ms / 1000, UTC),
            started_at=from_milliseconds(row.started_ms),
            finished_at=from_milliseconds(row.finished_ms),
            attempts=row.attempts,
            worker=row.worker,
            host=row.host,
            progress=_read(row.progress, Progress, None),
            outputs=_read(row.outputs, dict[str, str], {}),
            measures=_read(row.measures, dict[str, Any], {}),
            error=_error(_read(row.error, dict[str, Any], None)),
            cost_usd=row.cost_usd,
            peak_memory_bytes=row.peak_memory_bytes,
            plans=_read(row.plans, tuple[tuple[str, ...], ...], ()),
            is_divided=bool(row.divided),
            story=tuple(map(_event, row.story.splitlines())) if with_story else (),
        )
    except (msgspec.MsgspecError, LookupError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableRecordError(f"{what} cannot be read: {error}.") from error


def _read(text: str, kind: type[T], missing: D) -> T | D:
    return msgspec.convert(json.loads(text), kind) if text else missing


# What a script gives as the reason for the end of an attempt; a worker gives a sentence.
_REASONS = {"vanished": "its worker vanished"}


def _error(facts: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The kind of an error and its sentence; where a script ended the job, it has stored facts only."""
    return None if facts is None else {"kind": facts["kind"], "message": _message(facts)}


def _message(facts: Mapping[str, Any]) -> str:
    return facts.get("message") or _WORDS.get(facts["kind"], _unknown)(facts)


def _cancelled(facts: Mapping[str, Any]) -> str:
    return "The job that it is a part of has ended." if facts.get("reason") == "parent-ended" else "It was cancelled."


def _worker_lost(facts: Mapping[str, Any]) -> str:
    reason = _REASONS.get(facts["reason"], facts["reason"])
    peak = f", peak memory {facts['peak_memory_bytes'] // 2**20:.0f} MiB" if "peak_memory_bytes" in facts else ""
    return (
        f"started {facts['losses']} times and never finished: {reason}; the last worker was {facts['worker']} on "
        f"{facts['host']}{peak}"
    )


def _part_failed(facts: Mapping[str, Any]) -> str:
    return f"Its part {facts['part'][:8]} {facts['state']}: {_message(facts['error'])}"


def _unknown(facts: Mapping[str, Any]) -> str:
    return f"It ended with {facts['kind']!r}, for which this version of Hive has no words."


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "cancelled": _cancelled,
    "worker-lost": _worker_lost,
    "part-failed": _part_failed,
}


def _event(line: str) -> dict[str, Json]:
    r"""Read a line of a story.

    >>> _event('1795734660299\tsubmitted\t{"queue":"gis"}')
    {'at': '2026-11-26T23:11:00.299Z', 'event': 'submitted', 'queue': 'gis'}
    """
    ms, name, *more = line.split("\t", 2)
    facts = json.loads(more[0]) if more else {}
    if "reason" in facts:
        facts["reason"] = _REASONS.get(facts["reason"], facts["reason"])
    return {"at": rfc3339(from_milliseconds(ms)), "event": name, **facts}

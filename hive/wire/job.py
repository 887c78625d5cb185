"""One job as it is kept and shown: what was asked, how far it is, what came of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from hive.options import Priority as Priority
from hive.task import Limits, Progress
from hive.task.values import Json
from hive.wire.signing import Signer, canonical, statement


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


_USUAL: dict[str, Any] = {
    "inputs": {},
    "outputs": {},
    "limits": Limits(attempts=3),
    "priority": Priority.NORMAL,
    "parent": "",
}


@dataclass(frozen=True)
class Specification:
    """What was asked for; it never changes and is what the message to the worker says.

    `inputs` has a reference (or a list of them) for each file that is read, `outputs` the name of each file that is
    wanted back. `parent` is the job that this one is a part of; `signature` says who asked.
    """

    capability: str
    task: str
    queue: str
    parameters: Mapping[str, Json]
    inputs: Mapping[str, Json]
    outputs: Mapping[str, str]
    limits: Limits = field(default_factory=lambda: Limits(attempts=3))
    priority: Priority = Priority.NORMAL
    parent: str = ""
    signature: str = field(default="", compare=False)

    def to_json(self) -> str:
        """Write the specification as one line of JSON."""
        return f'{self._json[:-1]},"signature":"{self.signature}"}}' if self.signature else self._json

    @cached_property
    def _json(self) -> str:
        # Written once: the ledger and the record of each of many jobs need it. What is as usual is left out, because
        # Redis keeps this text in memory for every job of a month.
        said = {name: getattr(self, name) for name in _UNSIGNED}
        kept = {name: value for name, value in said.items() if value != _USUAL.get(name)}
        if "limits" in kept:
            kept["limits"] = {name: value for name, value in vars(self.limits).items() if value is not None}
        return json.dumps(kept, separators=(",", ":"), allow_nan=False)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What the worker is told beside the job's id and task; all of it is signed."""
        told: dict[str, Any] = {
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "limits": dict(vars(self.limits)),
        }
        return told | ({"parent": self.parent} if self.parent else {})

    @cached_property
    def told_text(self) -> str:
        """The same for people."""
        return repr(self.told)

    @cached_property
    def _signable(self) -> str:
        return canonical(self.told)  # written once, as above

    def signed(self, job_id: str, signer: Signer) -> Self:
        """The same, signed for one job."""
        return self._with(signer.sign(self._statement(job_id)))

    @staticmethod
    def all_signed(jobs: Sequence[tuple[str, "Specification"]], signer: Signer) -> list[tuple[str, "Specification"]]:
        """The same jobs, each signed; many cost hardly more than one."""
        signatures = signer.sign_all([asked._statement(job_id) for job_id, asked in jobs])
        return [(job_id, asked._with(one)) for (job_id, asked), one in zip(jobs, signatures, strict=True)]

    def _statement(self, job_id: str) -> bytes:
        return statement(job_id, self.task, self._signable)

    def _with(self, signature: str) -> Self:
        # A copy with all that was worked out already; `replace` takes many times as long, and `copy` some.
        _ = self._json, self.told_text
        made = object.__new__(type(self))
        vars(made).update(vars(self), signature=signature)
        return made

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        kept = _USUAL | json.loads(text)
        limits = kept["limits"] if isinstance(kept["limits"], Limits) else Limits(**kept["limits"])
        return cls(**{**kept, "limits": limits, "priority": Priority(kept["priority"])})


_UNSIGNED = tuple(one.name for one in fields(Specification) if one.name != "signature")


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
        asked = self.specification
        return {
            "id": self.id,
            "capability": asked.capability,
            "task": asked.task,
            "queue": asked.queue,
            "state": str(self.state),
            "parameters": dict(asked.parameters),
            "inputs": dict(asked.inputs),
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
            "priority": str(asked.priority),
            "peak_memory_bytes": self.peak_memory_bytes,
            "parts": [part for plan in self.plans for part in plan],
            "parent": asked.parent or None,
        }


def rfc3339(time: datetime | None) -> str | None:
    """Write a UTC time as RFC 3339 with milliseconds.

    >>> rfc3339(from_milliseconds(1_000))
    '1970-01-01T00:00:01.000Z'
    """
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def from_milliseconds(milliseconds: str | float | None) -> datetime | None:
    """Read a time that is kept as milliseconds since 1970."""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC) if milliseconds else None


def job_from_hash(job_id: str, kept: Mapping[str, str], *, with_story: bool = False) -> JobRecord:
    """Read a job from the hash that Redis keeps."""
    submitted = from_milliseconds(kept["submitted_ms"])
    assert submitted is not None  # noqa: S101  the script that creates the hash always sets it
    return JobRecord(
        id=job_id,
        specification=Specification.from_json(kept["specification"]),
        state=State(kept["state"]),
        submitted_at=submitted,
        started_at=from_milliseconds(kept.get("started_ms")),
        finished_at=from_milliseconds(kept.get("finished_ms")),
        attempts=int(kept.get("attempts", 0)),
        worker=kept.get("worker"),
        host=kept.get("host"),
        progress=Progress(**json.loads(kept["progress"])) if "progress" in kept else None,
        outputs=_json(kept, "outputs", {}),
        measures=_json(kept, "measures", {}),
        error=_error(json.loads(kept["error"])) if "error" in kept else None,
        cost_usd=_json(kept, "cost_usd", None),
        peak_memory_bytes=_json(kept, "peak_memory_bytes", None),
        plans=tuple(tuple(plan) for plan in _json(kept, "plans", [])),
        is_divided="divided" in kept,
        story=tuple(map(_event, kept.get("story", "").splitlines())) if with_story else (),
    )


def _json(kept: Mapping[str, str], name: str, otherwise: Any) -> Any:  # noqa: ANN401  JSON has no better type
    return json.loads(kept[name]) if name in kept else otherwise


# What a script gives as the reason for the end of an attempt; a worker gives a sentence.
_REASONS = {"vanished": "its worker vanished"}


def _error(facts: Mapping[str, Any]) -> dict[str, str]:
    """The kind of an error and its sentence; where a script ended the job, it has stored facts only."""
    return {"kind": facts["kind"], "message": facts.get("message") or _WORDS.get(facts["kind"], _unknown)(facts)}


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
    return f"Its part {facts['part'][:8]} {facts['state']}: {_error(facts['error'])['message']}"


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

"""How a finished job and its measures are written for people."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from hive.catalog import find_task
from hive.cli.common import pairs, printable
from hive.client import failure_of
from hive.costs.money import dollars
from hive.errors import HiveError
from hive.task import Progress
from hive.task.values import Json, Kind
from hive.wire.job import JobRecord, State, rfc3339

# What says nothing is not shown; 0 and "no" say something.
_NOTHING: tuple[Json, ...] = (None, "", [], {})


def measures_text(job: JobRecord) -> str:
    """A job's measures with their units, as its task declares them."""
    try:
        units = {measure.name: measure.unit for measure in find_task(job.specification.task, or_part=True).measures}
    except HiveError:
        units = {}  # the task is not installed here; the numbers are shown all the same
    return pairs(
        {name: _with_unit(value, units.get(name, "")) for name, value in job.measures.items() if value not in _NOTHING}
    )


def parameters_text(job: JobRecord) -> str:
    """A job's parameters with their units, as its task declares them; those that are not set are left out."""
    try:
        kinds = {
            parameter.name: parameter.kind for parameter in find_task(job.specification.task, or_part=True).parameters
        }
    except HiveError:
        kinds = {}  # as above
    values = {name: value for name, value in job.specification.parameters.items() if value not in _NOTHING}
    return pairs({name: printable(_text(value, kinds.get(name))) for name, value in values.items()})


def _text(value: Json, kind: Kind | None) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item, kind) for item in value)
    return _with_unit(value, "") if kind is None or isinstance(value, bool) else kind.show(value)


def _with_unit(value: Json, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g} {unit}".rstrip()
    if isinstance(value, int):
        return f"{value:,} {unit}".rstrip()
    if isinstance(value, Mapping):
        return printable(", ".join(f"{name} {amount}" for name, amount in value.items()))
    return printable(str(value))


def cost_text(job: JobRecord, with_parts_usd: float | None = None) -> str:
    """What a job has cost; of one that was divided also what it and its parts did."""
    return f"{dollars(job.cost_usd)}, {dollars(with_parts_usd)} with its parts" if job.plans else dollars(job.cost_usd)


def outcome_text(job: JobRecord, with_parts_usd: float | None = None) -> str:
    """One line on how a finished job ended."""
    if job.state is not State.SUCCEEDED:
        return f"job {job.short_id} {job.state}: {printable(failure_of(job))}"
    took = f" in {duration(job.finished_at - job.started_at)}" if job.started_at and job.finished_at else ""
    cost = f", {cost_text(job, with_parts_usd)}" if job.cost_usd is not None else ""
    return f"job {job.short_id} succeeded{took} on {job.worker}{cost}"


def duration(time: timedelta) -> str:
    """Write a duration as people say it.

    >>> duration(timedelta(seconds=75))
    '1 min 15 s'
    """
    seconds = time.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def ago(time: datetime, now: datetime) -> str:
    """Write how long ago a time was, in its largest unit.

    >>> ago(datetime(2026, 11, 26, 12, 0), datetime(2026, 11, 26, 15, 59))
    '3 h ago'
    """
    seconds = max((now - time).total_seconds(), 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def progress_text(progress: Progress) -> str:
    """How far a job has come: `3 of 12 tiles  gridding`."""
    total = "" if progress.total is None else f" of {progress.total:g}"
    unit = f" {progress.unit}" if progress.unit else ""
    return printable(f"{progress.done:g}{total}{unit}  {progress.message}".rstrip())


def story_text(job: JobRecord) -> str:
    """Everything that happened to a job, in order."""
    lines = []
    for event in job.story:
        details = ", ".join(f"{name} {value}" for name, value in event.items() if name not in ("at", "event"))
        lines.append(f"  {event['at']}  {event['event']}" + (f"  ({printable(details)})" if details else ""))
    return "\n".join(lines)


def job_text(job: JobRecord, with_parts_usd: float | None = None) -> str:
    """One job's whole story."""
    specification = job.specification
    took = duration(job.finished_at - job.started_at) if job.started_at and job.finished_at else None
    lines = {
        "task": specification.task,
        "queue": specification.queue,
        "state": str(job.state),
        "submitted": rfc3339(job.submitted_at),
        "started": rfc3339(job.started_at),
        "finished": rfc3339(job.finished_at),
        "duration": took,
        "attempts": job.attempts,
        "cost": cost_text(job, with_parts_usd) if job.cost_usd is not None or job.state.is_final else None,
        "worker": job.worker,
        "part of": specification.parent or None,
        "parts": ", ".join(part[:8] for plan in job.plans for part in plan) or None,
        "progress": progress_text(job.progress) if job.progress and job.state is not State.SUCCEEDED else None,
    }
    parts = [f"job {job.id}", pairs({name: value for name, value in lines.items() if value is not None})]
    if job.error:
        parts.append(f"{job.error['kind']}: {printable(job.error['message'])}")
    sections = {
        "inputs": _files_text(specification.inputs),
        "parameters": parameters_text(job),
        "outputs": _files_text(job.outputs),
        "measures": measures_text(job),
        "story": story_text(job),
    }
    parts += [f"{title}\n{text}" for title, text in sections.items() if text]
    return "\n".join(parts)


def _files_text(references: Mapping[str, Json] | Mapping[str, str]) -> str:
    return pairs({name: printable(str(value)) for name, value in references.items()})

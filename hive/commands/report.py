"""How a finished job and its measures are written for people."""

from collections.abc import Mapping
from datetime import timedelta

from hive.catalog import find_task
from hive.client import failure_of
from hive.commands.common import pairs, printable
from hive.errors import HiveError
from hive.jobs import Job, State
from hive.jobs.record import rfc3339
from hive.task.values import Json


def measures_text(job: Job) -> str:
    """A job's measures with their units, as its task declares them."""
    try:
        units = {measure.name: measure.unit for measure in find_task(job.specification.task).measures}
    except HiveError:
        units = {}  # the task is not installed here; the numbers are shown all the same
    return pairs({name: _with_unit(value, units.get(name, "")) for name, value in job.measures.items()})


def _with_unit(value: Json, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g} {unit}".rstrip()
    if isinstance(value, int):
        return f"{value:,} {unit}".rstrip()
    if isinstance(value, Mapping):
        return printable(", ".join(f"{name} {one}" for name, one in value.items()))
    return printable(str(value))


def outcome_text(job: Job) -> str:
    """One line on how a finished job ended."""
    if job.state is not State.SUCCEEDED:
        return f"job {job.short_id} {job.state}: {printable(failure_of(job))}"
    took = f" in {duration(job.finished_at - job.started_at)}" if job.started_at and job.finished_at else ""
    cost = f", ${job.cost_usd:.2f}" if job.cost_usd is not None else ""
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


def story_text(job: Job) -> str:
    """Everything that happened to a job, in order."""
    lines = []
    for event in job.story:
        details = ", ".join(f"{name} {value}" for name, value in event.items() if name not in ("at", "event"))
        lines.append(f"  {event['at']}  {event['event']}" + (f"  ({printable(details)})" if details else ""))
    return "\n".join(lines)


def job_text(job: Job) -> str:
    """One job's whole story."""
    asked = job.specification
    lines = {
        "task": asked.task,
        "queue": asked.queue,
        "state": str(job.state),
        "submitted": rfc3339(job.submitted_at),
        "attempts": job.attempts,
        "worker": job.worker or "",
    }
    parts = [f"job {job.id}", pairs(lines)]
    if job.error:
        parts.append(f"{job.error['kind']}: {printable(job.error['message'])}")
    for title, values in (("inputs", asked.inputs), ("parameters", asked.parameters), ("outputs", job.outputs)):
        if values:
            parts.append(f"{title}\n{pairs({name: printable(str(value)) for name, value in values.items()})}")
    if job.measures:
        parts.append(f"measures\n{measures_text(job)}")
    parts.append(f"story\n{story_text(job)}")
    return "\n".join(parts)

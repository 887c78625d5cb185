"""A job as programs are shown it: its record, with what its task declares about files and units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from hive.catalog import find_task
from hive.errors import HiveError
from hive.jobs import Job
from hive.staging import Reference
from hive.task import Written

_Schemas = Mapping[str, Mapping[str, Any]]


def previews(job: Job) -> dict[str, Reference]:
    """The previews that a job has written, by the parameters that name them."""
    found = {}
    for name in _declared(job.specification.task).previews:
        reference = _reference(job.outputs.get(name))
        if reference is not None and not reference.is_folder:
            found[name] = reference
    return found


def shown(job: Job) -> dict[str, Any]:
    """A job as lists show it: its record, and which of its files are previews."""
    return job.to_json() | {"previews": list(previews(job))}


def shown_whole(job: Job) -> dict[str, Any]:
    """A job with its story, as `hive show --json` and the HTTP API show it."""
    return shown(job) | {"story": list(job.story), "units": dict(_declared(job.specification.task).units)}


@dataclass(frozen=True)
class _Declared:
    """What a task says: which of its parameters are previews, and the units of parameters and measures."""

    previews: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)


@cache
def _declared(wire_name: str) -> _Declared:
    """What a task says; nothing where it is not known here."""
    try:
        task = find_task(wire_name)
    except HiveError:
        return _Declared()
    described = {**cast(_Schemas, task.schema()["properties"]), **cast(_Schemas, task.result_schema()["properties"])}
    return _Declared(
        tuple(one.name for one in task.writes if isinstance(one.kind, Written) and one.kind.is_preview),
        {name: str(one["x-unit"]) for name, one in described.items() if "x-unit" in one},
    )


def _reference(text: object) -> Reference | None:
    """What a record says; whoever wrote it may have written anything."""
    try:
        return Reference.parse(text) if isinstance(text, str) else None
    except HiveError:
        return None

"""From one call and many files to many requests: every file is looked at before anything is sent."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hive.client.request import Request, check_queue, make_request, sources_of
from hive.errors import BadFileError, BadParameterError, UsageError
from hive.options import USUAL, JobOptions
from hive.staging import Reference, Remote
from hive.task import Task, Written
from hive.task.parameter import Parameter

# As many of the files that cannot be used are listed.
_MOST_REASONS = 10


@dataclass(frozen=True)
class Item:
    """One job of a map: the name of its input for people, and its request."""

    name: str
    request: Request


@dataclass(frozen=True)
class Plan:
    """How a task is mapped: over which files (or how many times), with which values, and where results go."""

    task: Task[Any, Any]
    files: Sequence[str | Path] = ()
    count: int | None = None
    out: Path | None = None
    values: Mapping[str, object] | None = None
    options: JobOptions = USUAL


def make_items(plan: Plan) -> list[Item]:
    """Check a whole map: its options once, then each file.

    Raises
    ------
    UsageError
        An option cannot be used, or some files: the text lists them with their reasons.
    """
    task, values = plan.task, plan.task.flat(plan.values or {})
    mapped = _mapped_parameter(plan)
    _check_options(task, values, mapped)
    if plan.options.queue is not None:
        check_queue(task, plan.options.queue)
    with _results_folder(plan) as out:
        if mapped is None:
            assert plan.count is not None  # noqa: S101  a map without files has been counted
            return _repeated(plan, values, out)
        return _one_for_each(plan, mapped, values, out)


def _mapped_parameter(plan: Plan) -> Parameter | None:
    """The parameter that the files are for; None where the task reads none and is only repeated."""
    task = plan.task
    if not task.reads:
        if plan.files or plan.count is None:
            raise BadParameterError(f"{task.wire_name} reads no files; say how often to run it: --count N.")
        if plan.count < 1:
            raise BadParameterError(f"The count must be at least 1, not {plan.count}.")
        return None
    mapped = task.reads[0]
    if mapped.is_repeated:
        raise BadParameterError(
            f"{task.wire_name} reads several files at once ({mapped.name}), and a map gives one to each job. "
            f"Send it as one job: hive submit {task.wire_name.replace('.', ' ')}."
        )
    if plan.count is not None:
        raise BadParameterError(f"{task.wire_name} reads a {mapped.name}: name the files instead of --count.")
    if not plan.files:
        raise BadParameterError(f"{task.wire_name} needs {mapped.name}: name the files, one job is made of each.")
    return mapped


def _check_options(task: Task[Any, Any], values: Mapping[str, object], mapped: Parameter | None) -> None:
    """Check what is the same for all jobs, so that a wrong option is said once and not for each file."""
    task.check_names(values)
    for parameter in task.parameters:
        if parameter is mapped or isinstance(parameter.kind, Written):
            if parameter.name in values:
                where = "it is what the files are for" if parameter is mapped else "results get names of their inputs"
                raise BadParameterError(f"{parameter.name} cannot be given to a map: {where}.")
        elif parameter in task.reads:
            sources_of(task, parameter, values)
        else:
            task.value_of(parameter, values)


@contextmanager
def _results_folder(plan: Plan) -> Iterator[Path | None]:
    """Make the folder for the results; it is removed again where the map turns out to be wrong."""
    out = plan.out.expanduser() if plan.out is not None else None
    if out is None:
        if _required(plan.task):
            raise BadParameterError(f"{plan.task.wire_name} writes files; name a folder for them: --out DIR.")
        yield None
        return
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BadFileError(f"{out} is a file; name a folder for the results.") from error
    except OSError as error:
        raise BadFileError(f"The folder {out} cannot be made: {error.strerror}.") from error
    try:
        yield out
    except UsageError:
        if is_new:
            with suppress(OSError):
                out.rmdir()
        raise


def _required(task: Task[Any, Any]) -> list[Parameter]:
    """The output files of every job: all but the optional ones; previews always."""
    return [
        parameter
        for parameter in task.writes
        if parameter.is_required or (isinstance(parameter.kind, Written) and parameter.kind.is_preview)
    ]


def _main_result(task: Task[Any, Any]) -> Parameter | None:
    """The first required output; where all are optional, a folder for the results asks for the first one."""
    return next(iter(_required(task) or task.writes), None)


def _repeated(plan: Plan, values: Mapping[str, object], out: Path | None) -> list[Item]:
    """The same request so many times; where it writes files, each with a number in their names."""
    assert plan.count is not None  # noqa: S101  as above
    width = len(str(plan.count))
    names = [f"{number:0{width}d}" for number in range(1, plan.count + 1)]
    if out is None or _main_result(plan.task) is None:
        request = _request(plan, values)
        return [Item(f"#{name}", request) for name in names]
    return [Item(f"#{name}", _request(plan, {**values, **_places(plan.task, out, name)})) for name in names]


def _one_for_each(plan: Plan, mapped: Parameter, values: Mapping[str, object], out: Path | None) -> list[Item]:
    items: list[Item] = []
    reasons: list[str] = []
    for file in plan.files:
        try:
            places = _places(plan.task, out, _stem(mapped, str(file))) if out is not None else {}
            items.append(Item(str(file), _request(plan, {**values, mapped.name: str(file), **places})))
        except UsageError as error:
            reasons.append(str(error))
    if len(set(reasons)) == 1 < len(reasons) == len(plan.files):
        raise BadParameterError(reasons[0])  # options that do not fit together are wrong for every file
    reasons += _collisions(items)
    if reasons:
        raise BadFileError(_list(reasons, len(plan.files)))
    return items


def _stem(mapped: Parameter, file: str) -> str:
    """What results are called after: a file's name without its suffix, a folder's whole name."""
    if Reference.matches(file):
        name = Reference.parse(file).name
    elif Remote.matches(file):
        name = Remote.parse(file).name
    else:
        name = Path(file).expanduser().resolve().name if mapped.is_folder else Path(file).name
    return name if mapped.is_folder else Path(name).stem


def _places(task: Task[Any, Any], out: Path, stem: str) -> dict[str, object]:
    """Where the first written file goes; the places of the others follow from it."""
    main = _main_result(task)
    if main is None:
        return {}
    assert isinstance(main.kind, Written)  # noqa: S101  only parameters that are written come here
    suffix = main.kind.suffixes[0] if main.kind.suffixes else ""
    return {main.name: str(out / f"{stem}_{task.name}{suffix}")}


def _request(plan: Plan, values: Mapping[str, object]) -> Request:
    # The queue was checked once; looking it up again for each file takes its time.
    return replace(make_request(plan.task, values), options=plan.options)


def _collisions(items: Sequence[Item]) -> Iterator[str]:
    """Jobs that would write the same file, or over the input of another one."""
    inputs = {path.resolve(): item.name for item in items for path in item.request.paths}
    taken: dict[Path, str] = {}
    for item in items:
        places = {place.resolve(): place for place in item.request.destinations.values()}
        double = next((where for where in places if where in taken), None)
        if double is not None:
            yield _both(taken[double], item.name, places[double])
        elif over := next((inputs[where] for where in places if where in inputs), None):
            yield f"The result of {item.name} would overwrite {over}; choose another folder."
        taken |= dict.fromkeys(places, item.name)


def _both(first: str, other: str, place: Path) -> str:
    if first == other:
        return f"{first} is named twice."
    return f"{first} and {other} would both be written to {place}; rename one, or map them into two folders."


def _list(reasons: Sequence[str], total: int) -> str:
    if len(reasons) == 1:
        return f"{reasons[0]} Nothing was sent."
    lines = [f"{len(reasons):,} of {total:,} files cannot be used; nothing was sent.", *reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        lines.append(f"… and {len(reasons) - _MOST_REASONS:,} more.")
    return "\n  ".join(lines)

"""From a call to a request: check every value, look at every file, decide where results go. Nothing is sent here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hive.catalog import all_capabilities
from hive.errors import BadFileError, BadParameterError, UnknownNameError, did_you_mean
from hive.options import USUAL, JobOptions
from hive.staging import Reference, Remote, safe_name, total_bytes
from hive.task import Read, Task, Written
from hive.task.parameter import Parameter
from hive.task.values import Json

# A parameter that reads files: what was named for it, in order.
Source = Path | Reference | Remote


@dataclass(frozen=True)
class Request:
    """A checked call of a task."""

    task: Task[Any, Any]
    options: JobOptions
    parameters: Mapping[str, Json]
    sources: Mapping[str, tuple[Source, ...]]
    destinations: Mapping[str, Path]

    @property
    def queue(self) -> str:
        """The queue that the job is sent to: the capability's, where the options name no other."""
        return self.options.queue or self.task.capability

    @property
    def paths(self) -> list[Path]:
        """The local files to send."""
        return [source for sources in self.sources.values() for source in sources if isinstance(source, Path)]


def make_request(task: Task[Any, Any], values: Mapping[str, object], options: JobOptions = USUAL) -> Request:
    """Check a call and everything it names.

    Parameters
    ----------
    task : the task
    values : by parameter name; files are paths or references, missing written files get a place beside the first input
    options : the job-wide options, such as its queue

    Raises
    ------
    UsageError
        A value, a file or a name is not acceptable; the text says which.
    """
    if options.queue is not None:
        check_queue(task, options.queue)
    if task.is_part:
        raise UnknownNameError(f"{task.wire_name} is a part of larger jobs; submit the task that plans it.")
    values = task.flat(values)
    task.check_names(values)
    sources = {parameter.name: sources_of(task, parameter, values) for parameter in task.reads}
    destinations = _destinations(task, values, sources)
    placed = {name: str(path) for name, path in destinations.items()}
    checked = task.check(dict(values) | placed)
    _check_places(task, destinations, sources)
    files = {parameter.name for parameter in (*task.reads, *task.writes)}
    return Request(
        task=task,
        options=options,
        parameters={name: cast(Json, value) for name, value in checked.items() if name not in files},
        sources={name: given for name, given in sources.items() if given},
        destinations=destinations,
    )


def make_remote_request(task: Task[Any, Any], values: Mapping[str, object], options: JobOptions = USUAL) -> Request:
    """Check a call that comes from elsewhere: its files are references or URLs, and nothing of this machine is read.

    Raises
    ------
    UsageError
        A value, a file or a name is not acceptable; the text says which.
    """
    for parameter in task.reads:
        given = values.get(parameter.name)
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str) and not (Reference.matches(name) or Remote.matches(name)):
                raise BadFileError(
                    f"{parameter.name} cannot be {name!r}: over HTTP a file is a URL that workers can read, or after "
                    "PUT /blob/<sha256> a reference, sha256:<64 hex digits>/NAME."
                )
    for parameter in task.writes:
        name = values.get(parameter.name)
        if isinstance(name, str):
            safe_name(name)
    return make_request(task, values, options)


def with_files(task: Task[Any, Any], values: Mapping[str, object]) -> dict[str, object]:
    """Let `files` stand for the first parameter that reads files, where no parameter has that name itself."""
    named = dict(values)
    first = next(iter(task.reads), None)
    if first is None or "files" not in named or any(parameter.name == "files" for parameter in task.parameters):
        return named
    files = named.pop("files")
    if first.name in named:
        raise BadParameterError(f"files and {first.name} are the same for {task.wire_name}; name them once.")
    if not first.is_repeated and isinstance(files, list) and len(files) == 1:
        files = files[0]
    return {first.name: files} | named


def check_queue(task: Task[Any, Any], queue: str) -> None:
    """Refuse a queue that no worker serves: a probe may go to any, any other task to a capability's.

    Raises
    ------
    UnknownNameError
        Lists the queues that there are.
    """
    if task.capability != "test":
        queues = [capability.name for capability in all_capabilities()]
        if queue not in queues:
            hint = did_you_mean(queue, queues)
            raise UnknownNameError(f"There is no queue {queue!r}. Known are: {', '.join(queues)}.{hint}")
    elif not queue.replace("-", "").replace("_", "").isalnum():
        raise UnknownNameError(f"{queue!r} cannot be a queue's name; write a capability such as gis.")


def sources_of(task: Task[Any, Any], parameter: Parameter, values: Mapping[str, object]) -> tuple[Source, ...]:
    """Look at the files named for one parameter.

    Raises
    ------
    UsageError
        A file is missing, or not what the parameter reads.
    """
    kind = parameter.kind
    assert isinstance(kind, Read)  # noqa: S101  only parameters that read files come here
    if parameter.name not in values and parameter.is_required:
        raise BadParameterError(f"{task.wire_name} needs {parameter.name}: name the {kind.what} to read.")
    given = parameter.check(values[parameter.name]) if parameter.name in values else None
    if given is None:
        return ()
    names = given if isinstance(given, list) else [given]
    return tuple(_source(kind, str(name)) for name in names)


def _source(kind: Read, name: str) -> Source:
    if Reference.matches(name):
        return Reference.parse(name)
    if Remote.matches(name):
        return Remote.parse(name)
    path = Path(name).expanduser()
    kind.check_content(path)
    return path


def _destinations(
    task: Task[Any, Any], values: Mapping[str, object], sources: Mapping[str, tuple[Source, ...]]
) -> dict[str, Path]:
    """Path of each output file: the one given, otherwise next to the first input."""
    places: dict[str, Path] = {}
    for parameter in task.writes:
        kind = parameter.kind
        assert isinstance(kind, Written)  # noqa: S101  only parameters that are written come here
        given = parameter.check(values[parameter.name]) if parameter.name in values else None
        if given is not None:
            places[parameter.name] = Path(str(given)).expanduser()
        elif parameter.is_required or kind.is_preview:
            places[parameter.name] = _default_place(task, parameter, kind, sources, places)
    return places


def _default_place(
    task: Task[Any, Any],
    parameter: Parameter,
    kind: Written,
    sources: Mapping[str, tuple[Source, ...]],
    places: Mapping[str, Path],
) -> Path:
    """`tile.laz` of `gis.dtm` gives `tile_dtm.tif`, and its preview `tile_dtm.png`; without a tile, `gis_dtm.tif`."""
    suffix = kind.suffixes[0] if kind.suffixes else ""
    if places:
        main = next(iter(places.values()))
        stem = main.stem if kind.is_preview else f"{main.stem}_{parameter.name}"
        return main.with_name(stem + suffix)
    first = next((source for named in sources.values() for source in named), None)
    if first is None:
        return Path(f"{task.capability}_{task.name}{suffix}")
    return (first.parent if isinstance(first, Path) else Path()) / f"{Path(first.name).stem}_{task.name}{suffix}"


def _check_places(
    task: Task[Any, Any], destinations: Mapping[str, Path], sources: Mapping[str, tuple[Source, ...]]
) -> None:
    """Refuse output paths that cannot be written, before hours of work are spent."""
    inputs = {source.resolve() for named in sources.values() for source in named if isinstance(source, Path)}
    taken: dict[Path, str] = {}
    folders = {parameter.name for parameter in task.writes if parameter.is_folder}
    for name, path in destinations.items():
        place = path.resolve()
        safe_name(place.name if name in folders else path.name)
        if name in folders and place.exists() and not place.is_dir():
            raise BadFileError(f"{path} is a file; name the folder that {name} is written to.")
        if name not in folders and place.is_dir():
            raise BadFileError(f"{path} is a folder; name the file that {name} is written to.")
        if not place.parent.is_dir():
            raise BadFileError(f"The folder {path.parent} does not exist. Make it: mkdir -p {path.parent}.")
        if place in inputs:
            raise BadFileError(f"{name} would overwrite the input {path}; name another file.")
        if place in taken:
            raise BadFileError(f"{name} and {taken[place]} would both be written to {path}; name another file.")
        taken[place] = name


def size_bytes(sources: Sequence[Source]) -> int | None:
    """Size of the given files; None where one is no local file."""
    paths = [source for source in sources if isinstance(source, Path)]
    return total_bytes(paths) if len(paths) == len(sources) else None

"""Declaring capabilities and their tasks: the function's signature is the schema."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from hive.errors import BadParameterError, TaskDeclarationError, UnknownNameError, did_you_mean
from hive.task.files import Read, Written
from hive.task.parameter import Parameter
from hive.task.signature import Group, read_signature
from hive.task.values import Json, Measure, read_result

P = ParamSpec("P")
R = TypeVar("R")
# Checks all arguments of the function together, groups as the dataclasses that they are; raises BadParameterError where
# they do not fit each other.
TogetherCheck = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Limits:
    """When a job is given up: starts that died, time [s] and memory [bytes] of one attempt; None leaves it open."""

    attempts: int | None = None
    time_s: float | None = None
    memory_bytes: int | None = None


class Task(Generic[P, R]):
    """One function of a capability, with everything that its signature says.

    Calling it runs the function here, on files, with no queue: `dtm(Path("tile.laz"), Path("dtm.tif"), cell=0.5)`.
    """

    def __init__(
        self,
        capability: str,
        function: Callable[P, R],
        limits: Limits,
        together: TogetherCheck | None = None,
        *,
        is_part: bool = False,
    ) -> None:
        self.capability = capability
        self.limits = limits
        self.together = together
        self.is_part = is_part
        self.function = function
        self.name = function.__name__
        self.parameters: tuple[Parameter, ...]
        self.groups: tuple[Group, ...]
        self.parameters, self.groups = read_signature(function)
        self.result_type: type[Any] | None
        self.measures: tuple[Measure, ...]
        self.result_type, self.measures = read_result(function)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the parameters and run the function here, on the checked values: `cell="3ft"` is 0.9144 m."""
        checked = self.check(self.bind(*args, **kwargs))
        files = {parameter.name: _paths(checked[parameter.name]) for parameter in (*self.reads, *self.writes)}
        for parameter in self.writes:
            if parameter.is_folder and isinstance(folder := files[parameter.name], Path):
                folder.mkdir(exist_ok=True)
        function = cast(Callable[..., R], self.function)  # all values have names now, which `P` cannot say
        return function(**self.arguments(checked | files))

    @property
    def wire_name(self) -> str:
        """The name in messages and records: `gis.dtm`."""
        return f"{self.capability}.{self.name}"

    @property
    def help(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.help.partition("\n")[0]

    @property
    def reads(self) -> tuple[Parameter, ...]:
        """The files that travel to the worker."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter.kind, Read))

    @property
    def writes(self) -> tuple[Parameter, ...]:
        """The files that come back."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter.kind, Written))

    def bind(self, *args: object, **kwargs: object) -> dict[str, object]:
        """Name each value of a call as the signature does, those of groups by their fields.

        A group is given as its dataclass or by fields: `smrf=GroundFilter(window=20)` or `window=20`.

        Raises
        ------
        BadParameterError
            The call does not fit the signature.
        """
        grouped = {parameter.name for group in self.groups for parameter in group.parameters}
        fields = {name: value for name, value in kwargs.items() if name in grouped}
        others = {name: value for name, value in kwargs.items() if name not in grouped}
        try:
            bound = self._call_signature().bind(*args, **others).arguments
        except TypeError as error:
            raise BadParameterError(f"{self.wire_name}: {error}.") from error
        return self.flat({**bound, **fields})

    def _call_signature(self) -> inspect.Signature:
        """The function's signature, where groups may be left out: their fields say what is missing."""
        signature = inspect.signature(self.function)
        groups = {group.name for group in self.groups}
        return signature.replace(
            parameters=[
                parameter.replace(default=None) if parameter.name in groups else parameter
                for parameter in signature.parameters.values()
            ]
        )

    def flat(self, values: Mapping[str, object]) -> dict[str, object]:
        """Take apart the groups among a call's values: each field stands under its own name.

        Raises
        ------
        BadParameterError
            A field is given twice.
        """
        flat = dict(values)
        for group in self.groups:
            if isinstance(values.get(group.name), group.type):
                fields = group.take_apart(flat.pop(group.name))
                if twice := [name for name in fields if name in values]:
                    raise BadParameterError(f"{twice[0]} is given twice: in {group.name} and by its own name.")
                flat |= fields
        return flat

    def arguments(self, checked: Mapping[str, object]) -> dict[str, object]:
        """The arguments of the function: checked values, with the fields of each group as its dataclass.

        Raises
        ------
        BadParameterError
            A group refuses its values together.
        """
        arguments = dict(checked)
        for group in self.groups:
            arguments[group.name] = group.put_together(checked)
            for parameter in group.parameters:
                del arguments[parameter.name]
        return arguments

    def check(self, values: Mapping[str, object]) -> dict[str, object]:
        """Check a call's values and fill in the defaults; fields of groups stand under their own names.

        Raises
        ------
        UnknownNameError
            A value has a name that is no parameter.
        BadParameterError
            A value is missing, is not accepted, or does not fit another one.
        """
        self.check_names(values)
        checked = {parameter.name: self.value_of(parameter, values) for parameter in self.parameters}
        arguments = self.arguments(checked)
        if self.together is not None:
            self.together(arguments)
        return checked

    def check_names(self, values: Mapping[str, object]) -> None:
        """Refuse names that are no parameter.

        Raises
        ------
        UnknownNameError
            Lists the parameters that there are.
        BadParameterError
            A group is named as if it were a parameter.
        """
        names = [parameter.name for parameter in self.parameters]
        groups = {group.name: group for group in self.groups}
        for name in values:
            if name in groups:
                fields = ", ".join(parameter.name for parameter in groups[name].parameters)
                raise BadParameterError(
                    f"{name} of {self.wire_name} is a group of parameters. Give them by their own names: {fields}; "
                    f"or in Python a {groups[name].type.__name__}."
                )
            if name not in names:
                hint = did_you_mean(name, names)
                raise UnknownNameError(f"{self.wire_name} has no parameter {name!r}. It has: {', '.join(names)}.{hint}")

    def value_of(self, parameter: Parameter, values: Mapping[str, object]) -> object:
        """Check the value of one parameter; its default where none is given.

        Raises
        ------
        BadParameterError
            The value is missing, or is not accepted.
        """
        if parameter.name in values:
            return parameter.check(values[parameter.name])
        if parameter.is_required:
            raise BadParameterError(f"{self.wire_name} needs {parameter.name} ({parameter.kind.metavar}).")
        return parameter.default

    def schema(self) -> dict[str, Json]:
        """Describe parameters and result in JSON Schema (draft 2020-12)."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.wire_name,
            "description": self.summary,
            "type": "object",
            "properties": {parameter.name: parameter.schema() for parameter in self.parameters},
            "required": [parameter.name for parameter in self.parameters if parameter.is_required],
            "additionalProperties": False,
        }

    def result_schema(self) -> dict[str, Json]:
        """Describe in JSON Schema what the task measures."""
        properties: dict[str, Json] = {}
        for measure in self.measures:
            properties[measure.name] = measure.schema | ({"description": measure.help} if measure.help else {})
        return {"type": "object", "properties": properties, "required": [measure.name for measure in self.measures]}

    def result_from(self, measures: Mapping[str, Json]) -> R:
        """Build the record that the function returned from its JSON form.

        Measures that this version of the task does not know are left out.
        """
        if self.result_type is None:
            return None  # type: ignore[return-value]  # a task without record returns None
        if self.result_type is dict:
            return cast(R, dict(measures))
        names = {field.name for field in dataclasses.fields(self.result_type)}
        built: R = self.result_type(**{name: value for name, value in measures.items() if name in names})
        return built


def _paths(value: object) -> object:
    """What was named for a file parameter, as the paths that the function takes."""
    if isinstance(value, list):
        return [_paths(item) for item in value]
    return Path(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Capability:
    """A kind of work that a machine can do. Its name is its queue's name.

    Parameters
    ----------
    name : the queue, `gis`
    summary : one line for `hive submit --help`
    needs : modules that a worker must be able to import; it does so before it makes the processes of its pool
    preload : further modules that tasks use, where those above load them only when they are used
    programs : programs that a worker must have on its PATH
    extra : the extra of Hive that brings these modules
    default : the task that is meant where none is named
    """

    name: str
    summary: str
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    extra: str = ""
    default: str = ""
    preload: tuple[str, ...] = ()
    tasks: dict[str, Task[Any, Any]] = field(default_factory=dict, repr=False, compare=False)
    parts: dict[str, Task[Any, Any]] = field(default_factory=dict, repr=False, compare=False)

    @overload
    def task(self, function: Callable[P, R]) -> Task[P, R]: ...

    @overload
    def task(
        self, *, limits: Limits = ..., together: TogetherCheck | None = ...
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(
        self,
        function: Callable[P, R] | None = None,
        *,
        limits: Limits = Limits(),
        together: TogetherCheck | None = None,
    ) -> Any:
        """Declare a task; used as a decorator, with or without limits and a check of the values together.

        Raises
        ------
        TaskDeclarationError
            The signature cannot be read, or the name is taken.
        """
        if function is None:
            return functools.partial(self._declare, limits=limits, together=together)
        return self._declare(function, limits=limits, together=together)

    def part(self, function: Callable[P, R]) -> Task[P, R]:
        """Declare a part: a task that only other tasks have done, with `in_parts`; it has no command of its own.

        Raises
        ------
        TaskDeclarationError
            The signature cannot be read, or the name is taken.
        """
        return self._declare(function, limits=Limits(), together=None, is_part=True)

    def _declare(
        self, function: Callable[P, R], *, limits: Limits, together: TogetherCheck | None, is_part: bool = False
    ) -> Task[P, R]:
        declared = Task(self.name, function, limits, together, is_part=is_part)
        if declared.name in {**self.tasks, **self.parts}:
            raise TaskDeclarationError(f"Two tasks are called {declared.wire_name!r}; rename one.")
        (self.parts if is_part else self.tasks)[declared.name] = declared
        return declared

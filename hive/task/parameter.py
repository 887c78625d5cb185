"""Reading a task's signature: each parameter's kind, default, limits and help."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from hive.errors import BadParameterError, TaskDeclarationError
from hive.task.files import Read, Written
from hive.task.values import Choice, Json, Kind, Number, Switch, Text
from hive.units import PLAIN, Help, Limit, Matching, OneOf, Rest, Unit


class _Required:
    """The mark of a parameter without default."""


REQUIRED: Final = _Required()
# Names that `hive submit` uses itself for every task, and those of `hive map`, where written files are no options.
RESERVED: Final = frozenset({"detach", "json", "queue", "priority", "force", "budget", "help", "type", "params"})
RESERVED_BY_MAP: Final = frozenset({"out", "count", "again"})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a task, read from its signature."""

    name: str
    kind: Kind
    help: str
    default: object
    is_repeated: bool
    is_optional: bool
    is_positional: bool
    takes_rest: bool = False

    @property
    def option(self) -> str:
        """The option's name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_required(self) -> bool:
        """Whether a value must be given."""
        return self.default is REQUIRED

    @property
    def file(self) -> Read | Written | None:
        """The file kind, where the parameter is a file."""
        return self.kind if isinstance(self.kind, Read | Written) else None

    @property
    def is_folder(self) -> bool:
        """Whether the parameter is a folder with all that is in it."""
        return self.file is not None and self.file.is_folder

    def parse(self, text: str) -> object:
        """Read one value from command-line text.

        Raises
        ------
        BadParameterError
            One sentence with the name, the value and what would be accepted.
        """
        try:
            return self.kind.parse(text)
        except ValueError as error:
            raise BadParameterError(f"{self.name} must be {error}.") from error

    def check(self, value: object) -> object:
        """Return the value as the task gets it; a repeated parameter takes a list.

        Raises
        ------
        BadParameterError
            One sentence with the name, the value and what would be accepted.
        """
        if value is None and self.is_optional:
            return None
        try:
            return self._check_all(value) if self.is_repeated else self.kind.check(value)
        except ValueError as error:
            raise BadParameterError(f"{self.name} must be {error}.") from error

    def _check_all(self, value: object) -> list[object]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"a list, not {value!r}")
        if not value and self.is_required:
            raise ValueError("a list of at least one")
        return [self.kind.check(item) for item in value]

    def schema(self) -> dict[str, Json]:
        """Describe the parameter in JSON Schema."""
        described = self.kind.schema()
        if self.is_repeated:
            described = {"type": "array", "items": described}
            if self.is_required:
                described["minItems"] = 1
        if self.is_optional:
            described = {"anyOf": [described, {"type": "null"}]}
        if self.help:
            described["description"] = self.help
        if not self.is_required:
            described["default"] = typing.cast(Json, self.default)
        return described


def read_parameters(function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Read all parameters of a task's function.

    Raises
    ------
    TaskDeclarationError
        A parameter has no type, a type that Hive does not know, or a name that `hive submit` or `hive map` uses itself.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    found = tuple(
        _read_parameter(function.__name__, parameter, hints.get(name))
        for name, parameter in inspect.signature(function).parameters.items()
    )
    if sum(parameter.takes_rest for parameter in found) > 1:
        raise TaskDeclarationError(f"Two parameters of task {function.__name__!r} take what is behind `--`; one can.")
    return found


def _read_parameter(task: str, parameter: inspect.Parameter, hint: object) -> Parameter:
    where = f"Parameter {parameter.name!r} of task {task!r}"
    if hint is None:
        raise TaskDeclarationError(f"{where} has no type. Write for example `{parameter.name}: Metres = 1.0`.")
    if parameter.name in RESERVED:
        raise TaskDeclarationError(f"{where} has a name that `hive submit` uses itself; choose another.")
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise TaskDeclarationError(f"{where} must be an ordinary or keyword-only parameter.")
    shape = _unwrap(hint)
    kind = _kind_of(shape, where)
    default = REQUIRED if parameter.default is parameter.empty else parameter.default
    read = Parameter(
        name=parameter.name,
        kind=kind,
        help=_one(shape.notes, Help, Help("")).text,
        default=list(default) if shape.is_repeated and isinstance(default, Sequence) else default,
        is_repeated=shape.is_repeated,
        is_optional=shape.is_optional,
        is_positional=parameter.kind is parameter.POSITIONAL_OR_KEYWORD,
        takes_rest=_one(shape.notes, Rest, None) is not None,
    )
    _check_declaration(read, where)
    return read


def _check_declaration(parameter: Parameter, where: str) -> None:
    if parameter.name in RESERVED_BY_MAP and not isinstance(parameter.kind, Written):
        raise TaskDeclarationError(f"{where} has a name that `hive map` uses itself; choose another.")
    if parameter.is_positional and parameter.file is None:
        raise TaskDeclarationError(f"{where} is no file; put it behind the `*` so that it becomes an option.")
    if parameter.is_repeated and isinstance(parameter.kind, Written):
        raise TaskDeclarationError(f"{where} is a list of written files; a task writes a fixed number of files.")
    if parameter.takes_rest and not (parameter.is_repeated and isinstance(parameter.kind, Text)):
        raise TaskDeclarationError(f"{where} takes what is behind `--`; its type must be list[str].")
    if not parameter.is_required:
        try:
            parameter.check(parameter.default)
        except BadParameterError as error:
            raise TaskDeclarationError(f"{where} has a default that it does not accept: {error}") from error


@dataclass(frozen=True)
class _Shape:
    """A type without its `Annotated`, `| None` and `list[…]`, and what these said."""

    base: object
    notes: tuple[object, ...]
    is_optional: bool = False
    is_repeated: bool = False


def _unwrap(hint: object, notes: tuple[object, ...] = ()) -> _Shape:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _unwrap(arguments[0], (*arguments[1:], *notes))
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = _unwrap(next(one for one in arguments if one is not type(None)), notes)
        return _Shape(inner.base, inner.notes, is_optional=True, is_repeated=inner.is_repeated)
    if origin is list:
        inner = _unwrap(arguments[0], notes)
        return _Shape(inner.base, inner.notes, is_optional=inner.is_optional, is_repeated=True)
    return _Shape(hint, notes)


def _kind_of(shape: _Shape, where: str) -> Kind:
    for note in shape.notes:
        if isinstance(note, Read | Written):
            return note
    if shape.base in (int, float):
        limits = tuple(note for note in shape.notes if isinstance(note, Limit))
        return Number(shape.base is int, _one(shape.notes, Unit, PLAIN), limits)
    if shape.base is bool:
        return Switch()
    if shape.base is str:
        words = _one(shape.notes, OneOf, None)
        if words is not None:
            return Choice(words.words)
        return Text(_one(shape.notes, Matching, None))
    if get_origin(shape.base) is Literal and all(isinstance(word, str) for word in get_args(shape.base)):
        return Choice(get_args(shape.base))
    known = "numbers with a unit, int, bool, str, Literal of words, files such as PointCloud, and lists of these"
    raise TaskDeclarationError(f"{where} has the type {shape.base!r}; Hive knows {known}.")


def _one(notes: Iterable[object], wanted: type[Any], otherwise: Any) -> Any:  # noqa: ANN401  the type is `wanted`
    found = [note for note in notes if isinstance(note, wanted)]
    return found[-1] if found else otherwise

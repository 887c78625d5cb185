"""One parameter of a task: its kind, default, limits and help."""

import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from hive.errors import BadParameterError, TaskDeclarationError
from hive.options import reserved_names
from hive.task.files import Read, Written
from hive.task.values import Choice, Json, Kind, Number, Switch, Text
from hive.units import PLAIN, Help, Limit, Matching, OneOf, Rest, Unit


class _Required:
    """The mark of a parameter without default."""


REQUIRED: Final = _Required()
# Names that `hive submit` uses itself for every task, and those of `hive map`, where written files are no options.
RESERVED: Final = frozenset({"detach", "json", "force", "help", "type", "params"}) | reserved_names()
RESERVED_BY_MAP: Final = frozenset({"out", "count", "again"})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a task, read from its signature; `group` is the heading that it stands under, if any."""

    name: str
    kind: Kind
    help: str
    default: object
    is_repeated: bool
    is_optional: bool
    is_positional: bool
    takes_rest: bool = False
    group: str = ""

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
        if self.group:
            described["x-group"] = self.group
        return described


@dataclass(frozen=True)
class Declared:
    """A parameter as it is declared, in a signature or as a field of a group; `where` names it in messages."""

    where: str
    name: str
    hint: object
    default: object
    is_positional: bool = False
    group: str = ""


def read_parameter(declared: Declared) -> Parameter:
    """Read one parameter from its type, annotations and default.

    Raises
    ------
    TaskDeclarationError
        It has no type, a type that Hive does not know, or a name that `hive submit` or `hive map` uses itself.
    """
    name, where = declared.name, declared.where
    if declared.hint is None:
        raise TaskDeclarationError(f"{where} has no type. Write for example `{name}: Metres = 1.0`.")
    shape = unwrap(declared.hint)
    kind, default = _kind_of(shape, where), declared.default
    check_name(name, where, is_written=isinstance(kind, Written))
    parameter = Parameter(
        name=name,
        kind=kind,
        help=_last(shape.notes, Help, Help("")).text,
        default=list(default) if shape.is_repeated and isinstance(default, Sequence) else default,
        is_repeated=shape.is_repeated,
        is_optional=shape.is_optional,
        is_positional=declared.is_positional,
        takes_rest=_last(shape.notes, Rest, None) is not None,
        group=declared.group,
    )
    _check_declaration(parameter, where)
    return parameter


def check_name(name: str, where: str, *, is_written: bool = False) -> None:
    """Refuse the names that `hive submit` and `hive map` use themselves; for a map, written files are no options.

    Raises
    ------
    TaskDeclarationError
        Names the parameter.
    """
    if name in RESERVED:
        raise TaskDeclarationError(f"{where} has a name that `hive submit` uses itself; choose another.")
    if name in RESERVED_BY_MAP and not is_written:
        raise TaskDeclarationError(f"{where} has a name that `hive map` uses itself; choose another.")


def _check_declaration(parameter: Parameter, where: str) -> None:
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
class Shape:
    """A type without its `Annotated`, `| None` and `list[…]`, and what these said."""

    base: object
    notes: tuple[object, ...]
    is_optional: bool = False
    is_repeated: bool = False


def unwrap(hint: object, notes: tuple[object, ...] = ()) -> Shape:
    """Take a type out of its `Annotated`, `| None` and `list[…]`.

    >>> unwrap(list[Annotated[float, "in metres"]] | None)
    Shape(base=<class 'float'>, notes=('in metres',), is_optional=True, is_repeated=True)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return unwrap(arguments[0], (*arguments[1:], *notes))
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = unwrap(next(argument for argument in arguments if argument is not type(None)), notes)
        return Shape(inner.base, inner.notes, is_optional=True, is_repeated=inner.is_repeated)
    if origin is list:
        inner = unwrap(arguments[0], notes)
        return Shape(inner.base, inner.notes, is_optional=inner.is_optional, is_repeated=True)
    return Shape(hint, notes)


def _kind_of(shape: Shape, where: str) -> Kind:
    for note in shape.notes:
        if isinstance(note, Read | Written):
            return note
    if shape.base in (int, float):
        limits = tuple(note for note in shape.notes if isinstance(note, Limit))
        return Number(shape.base is int, _last(shape.notes, Unit, PLAIN), limits)
    if shape.base is bool:
        return Switch()
    if shape.base is str:
        words = _last(shape.notes, OneOf, None)
        if words is not None:
            return Choice(words.words)
        return Text(_last(shape.notes, Matching, None))
    if get_origin(shape.base) is Literal and all(isinstance(word, str) for word in get_args(shape.base)):
        return Choice(get_args(shape.base))
    kinds = "numbers with a unit, int, bool, str, Literal of words, files such as PointCloud, and lists of these"
    raise TaskDeclarationError(f"{where} has the type {shape.base!r}; Hive knows {kinds}.")


def _last(notes: Iterable[object], kind: type[Any], otherwise: Any) -> Any:  # noqa: ANN401  the type is `kind`
    matching = [note for note in notes if isinstance(note, kind)]
    return matching[-1] if matching else otherwise

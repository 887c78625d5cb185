"""Values of parameters and of results: from words and JSON to Python and back.

Each kind reads text (command line), checks a Python or JSON value, and writes its part of the schema. All raise
`ValueError` with the words that follow "must be"; the parameter puts its own name in front.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args, get_origin

from hive.errors import TaskDeclarationError
from hive.units import PLAIN, Help, Limit, Matching, Unit

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Kind(Protocol):
    """What one value of a parameter may be."""

    @property
    def metavar(self) -> str:
        """The word that stands for the value in `--help`."""

    def parse(self, text: str) -> object:
        """Read the value from command-line text."""

    def check(self, value: object) -> object:
        """Return the value as the task gets it."""

    def show(self, value: object) -> str:
        """Write the value for people, with its unit."""

    def schema(self) -> dict[str, Json]:
        """Describe the value in JSON Schema."""


@dataclass(frozen=True)
class Number:
    """A number with a unit, kept within limits; whole numbers only where the signature says `int`."""

    whole: bool = False
    unit: Unit = PLAIN
    limits: tuple[Limit, ...] = ()

    @property
    def metavar(self) -> str:
        """The unit's symbol, or the plain kind of number."""
        return self.unit.symbol.upper() or ("N" if self.whole else "NUMBER")

    def parse(self, text: str) -> float:
        """Read `2`, `2 m` or `2ft`.

        >>> Number(whole=True).parse("2.5")
        Traceback (most recent call last):
        ...
        ValueError: a whole number, not 2.5
        """
        try:
            value = self.unit.parse(text)
        except ValueError as error:
            raise ValueError(f"{self._expected()}: {error}") from error
        return self.check(value)

    def check(self, value: object) -> float:
        """Return a number within the limits; text is read as on the command line."""
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError(f"{self._expected()}, not {value!r}")
        if self.whole and value != int(value):
            raise ValueError(f"a whole number, not {self.unit.show(value)}")
        for limit in self.limits:
            if not limit.holds(value):
                raise ValueError(f"{limit.words} {self.unit.show(limit.bound)}, not {self.unit.show(value)}")
        return int(value) if self.whole else float(value)

    def _expected(self) -> str:
        number = "a whole number" if self.whole else "a number"
        return f"{number} in {self.unit.symbol}" if self.unit.symbol else number

    def show(self, value: object) -> str:
        """Write the number with its unit."""
        return self.unit.show(value) if isinstance(value, int | float) else str(value)

    def schema(self) -> dict[str, Json]:
        """A JSON number or integer with its bounds; the unit is in `x-unit`."""
        described: dict[str, Json] = {"type": "integer" if self.whole else "number"}
        described |= {limit.keyword: limit.bound for limit in self.limits}
        if self.unit.symbol:
            described["x-unit"] = self.unit.symbol
        return described


@dataclass(frozen=True)
class Text:
    """Any text, or text of a certain form."""

    form: Matching | None = None
    metavar = "TEXT"

    def parse(self, text: str) -> str:
        """Take the text as it is."""
        return self.check(text)

    def check(self, value: object) -> str:
        """Refuse what is not text, and NUL characters, which no terminal or file name can hold."""
        if not isinstance(value, str):
            raise ValueError(f"text, not {value!r}")
        if "\0" in value:
            raise ValueError("text without NUL characters")
        if self.form is not None and not re.fullmatch(self.form.pattern, value):
            raise ValueError(f"{self.form.words}, not {value!r}")
        return value

    def show(self, value: object) -> str:
        """Write the text as it is."""
        return str(value)

    def schema(self) -> dict[str, Json]:
        """A JSON string, with its form."""
        described: dict[str, Json] = {"type": "string"}
        if self.form is not None:
            described["pattern"] = f"^(?:{self.form.pattern})$"
        return described


@dataclass(frozen=True)
class Switch:
    """Yes or no."""

    metavar = ""

    def parse(self, text: str) -> bool:
        """Read `true` or `false`."""
        words: Mapping[str, bool] = {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError(f"true or false, not {text!r}")
        return words[text.lower()]

    def check(self, value: object) -> bool:
        """Refuse anything but true and false."""
        if not isinstance(value, bool):
            raise ValueError(f"true or false, not {value!r}")
        return value

    def show(self, value: object) -> str:
        """Write `yes` or `no`."""
        return "yes" if value else "no"

    def schema(self) -> dict[str, Json]:
        """A JSON boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The words themselves."""
        return "|".join(self.words)

    def parse(self, text: str) -> str:
        """Take one of the words."""
        return self.check(text)

    def check(self, value: object) -> str:
        """Refuse anything but one of the words."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}, not {value!r}")
        return value

    def show(self, value: object) -> str:
        """Write the word."""
        return str(value)

    def schema(self) -> dict[str, Json]:
        """A JSON enumeration."""
        return {"enum": list(self.words)}


_JSON_TYPES: Mapping[object, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}


@dataclasses.dataclass(frozen=True)
class Measure:
    """One value of a result: its name, unit, meaning and JSON type."""

    name: str
    unit: str
    help: str
    schema: dict[str, Json]


def read_result(function: Callable[..., object]) -> tuple[type[Any] | None, tuple[Measure, ...]]:
    """Read the type that a task returns, and the measures in it.

    Raises
    ------
    TaskDeclarationError
        The task returns something else than a frozen dataclass of plain values, a dictionary or None.
    """
    hint = typing.get_type_hints(function, include_extras=True).get("return")
    if hint is None or hint is type(None):
        return None, ()
    if get_origin(hint) is dict:
        return dict, ()  # known to each run alone
    if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        raise TaskDeclarationError(f"Task {function.__name__!r} must return a frozen dataclass or None, not {hint!r}.")
    hints = typing.get_type_hints(hint, include_extras=True)
    return hint, tuple(_read_measure(hint, field.name, hints[field.name]) for field in dataclasses.fields(hint))


def _read_measure(result: type, name: str, hint: object) -> Measure:
    notes: tuple[object, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        notes = tuple(rest)
    unit = next((note.symbol for note in notes if isinstance(note, Unit)), "")
    described = _schema_of(hint)
    if described is None:
        raise TaskDeclarationError(
            f"{result.__name__}.{name} has the type {hint!r}; a result holds numbers, text, switches, "
            "and lists or dictionaries of these."
        )
    if unit:
        described["x-unit"] = unit
    return Measure(name, unit, next((note.text for note in notes if isinstance(note, Help)), ""), described)


def _schema_of(hint: object) -> dict[str, Json] | None:
    """JSON Schema of a plain type; None where the type is not plain."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    if origin is Annotated:
        return _schema_of(arguments[0])
    if origin is list:
        return _wrap(_schema_of(arguments[0]), lambda inner: {"type": "array", "items": inner})
    if origin is dict and arguments[0] is str:
        return _wrap(_schema_of(arguments[1]), lambda inner: {"type": "object", "additionalProperties": inner})
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        inner = next(argument for argument in arguments if argument is not type(None))
        return _wrap(_schema_of(inner), lambda inner: {"anyOf": [inner, {"type": "null"}]})
    return None


def _wrap(
    inner: dict[str, Json] | None, around: Callable[[dict[str, Json]], dict[str, Json]]
) -> dict[str, Json] | None:
    return None if inner is None else around(inner)


def to_measures(result: object) -> dict[str, Json]:
    """Turn what a task returned into the JSON object that its job's record keeps."""
    if result is None:
        return {}
    if isinstance(result, dict):
        return result
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        raise TaskDeclarationError(f"A task returned {type(result).__name__}, not the record that it declares.")
    return dataclasses.asdict(result)

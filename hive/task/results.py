"""The record of what a task measured: its JSON form, and the units its type carries."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin

from hive.errors import TaskDeclarationError
from hive.task.values import Json
from hive.units import Help, Unit

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
        return dict, ()  # only the run itself knows what it measures
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
        inner = next(one for one in arguments if one is not type(None))
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

"""Reading a task's signature: its parameters, and the groups that some of them form.

A group is a frozen dataclass: `smrf: GroundFilter = GroundFilter()` makes an option of each of its fields.
"""

import dataclasses
import inspect
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive.errors import BadParameterError, TaskDeclarationError
from hive.task.parameter import REQUIRED, Declared, Parameter, check_name, read_parameter, unwrap


@dataclass(frozen=True)
class Group:
    """Parameters that belong together: fields of one frozen dataclass, under the first line of its docstring."""

    name: str
    type: type[Any]
    parameters: tuple[Parameter, ...]

    @property
    def title(self) -> str:
        """The heading of its parameters."""
        return _title(self.type)

    def take_apart(self, value: object) -> dict[str, object]:
        """The values of the fields, by name."""
        return {parameter.name: getattr(value, parameter.name) for parameter in self.parameters}

    def put_together(self, values: Mapping[str, object]) -> object:
        """Build the dataclass from checked values, of which some belong to other parameters.

        Raises
        ------
        BadParameterError
            The dataclass itself refuses the values together.
        """
        try:
            return self.type(**{parameter.name: values[parameter.name] for parameter in self.parameters})
        except BadParameterError:
            raise
        except ValueError as error:  # how a dataclass that knows nothing of Hive says it
            raise BadParameterError(f"{self.title}: {error}") from error


def read_signature(function: Callable[..., object]) -> tuple[tuple[Parameter, ...], tuple[Group, ...]]:
    """Read all parameters of a task's function, those of its groups among them, and the groups.

    Raises
    ------
    TaskDeclarationError
        A parameter has no type, a type that Hive does not know, or a name that is taken; or a group is no frozen
        dataclass of plain parameters.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[Parameter] = []
    groups: list[Group] = []
    for name, parameter in inspect.signature(function).parameters.items():
        where = f"Parameter {name!r} of task {function.__name__!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TaskDeclarationError(f"{where} must be an ordinary or keyword-only parameter.")
        hint = hints.get(name)
        is_positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        if _is_group(hint):
            groups.append(_read_group(where, name, hint, default, is_positional=is_positional))
            parameters += groups[-1].parameters
        else:
            parameters.append(read_parameter(Declared(where, name, hint, default, is_positional)))
    _check_names(function.__name__, parameters, groups)
    return tuple(parameters), tuple(groups)


def _is_group(hint: object) -> bool:
    base = unwrap(hint).base
    return isinstance(base, type) and dataclasses.is_dataclass(base)


def _read_group(where: str, name: str, hint: object, default: object, *, is_positional: bool) -> Group:
    shape = unwrap(hint)
    base = typing.cast(type[Any], shape.base)
    if shape.is_optional or shape.is_repeated:
        raise TaskDeclarationError(
            f"{where} is a group of parameters, {base.__name__}; it can be no list and not None."
        )
    if not base.__dataclass_params__.frozen:
        raise TaskDeclarationError(
            f"{where} is a group of parameters; write @dataclass(frozen=True) for {base.__name__}."
        )
    if is_positional:
        raise TaskDeclarationError(f"{where} is a group of parameters; put it behind the `*`.")
    check_name(name, where)
    if default is not REQUIRED and not isinstance(default, base):
        raise TaskDeclarationError(f"{where} must have a {base.__name__} as its default, not {default!r}.")
    hints = typing.get_type_hints(base, include_extras=True)
    fields = [field for field in dataclasses.fields(base) if field.init]
    return Group(name, base, tuple(_read_field(where, base, field, hints[field.name], default) for field in fields))


def _read_field(
    where: str, group: type[Any], field: "dataclasses.Field[Any]", hint: object, default: object
) -> Parameter:
    within = f"{where}: the field {field.name!r} of {group.__name__}"
    if _is_group(hint):
        raise TaskDeclarationError(f"{within} is a group itself, and groups cannot be nested; list its fields here.")
    value = _default_of(field) if default is REQUIRED else getattr(default, field.name)
    parameter = read_parameter(Declared(within, field.name, hint, value, group=_title(group)))
    if parameter.file is not None or parameter.takes_rest:
        raise TaskDeclarationError(f"{within} is a file or takes what is behind `--`; make it a parameter of the task.")
    return parameter


def _default_of(field: "dataclasses.Field[Any]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _title(group: type[Any]) -> str:
    """The first line of the docstring; a dataclass without one has its own signature there instead."""
    doc = inspect.getdoc(group) or ""
    is_generated = doc.startswith(f"{group.__name__}(")
    return group.__name__ if is_generated or not doc else doc.partition("\n")[0].rstrip(".")


def _check_names(task: str, parameters: list[Parameter], groups: list[Group]) -> None:
    names = Counter([parameter.name for parameter in parameters] + [group.name for group in groups])
    for name, count in names.items():
        if count > 1:
            raise TaskDeclarationError(f"Two parameters or groups of task {task!r} are called {name!r}; rename one.")
    if sum(parameter.takes_rest for parameter in parameters) > 1:
        raise TaskDeclarationError(f"Two parameters of task {task!r} take what is behind `--`; one can.")

"""All capabilities and tasks known here: Hive's own under `hive_workers`, others through entry points.

A capability is a package whose `__init__` holds one `Capability`; each other module of the package declares tasks.
Only what is needed is imported: naming one task of Hive's own imports two small modules.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from hive.errors import TaskDeclarationError, UnknownNameError, did_you_mean
from hive.task import Capability, Task

ENTRY_POINTS = "hive.capabilities"
_OWN = "hive_workers"
_REINSTALL = "Install Hive again."


def find_task(wire_name: str, *, or_part: bool = False) -> Task[Any, Any]:
    """Find a task by its wire name `gis.dtm`, or a capability's default task by `gis`.

    Parts, which nobody submits but their tasks, are found only where they may be meant: in the records of jobs.

    Raises
    ------
    UnknownNameError
        Lists the capabilities or tasks that there are.
    """
    name, dot, task = wire_name.partition(".")
    capability = find_capability(name)
    if not dot:
        task = capability.default
        if not task:
            raise UnknownNameError(f"{name} has no default task. Name one of: {_list(task_names(capability))}.")
    load_tasks(capability, task)
    if or_part and task in capability.parts:
        return capability.parts[task]
    if task not in capability.tasks:
        names = task_names(capability)
        raise UnknownNameError(f"{name} has no task {task!r}. It has: {_list(names)}.{did_you_mean(task, names)}")
    return capability.tasks[task]


def find_capability(name: str) -> Capability:
    """Find a capability by its name.

    Raises
    ------
    UnknownNameError
        Lists the capabilities that there are.
    """
    if name.isidentifier() and name in _own_packages():
        own = _capability_in(f"{_OWN}.{name}")
        if own.name == name:
            return own
    # A name such as 3d-generation is no package's name; Hive's own are looked through before entry points are read.
    for _, own in _own_capabilities():
        if own.name == name:
            return own
    capabilities = {capability.name: capability for capability in all_capabilities()}
    if name not in capabilities:
        names = sorted(capabilities)
        raise UnknownNameError(
            f"There is no capability {name!r}. Known capabilities: {_list(names)}.{did_you_mean(name, names)}"
        )
    return capabilities[name]


def package_of(name: str) -> ModuleType:
    """The package of a capability.

    Raises
    ------
    UnknownNameError
        Lists the capabilities that there are.
    """
    return _PACKAGES[find_capability(name).name]


def all_capabilities() -> Iterator[Capability]:
    """Go through every capability: Hive's own first, then those of other packages.

    Raises
    ------
    TaskDeclarationError
        Two packages use the same name, or an entry point names something else than a capability.
    """
    seen: dict[str, str] = {}
    for source, capability in (*_own_capabilities(), *_foreign_capabilities()):
        if capability.name in seen:
            raise TaskDeclarationError(
                f"The capability {capability.name!r} comes from {seen[capability.name]} and from {source}; remove one."
            )
        seen[capability.name] = source
        yield capability


def _own_capabilities() -> Iterator[tuple[str, Capability]]:
    for name in _own_packages():
        yield f"{_OWN}.{name}", _capability_in(f"{_OWN}.{name}")


def _own_packages() -> list[str]:
    """The names of Hive's own capability packages.

    Raises
    ------
    TaskDeclarationError
        There are none: not installed, or something else has that name. No tasks would look like nothing to do.
    """
    try:
        folders = list(importlib.import_module(_OWN).__path__)
    except (ImportError, AttributeError) as error:
        raise TaskDeclarationError(f"Hive's tasks cannot be imported: {error}. {_REINSTALL}") from error
    names = [module.name for module in pkgutil.iter_modules(folders) if module.ispkg]
    if not names:
        raise TaskDeclarationError(
            f"Hive's tasks are missing: the package {_OWN!r} in {', '.join(folders) or 'no folder'} is empty. "
            f"If it is not Hive's, start from another folder. {_REINSTALL}"
        )
    return names


def _foreign_capabilities() -> Iterator[tuple[str, Capability]]:
    from importlib.metadata import entry_points  # noqa: PLC0415  40 ms that Hive's own tasks need not pay

    for entry in entry_points(group=ENTRY_POINTS):
        source = f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
        try:
            package = importlib.import_module(entry.module)
        except ImportError as error:
            raise TaskDeclarationError(f"The capability of {source} cannot be imported: {error}.") from error
        yield source, _capability_in(package.__name__)


def _capability_in(package: str) -> Capability:
    module = importlib.import_module(package)
    capabilities = [value for value in vars(module).values() if isinstance(value, Capability)]
    if len(capabilities) != 1:
        raise TaskDeclarationError(f"{package} must hold exactly one Capability, not {len(capabilities)}.")
    _PACKAGES[capabilities[0].name] = module
    return capabilities[0]


def load_tasks(capability: Capability, name: str = "") -> None:
    """Import the modules that declare the tasks of a capability; only that of the task `name` where it has its name."""
    package = _PACKAGES[capability.name]
    modules = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    if name in modules:
        importlib.import_module(f"{package.__name__}.{name}")
        if name in capability.tasks:
            return
    for module in modules:
        importlib.import_module(f"{package.__name__}.{module}")


def all_tasks(*, with_parts: bool = False) -> Iterator[Task[Any, Any]]:
    """Go through every task of every capability; with their parts, all that a worker can be sent."""
    for capability in all_capabilities():
        load_tasks(capability)
        yield from capability.tasks.values()
        if with_parts:
            yield from capability.parts.values()


def task_names(capability: Capability) -> list[str]:
    """The names of all tasks of a capability, without its parts."""
    load_tasks(capability)
    return sorted(capability.tasks)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


# Packages by capability, filled as they are imported: what `sys.modules` is to modules.
_PACKAGES: dict[str, ModuleType] = {}

"""Write docs/reference.md from the code: `reference.py FILE`; `reference.py --check FILE` tells whether it is stale.

What is installed beside Hive, the width of the terminal and the number of cores do not change the page.
"""

import argparse
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from hive import catalog, errors
from hive.cli.root import hive
from hive.providers import provider
from hive.settings import SETTINGS, Setting, load_settings
from hive.task import Read, Task, Written
from hive.task.parameter import Parameter
from hive.task.values import Choice, Kind, Measure, Number, Switch, Text

_WIDTH = 100
# A home that is nowhere: what follows from it is shown with the variable's name.
_NOWHERE = "/HIVE_HOME"
_DEFAULTS_IN_WORDS = {"home": "`~/.hive`", "max_concurrent_tasks": "the number of processor cores"}
_ENDS_WITHOUT_ERROR = ((0, "It worked; `submit` and `wait`: the job succeeded."), (130, "Interrupted by Ctrl-C."))
_HEAD = """\
# Reference

Written by `make docs` from the code. Change the code, not this page. What the words mean is in
[conventions](conventions.md).
"""


def page() -> str:
    """The whole page."""
    # Hive's own tasks and providers only: other packages have pages of their own.
    catalog.ENTRY_POINTS = provider.ENTRY_POINTS = ""
    sections = (_commands(), _capabilities(), _tasks(), _settings(), _exit_codes(), _errors())
    return "\n".join([_HEAD, *sections])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _commands() -> str:
    # A group whose only member is its default answers with that member's page; the longest name keeps it.
    pages = {_help(path): path for path in _paths(hive, ())}
    blocks = [f"### `{' '.join(('hive', *path))}`\n\n```text\n{text}```\n" for text, path in pages.items()]
    return "\n".join(["## Commands\n", *blocks])


def _paths(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """A command's name and those of all commands below it."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _paths(below, (*path, name))


def _help(path: tuple[str, ...]) -> str:
    answer = CliRunner().invoke(hive, [*path, "--help"], prog_name="hive", terminal_width=_WIDTH)
    if answer.exit_code != 0:
        raise SystemExit(f"hive {' '.join(path)} --help failed: {answer.output}")
    return "".join(f"{line.rstrip()}\n" for line in answer.output.splitlines())


def _capabilities() -> str:
    rows = [
        (
            f"`{capability.name}`",
            capability.summary,
            f"`{capability.extra}`" if capability.extra else "none",
            ", ".join(f"`{name}`" for name in catalog.task_names(capability)),
        )
        for capability in sorted(catalog.all_capabilities(), key=lambda capability: capability.name)
    ]
    return "## Capabilities\n\n" + _table(("capability", "kind of work", "extra that its workers need", "tasks"), rows)


def _tasks() -> str:
    return "\n".join(["## Tasks\n", *(_task(task) for task in catalog.all_tasks())])


def _task(task: Task[Any, Any]) -> str:
    loose = [("known to each run alone", "", "", "")] if task.result_type is dict else []
    measures = [(f"`{one.name}`", _type(one), one.unit, one.help) for one in task.measures]
    return "\n".join(
        (
            f"### `{task.wire_name}`\n",
            f"{task.help}\n",
            *_parameters(task),
            _table(("measure", "type", "unit", "meaning"), [*measures, *loose]),
        )
    )


def _parameters(task: Task[Any, Any]) -> Iterator[str]:
    """A table of the parameters that are in no group, then one for each group under its heading."""
    for title in dict.fromkeys(["", *(group.title for group in task.groups)]):
        members = [parameter for parameter in task.parameters if parameter.group == title]
        rows = [(f"`{_word(one)}`", _takes(one), _default(one), one.help) for one in members]
        yield (f"{title}:\n\n" if title else "") + _table(("parameter", "takes", "default", "meaning"), rows)


def _word(parameter: Parameter) -> str:
    if parameter.takes_rest:
        return f"-- {parameter.name.upper()}"
    return parameter.name.upper() if parameter.is_positional else parameter.option


def _takes(parameter: Parameter) -> str:
    """What may be given, with its unit and limits."""
    if parameter.takes_rest:
        return "all words behind `--`"
    several = "one or more: " if parameter.is_required else "any number: "
    return (several if parameter.is_repeated else "") + _value(parameter.kind)


def _value(kind: Kind) -> str:
    if isinstance(kind, Read | Written):
        direction = "reads" if isinstance(kind, Read) else "writes"
        suffixes = f": {' '.join(f'`{suffix}`' for suffix in kind.suffixes)}" if kind.suffixes else ""
        return f"{direction} a {kind.what}{suffixes}"
    if isinstance(kind, Number):
        number = "whole number" if kind.whole else "number"
        unit = f" [{kind.unit.symbol}]" if kind.unit.symbol else ""
        return number + unit + "".join(f", {one.words} {kind.unit.show(one.bound)}" for one in kind.limits)
    if isinstance(kind, Text):
        return kind.form.words if kind.form else "text"
    if isinstance(kind, Choice):
        return " or ".join(f"`{word}`" for word in kind.words)
    return "yes or no" if isinstance(kind, Switch) else kind.metavar


def _default(parameter: Parameter) -> str:
    kind = parameter.kind
    if isinstance(kind, Written) and (parameter.is_required or kind.is_preview):
        return "a name made from the first file's"
    if parameter.is_required:
        return "required"
    if parameter.default in (None, "", []):
        return "none"
    return f"`{kind.show(parameter.default)}`"


def _type(measure: Measure) -> str:
    return str(measure.schema.get("type", "or nothing"))


def _settings() -> str:
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for setting in SETTINGS:
        row = (f"`{setting.variable}`", _file_name(setting), _setting_default(setting), setting.help)
        groups.setdefault(setting.group, []).append(row)
    columns = ("variable", "in `config.toml`", "default", "meaning")
    tables = [f"### {group}\n\n{_table(columns, rows)}" for group, rows in groups.items()]
    order = "Flags take precedence over the environment, which takes precedence over `$HIVE_HOME/config.toml`."
    return "\n".join([f"## Settings\n\n{order}\n", *tables])


def _file_name(setting: Setting) -> str:
    return "" if setting.name == "home" else f"`{setting.name}`"


def _setting_default(setting: Setting) -> str:
    if setting.name in _DEFAULTS_IN_WORDS:
        return _DEFAULTS_IN_WORDS[setting.name]
    value = getattr(load_settings(environment={"HIVE_HOME": _NOWHERE}), setting.name)
    text = str(value).replace(_NOWHERE, "$HIVE_HOME")
    return f"`{text}`" if value not in (None, "") else "none"


def _all_errors() -> list[type[errors.HiveError]]:
    """Every error of `hive.errors`, in the order of its lines."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.HiveError)]
    return sorted(found, key=lambda one: inspect.getsourcelines(one)[1])


def _exit_codes() -> str:
    given = [(one.exit_code, inspect.getdoc(one) or "") for one in _all_errors() if "exit_code" in vars(one)]
    rows = [(str(code), words) for code, words in sorted([*given, *_ENDS_WITHOUT_ERROR])]
    return "## Exit codes\n\n" + _table(("code", "meaning"), rows)


def _errors() -> str:
    rows = [
        (f"`{one.kind}`", f"`{one.__name__}`", str(one.exit_code), inspect.getdoc(one) or "") for one in _all_errors()
    ]
    return "## Errors\n\n" + _table(("kind", "in Python", "exit code", "happens when"), rows)


def main() -> None:
    """Write the page, or say that it is stale."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md from the code.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the file is stale")
    asked = parser.parse_args()
    wanted = page()
    if not asked.check:
        asked.file.write_text(wanted, encoding="utf-8")
    elif not asked.file.exists() or asked.file.read_text(encoding="utf-8") != wanted:
        sys.exit(f"{asked.file} is stale. Write it again: make docs")


if __name__ == "__main__":
    main()

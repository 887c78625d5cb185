"""A task's signature in the words of the command line and `hive describe`: what each file and option means."""

from collections.abc import Sequence
from typing import Any

import click

from hive.task import Read, Task, Written
from hive.task.parameter import Parameter
from hive.task.values import Choice, Kind, Number, Text


class TaskCommand(click.Command):
    """The command of a task; its help tells the files apart, which click shows in the usage line only.

    Where a parameter takes the rest of the command line, every word behind the first `--` is its.
    """

    def __init__(self, task: Task[Any, Any], **more: Any) -> None:  # noqa: ANN401  click's own
        super().__init__(task.name, help=_help(task), **more)
        self.task = task
        self.rest = next((parameter for parameter in task.parameters if parameter.takes_rest), None)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words before `--`; those behind it stay as they are."""
        if self.rest is None:
            return super().parse_args(ctx, args)
        at = args.index("--") if "--" in args else len(args)
        left = super().parse_args(ctx, args[:at])
        ctx.params[self.rest.name] = tuple(args[at + 1 :])
        return left

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The words of the usage line."""
        return [*super().collect_usage_pieces(ctx), *([f"[{_behind(self.rest)}]"] if self.rest else [])]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the files, then the options."""
        rows = self.files()
        rows += [(_behind(self.rest), meaning(self.task, self.rest))] if self.rest else []
        if rows:
            with formatter.section("Files and words" if self.rest else "Files"):
                formatter.write_dl(rows)
        for title, options in self._sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl(options)

    def _sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """The options under their headings: those of no group first, then group by group."""
        titles = {parameter.name: parameter.group for parameter in self.task.parameters}
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                sections.setdefault(titles.get(option.name or "") or "Options", []).append(record)
        return sections

    def files(self) -> list[tuple[str, str]]:
        """The files as the usage line calls them, and what each one is."""
        return [(item.name.upper(), meaning(self.task, item)) for item in self.task.parameters if item.is_positional]


def _help(task: Task[Any, Any]) -> str:
    measured = ", ".join(f"{item.name} [{item.unit}]" if item.unit else item.name for item in task.measures)
    return f"{task.help}\n\nMeasures: {measured}." if measured else task.help


def _behind(rest: Parameter) -> str:
    return f"-- {rest.name.upper()}..."


def usage_word(task: Task[Any, Any], parameter: Parameter) -> str:
    """A file as the usage line shows it, in brackets where it may be left out."""
    word = parameter.name.upper() + ("..." if parameter.is_repeated else "")
    return word if parameter.is_required and not _place(task, parameter) else f"[{word}]"


def option_help(task: Task[Any, Any], parameter: Parameter) -> str:
    """What an option means, and its default."""
    words = meaning(task, parameter)
    if parameter.is_required:
        return words if _place(task, parameter) else f"{words}  [required]"
    default_text = "" if parameter.default is False else default_words(parameter)
    return f"{words}  [default: {default_text}]" if default_text else words


def default_words(parameter: Parameter) -> str:
    """The default with its unit; nothing where there is none."""
    default = parameter.default
    if parameter.is_required or default in (None, "", []):
        return ""
    return ", ".join(parameter.kind.show(value) for value in (default if isinstance(default, list) else [default]))


def meaning(task: Task[Any, Any], parameter: Parameter) -> str:
    """One sentence about a parameter: that of the task's author, otherwise one made from its type."""
    kind = parameter.kind
    if isinstance(kind, Written):
        words = (parameter.help or f"Where the {kind.what} goes{_suffixes(kind.suffixes)}").rstrip(".")
        place = _place(task, parameter)
        return f"{words}; default: {place}." if place else f"{words}."
    words = parameter.help or f"{_accepted(kind)}."
    if parameter.is_repeated and not parameter.help:
        return f"{words[:-1]}; {'one or more' if parameter.is_required else 'any number'}."
    return words


def _accepted(kind: Kind) -> str:
    if isinstance(kind, Read):
        return (
            f"The {kind.what} to read{_suffixes(kind.suffixes)}{', or a folder of them' if kind.may_be_folder else ''}"
        )
    if isinstance(kind, Number):
        unit = f" in {kind.unit.symbol}" if kind.unit.symbol else ""
        limits = "".join(f", {limit.words} {kind.unit.show(limit.bound)}" for limit in kind.limits)
        return f"A {'whole ' if kind.whole else ''}number{unit}{limits}"
    if isinstance(kind, Choice):
        return f"One of {', '.join(kind.words)}"
    if isinstance(kind, Text):
        return f"Text: {kind.form.words}" if kind.form else "Text"
    return "Yes or no"


def _suffixes(suffixes: Sequence[str]) -> str:
    return f" ({', '.join(suffixes)})" if suffixes else ""


def _place(task: Task[Any, Any], parameter: Parameter) -> str:
    """Where a written file goes that is not named, as `hive.client.request` decides; empty where it must be named."""
    kind = parameter.kind
    if not isinstance(kind, Written):
        return ""
    if not _gets_place(parameter):
        return "none is written"
    suffix = next(iter(kind.suffixes), "")
    main = next(file for file in task.writes if _gets_place(file))
    if parameter is main:
        if not task.reads:
            return f"here, as {task.capability}_{task.name}{suffix}"
        return f"beside {_word(task.reads[0])}, as NAME_{task.name}{suffix}"
    stem = "with its name" if kind.is_preview else f"as NAME_{parameter.name}{suffix}"
    return f"beside {_word(main)}, {stem}"


def _gets_place(output: Parameter) -> bool:
    return output.is_required or (isinstance(output.kind, Written) and output.kind.is_preview)


def _word(parameter: Parameter) -> str:
    return parameter.name.upper() if parameter.is_positional else parameter.option

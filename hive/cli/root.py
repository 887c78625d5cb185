"""`hive` itself: finds the command that is meant, and turns errors into one sentence and an exit code."""

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator

import click

from hive.cli import commands, completion
from hive.cli.common import Group, Section, rows_of
from hive.cli.completion import FileName
from hive.errors import HiveError

_INTERRUPTED = 130


class Root(Group):
    """The commands that the modules of `hive.cli.commands` list, by section; a module is imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, section by section."""
        return [name for commands in self.sections().values() for name in commands]

    def sections(self) -> dict[Section, dict[str, click.Command]]:
        """The commands of each section, by name."""
        by_section: dict[Section, dict[str, click.Command]] = {section: {} for section in Section}
        for module in pkgutil.iter_modules(commands.__path__):
            for section, name, command in _commands_of(module.name):
                by_section[section][name] = command
        return {section: dict(sorted(names.items())) for section, names in by_section.items()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command: in the module of its name where there is one, otherwise in all modules."""
        if importlib.util.find_spec(f"{commands.__name__}.{cmd_name}") if cmd_name.isidentifier() else None:
            for _, name, command in _commands_of(cmd_name):
                if name == cmd_name:
                    return command
        return next((names[cmd_name] for names in self.sections().values() if cmd_name in names), None)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each section."""
        for section, names in self.sections().items():
            with formatter.section(section):
                formatter.write_dl(rows_of(names))


def _commands_of(module: str) -> Iterator[tuple[Section, str, click.Command]]:
    for section, listed in importlib.import_module(f"{commands.__name__}.{module}").COMMANDS.items():
        yield from ((section, str(command.name), command) for command in listed)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", metavar="DIR", type=FileName(is_folder=True), help="Folder of this Hive [HIVE_HOME, ~/.hive].")
@click.option("--broker-url", metavar="URL", help="Redis that carries the jobs [HIVE_BROKER_URL].")
@click.option("--store", metavar="URL", help="Where files are kept by content [HIVE_STORE].")
@click.version_option(package_name="hive-compute", message="%(version)s")
@click.pass_context
def hive(ctx: click.Context, /, **flags: str | None) -> None:
    """Send heavy work to other machines, and bring the results back."""
    ctx.obj = flags


def run(arguments: list[str] | None) -> int:
    """Run the command line; returns the exit code."""
    if instruction := os.environ.get(completion.VARIABLE):
        return completion.answer(hive, instruction)
    try:
        with hive.make_context("hive", sys.argv[1:] if arguments is None else arguments) as context:
            code: object = hive.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except HiveError as error:
        click.echo(f"hive: {error}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        is_root = error.ctx.parent is None  # `hive` alone asks what there is; `hive submit gis` lacks its task
        click.echo(error.format_message(), err=not is_root)
        return 0 if is_root else 2
    except click.ClickException as error:
        hint = f" See: {error.ctx.command_path} --help." if isinstance(error, click.UsageError) and error.ctx else ""
        click.echo(f"hive: {error.format_message()}{hint}", err=True)
        return 2
    except click.Abort:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has enough; nothing left may fail
        return 0
    return code if isinstance(code, int) else 0

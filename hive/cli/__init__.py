"""The command `hive`: finds the command that is meant, and turns errors into one sentence and an exit code."""

import importlib
import sys
from typing import Any, NoReturn

import click

from hive.errors import HiveError, did_you_mean

# Each command by the module that holds it; a module is imported when its command is called.
COMMANDS = {
    "submit": "submit",
    "map": "map",
    "jobs": "jobs",
    "show": "jobs",
    "why": "jobs",
    "logs": "logs",
    "wait": "jobs",
    "fetch": "jobs",
    "cancel": "jobs",
    "retry": "jobs",
    "workers": "workers",
    "queues": "workers",
    "status": "workers",
    "describe": "submit",
    "up": "mac",
    "down": "mac",
    "restart": "mac",
    "home": "home",
    "dashboard": "mac",
    "cost": "cost",
    "doctor": "mac",
    "worker": "workers",
    "deploy": "deploy",
    "access": "access",
    "fleet": "machines",
    "gateway": "mac",
    "config": "config",
    "completion": "config",
}
_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of a working day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            known = ", ".join(COMMANDS)
            hint = did_you_mean(cmd_name, COMMANDS)
            raise click.UsageError(f"There is no command {cmd_name!r}. Known are: {known}.{hint}", ctx)
        module = importlib.import_module(f"hive.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", metavar="DIR", help="Folder of this Hive [HIVE_HOME, ~/.hive].")
@click.option("--broker-url", metavar="URL", help="Redis that carries the jobs [HIVE_BROKER_URL].")
@click.option("--store", metavar="URL", help="Where files are kept by content [HIVE_STORE].")
@click.version_option(package_name="hive-compute", message="%(version)s")
@click.pass_context
def hive(ctx: click.Context, /, **flags: str | None) -> None:
    """Send heavy work to other machines, and bring the results back."""
    ctx.obj = flags


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every expected error is one sentence on stderr."""
    try:
        code: Any = hive.main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except HiveError as error:
        click.echo(f"hive: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        is_root = error.ctx.parent is None  # `hive` alone asks what there is; `hive submit gis` lacks its task
        click.echo(error.format_message(), err=not is_root)
        sys.exit(0 if is_root else 2)
    except click.ClickException as error:
        hint = f" See: {error.ctx.command_path} --help." if isinstance(error, click.UsageError) and error.ctx else ""
        click.echo(f"hive: {error.format_message()}{hint}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough; the interpreter would complain at exit
        sys.exit(0)

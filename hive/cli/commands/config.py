"""`hive config` and `hive completion`."""

import click

from hive.cli.common import Section, current_settings, json_option, print_json, print_table
from hive.cli.completion import SHELLS, VARIABLE, Word
from hive.errors import UnknownNameError, did_you_mean


@click.command()
@click.option("--show-origin", is_flag=True, help="Say where each value comes from.")
@json_option
def config(show_origin: bool, as_json: bool) -> None:
    """Show all settings. Flags override the environment, then config.toml, then the defaults."""
    from hive.settings import SETTINGS

    settings = current_settings()
    shown = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        text = _shown(setting.name, "" if value is None else str(value), is_secret=setting.is_secret)
        entry = {"variable": setting.variable, "value": text, "help": setting.help}
        shown.append(entry | ({"origin": settings.origins[setting.name]} if show_origin else {}))
    if as_json:
        print_json(shown)
        return
    columns = ["variable", "value", "origin"] if show_origin else ["variable", "value", "help"]
    rows = [[entry[column] for column in columns] for entry in shown]
    print_table([column.upper() for column in columns], rows, "There are no settings.")


def _shown(name: str, value: str, *, is_secret: bool) -> str:
    """A setting without what nobody should read over a shoulder."""
    from hive.store.connection import public_address

    if not is_secret or not value:
        return value
    return f"redis://{public_address(value)}" if name == "broker_url" else "(set)"


@click.command()
@click.argument("shell", type=Word(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for bash, zsh or fish.

    \b
      eval "$(hive completion zsh)"
    """  # noqa: D301  click wants the character \b itself
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell) if shell in SHELLS else None
    if found is None:
        hint = did_you_mean(shell, SHELLS)
        raise UnknownNameError(f"There is no completion for {shell!r}. Known are: {', '.join(SHELLS)}.{hint}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "hive", VARIABLE).source())


COMMANDS = {Section.MAC: (config, completion)}

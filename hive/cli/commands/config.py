"""`hive config` and `hive completion`."""

import os

import click

from hive.cli.common import Group, Section, current_settings, json_option, print_json, print_table
from hive.cli.completion import SHELLS, VARIABLE, Word, setting_names
from hive.errors import SettingError, UnknownNameError, did_you_mean


@click.group(cls=Group, invoke_without_command=True)
@click.option("--show-origin", is_flag=True, help="Say where each value comes from.")
@json_option
@click.pass_context
def config(ctx: click.Context, /, show_origin: bool, as_json: bool) -> None:
    """Show and change the settings. Flags override the environment, then config.toml, then the defaults.

    \b
      hive config --show-origin
      hive config set lease_s 30
      hive config unset lease_s
    """  # noqa: D301  click wants the character \b itself
    if ctx.invoked_subcommand is None:
        _show(show_origin=show_origin, as_json=as_json)


def _show(*, show_origin: bool, as_json: bool) -> None:
    from hive.settings import SETTINGS

    settings = current_settings()
    entries = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        text = _visible(setting.name, "" if value is None else str(value), is_secret=setting.is_secret)
        entry = {"variable": setting.variable, "value": text, "help": setting.help}
        entries.append(entry | ({"origin": settings.origins[setting.name]} if show_origin else {}))
    if as_json:
        print_json(entries)
        return
    columns = ["variable", "value", "origin"] if show_origin else ["variable", "value", "help"]
    rows = [[entry[column] for column in columns] for entry in entries]
    print_table([column.upper() for column in columns], rows, "There are no settings.")


@config.command("set")
@click.argument("name", type=Word(setting_names))
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Write a setting to config.toml, for all later commands."""
    from urllib.parse import urlsplit

    from hive.settings import find_setting, write_setting

    settings, setting = current_settings(), find_setting(name)
    if setting.is_secret and (setting.name != "broker_url" or urlsplit(value).password):
        raise SettingError(
            f"{setting.variable} is a secret, which other users of this machine could see in a command. "
            f"Write it to {settings.config_file} with an editor, or to the file that {_file_of(setting.name)} names."
        )
    write_setting(settings, name, value)
    click.echo(f"{setting.name} is set in {settings.config_file}.", err=True)
    _warn_of_environment(setting.variable)


@config.command()
@click.argument("name", type=Word(setting_names))
def unset(name: str) -> None:
    """Remove a setting from config.toml."""
    from hive.settings import find_setting, write_setting

    settings, setting = current_settings(), find_setting(name)
    write_setting(settings, name, None)
    click.echo(f"{setting.name} is not in {settings.config_file} any more.", err=True)
    _warn_of_environment(setting.variable)


def _file_of(name: str) -> str:
    return "HIVE_TOKEN_FILE" if name == "token" else "HIVE_PASSWORD_FILE"


def _warn_of_environment(variable: str) -> None:
    if os.environ.get(variable):
        click.echo(f"{variable} is set in your shell and overrides it: unset {variable}.", err=True)


def _visible(name: str, value: str, *, is_secret: bool) -> str:
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

    completer = get_completion_class(shell) if shell in SHELLS else None
    if completer is None:
        hint = did_you_mean(shell, SHELLS)
        raise UnknownNameError(f"There is no completion for {shell!r}. Known are: {', '.join(SHELLS)}.{hint}")
    root = click.get_current_context().find_root().command
    click.echo(completer(root, {}, "hive", VARIABLE).source())


COMMANDS = {Section.MAC: (config, completion)}

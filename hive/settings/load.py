"""Load the settings of a process, and write single ones: flags before environment before config.toml before default."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hive.errors import SettingError, did_you_mean
from hive.settings import kinds
from hive.settings.kinds import Setting
from hive.settings.paths import moved_file, opened_file, role_password, tls_folder
from hive.settings.schema import SETTINGS, Settings, find_setting
from hive.settings.secrets import read_secret, write_private

_TOML_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?")


def load_settings(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Collect the settings for this process.

    Parameters
    ----------
    flags : values from the command line by field name; None and missing ones do not count
    environment : the variables; those of this process if none are given

    Raises
    ------
    SettingError
        A value cannot be used, config.toml is not valid TOML, or it names a setting that does not exist.
    """
    from_flags = {name: str(value) for name, value in (flags or {}).items() if value is not None}
    variables = os.environ if environment is None else environment
    home = kinds.path(from_flags.get("home") or variables.get("HIVE_HOME") or "~/.hive")
    config = home / "config.toml"
    from_file = _read_config(config)
    values: dict[str, Any] = {"home": home}
    origins = {"home": _home_origin(from_flags, variables)}
    for setting in SETTINGS:
        if setting.name == "home":
            continue
        for origin, text in (
            (f"flag --{setting.name.replace('_', '-')}", from_flags.get(setting.name)),
            (f"environment {setting.variable}", variables.get(setting.variable)),
            (str(config), from_file.get(setting.name)),
        ):
            if text:
                if setting.read is kinds.path and origin == str(config):  # a home may be copied to another place
                    text = str(home / Path(text).expanduser())
                values[setting.name] = setting.parse(text, origin)
                origins[setting.name] = origin
                break
    return _with_derived(Settings(**values), origins)


def _home_origin(flags: Mapping[str, str], variables: Mapping[str, str]) -> str:
    if flags.get("home"):
        return "flag --home"
    return "environment HIVE_HOME" if variables.get("HIVE_HOME") else "default"


def _read_config(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return _parse_config(path, path.read_bytes())
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error}.") from error


def _parse_config(path: Path, content: bytes) -> dict[str, str]:
    import tomllib  # noqa: PLC0415  15 ms that most starts need not pay

    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}.") from error
    names = [setting.name for setting in SETTINGS if setting.name != "home"]
    for name in table:
        if name not in names:
            raise SettingError(
                f"{path} has an unknown setting {name!r}. Settings: {', '.join(names)}.{did_you_mean(name, names)}"
            )
    return {name: str(value) for name, value in table.items()}


def write_setting(settings: Settings, name: str, value: object) -> None:
    """Write one setting to config.toml, for all later commands of this Hive; other lines stay as they are.

    Parameters
    ----------
    name : as in config.toml, or the name of the variable
    value : checked as if it came from the environment; None removes the setting from the file

    Raises
    ------
    SettingError
        There is no such setting, it cannot have this value or be in the file, or the file is broken.
    """
    setting = find_setting(name)
    if setting.name == "home":
        raise SettingError("HIVE_HOME cannot be in config.toml, which is in that folder. Set it in your shell.")
    file = settings.config_file.resolve()  # a link into somebody's collection of settings stays a link
    old = file.read_text().splitlines() if file.exists() else []
    new = [] if value is None else [f"{setting.name} = {_toml(setting, str(value))}"]
    lines: list[str] = []
    for line in old:
        if line.partition("=")[0].strip() != setting.name:
            lines.append(line)
        elif new:
            lines.append(new.pop())
    text = "\n".join([*lines, *new, ""])
    _parse_config(file, text.encode())
    write_private(file, text)


def _toml(setting: Setting, text: str) -> str:
    """A value as config.toml has it: numbers and booleans bare, paths absolute, as the file is read from elsewhere."""
    value = setting.parse(text, "config.toml")
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float) and _TOML_NUMBER.fullmatch(text):
        return text
    words = str(value) if isinstance(value, Path) else text
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with_derived(settings: Settings, origins: dict[str, str]) -> Settings:
    """Fill in what follows from other settings."""
    values: dict[str, Any] = {
        setting.name: settings.home / setting.under_home.format(role=settings.role)
        for setting in SETTINGS
        if setting.under_home and setting.name not in origins
    }
    if "password_file" not in origins:
        values["password_file"] = role_password(settings.home, settings.role)
    if not settings.broker_url and opened_file(settings.home).exists():
        own = tls_folder(settings.home) / settings.role
        files = {"ca_file": own / "ca.pem", "cert_file": own / "cert.pem", "key_file": own / "key.pem"}
        values |= {name: file for name, file in files.items() if name not in origins}
    settings = dataclasses.replace(settings, **values)
    if not settings.broker_url:
        values["broker_url"], origins["broker_url"] = _local_broker(settings)
    elif "password_file" in origins:
        values["broker_url"] = _named_broker(settings)
    if not settings.token:
        values["token"], origins["token"] = _local_token(settings)
    if not settings.gateway_url:
        values["gateway_url"] = f"http://127.0.0.1:{settings.gateway_port}"
    if not settings.store:
        values["store"], origins["store"] = _default_store(settings)
    all_origins = {setting.name: origins.get(setting.name, "default") for setting in SETTINGS}
    return dataclasses.replace(settings, **values, origins=all_origins)


def _local_broker(settings: Settings) -> tuple[str, str]:
    """The Redis that `hive up` started under this home, or would start."""
    scheme = "rediss" if opened_file(settings.home).exists() else "redis"
    address = f"{scheme}://{settings.role}@127.0.0.1:{settings.redis_port}/0"
    password = read_secret(settings.password_file)
    return (_with_password(address, password), str(settings.password_file)) if password else (address, "default")


def _named_broker(settings: Settings) -> str:
    """The broker that was configured, with the password from the file that was configured too."""
    if urlsplit(settings.broker_url).password is not None:
        return settings.broker_url
    password = read_secret(settings.password_file)
    if not password:
        raise SettingError(f"HIVE_PASSWORD_FILE names {settings.password_file}, which does not exist or is empty.")
    return _with_password(settings.broker_url, password)


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{address}").geturl()


def _local_token(settings: Settings) -> tuple[str, str]:
    """The token of the gateway of this home; empty if it has not been started yet."""
    token = read_secret(settings.token_file)
    return (token, str(settings.token_file)) if token else ("", "default")


def _default_store(settings: Settings) -> tuple[str, str]:
    """The gateway's store. If no gateway is configured, it is on this machine, and its folder is used directly."""
    if settings.gateway_url:
        return f"{settings.gateway_url}/blob", "HIVE_GATEWAY_URL"
    if moved_file(settings.home).exists():
        return f"http://127.0.0.1:{settings.gateway_port}/blob", str(moved_file(settings.home))
    return (settings.home / "store").as_uri(), "default"


def host_name() -> str:
    """The name of this machine."""
    return os.uname().nodename or "localhost"

"""Hive's settings, each declared once: flags before environment before config.toml before the default."""

from hive.settings.kinds import ROLES, Setting
from hive.settings.load import host_name, load_settings, write_setting
from hive.settings.paths import (
    containers_folder,
    moved_file,
    opened_file,
    role_password,
    start_command,
    tls_folder,
)
from hive.settings.schema import SETTINGS, Settings, find_setting
from hive.settings.secrets import secret, worker_token, write_private

__all__ = [
    "ROLES",
    "SETTINGS",
    "Setting",
    "Settings",
    "containers_folder",
    "find_setting",
    "host_name",
    "load_settings",
    "moved_file",
    "opened_file",
    "role_password",
    "secret",
    "start_command",
    "tls_folder",
    "worker_token",
    "write_private",
    "write_setting",
]

"""Starting the Mac side at login: a launch agent on macOS, a systemd user unit on Linux."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hive.errors import ServiceError
from hive.settings import SETTINGS, Settings

_TIMEOUT_S = 30.0
_MACOS = "darwin"


def install(settings: Settings, options: Sequence[str] = (), platform: str = sys.platform) -> Path:
    """Have `hive up` run with these options whenever the user logs in; returns the file that says so.

    Raises
    ------
    ServiceError
        There is neither launchd nor systemd for this user, or it refuses.
    """
    file = agent_file(settings, platform)
    command = [sys.executable, "-P", "-m", "hive", "up", *options]  # -P: no module of the folder that it starts in
    environment = _environment(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    if platform == _MACOS:
        file.write_bytes(_plist(file.stem, command, environment))
    else:
        file.write_text(_unit(settings, command, environment))
    try:
        _enable(file, platform)
    except ServiceError:
        file.unlink()
        raise
    return file


def remove(settings: Settings, platform: str = sys.platform) -> bool:
    """Undo `install`; what runs goes on. Returns whether there was anything to undo."""
    file = agent_file(settings, platform)
    if not file.exists():
        return False
    if platform == _MACOS:
        _run(["launchctl", "bootout", f"{_domain()}/{file.stem}"], is_needed=False)
    else:
        _run(["systemctl", "--user", "disable", file.name], is_needed=False)
    file.unlink()
    return True


def is_installed(settings: Settings, platform: str = sys.platform) -> bool:
    """Whether the Mac side of this home starts at login."""
    return agent_file(settings, platform).exists()


def agent_file(settings: Settings, platform: str = sys.platform) -> Path:
    """The file that launchd or systemd reads; each home has its own."""
    home = hashlib.sha256(str(settings.home).encode()).hexdigest()[:8]
    if platform == _MACOS:
        return Path.home() / f"Library/LaunchAgents/hive-compute.{home}.plist"
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / f"systemd/user/hive-{home}.service"


def _environment(settings: Settings) -> dict[str, str]:
    """What differs from the defaults because of this shell; no secret is written down."""
    given = {
        setting.variable: str(getattr(settings, setting.name))
        for setting in SETTINGS
        if not setting.is_secret and settings.origins[setting.name] == f"environment {setting.variable}"
    }
    return given | {"HIVE_HOME": str(settings.home), "PATH": os.environ.get("PATH", os.defpath)}


def _plist(label: str, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    import plistlib  # noqa: PLC0415  only here

    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(command),
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "AbandonProcessGroup": True,  # Redis and the gateway go on when `hive up` has ended
            "ProcessType": "Background",
        }
    )


def _unit(settings: Settings, command: Sequence[str], environment: Mapping[str, str]) -> str:
    lines = [
        "[Unit]",
        f"Description=Redis and the gateway of Hive in {_escaped(str(settings.home))}",
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items()),
        f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in command)}",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    ]
    return "\n".join(lines)


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) quotes it."""
    escaped = _escaped(word).replace('"', '\\"')
    return f'"{escaped}"'


def _escaped(word: str) -> str:
    if any(char < " " for char in word):
        raise ServiceError(f"A systemd unit cannot hold {word!r}: it has control characters.")
    return word.replace("\\", "\\\\").replace("%", "%%")


def _enable(file: Path, platform: str) -> None:
    if platform == _MACOS:
        _run(["launchctl", "bootout", f"{_domain()}/{file.stem}"], is_needed=False)  # an older one of the same name
        _run(["launchctl", "bootstrap", _domain(), str(file)])
    else:
        _run(["systemctl", "--user", "daemon-reload"])
        _run(["systemctl", "--user", "enable", file.name])


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _run(command: list[str], *, is_needed: bool = True) -> None:
    """Run a program of the system.

    Raises
    ------
    ServiceError
        It is needed, and is missing or fails.
    """
    program = shutil.which(command[0])
    if program is None:
        if is_needed:
            raise ServiceError(f"Starting at login needs {command[0]}, which is not on this machine.")
        return
    try:
        ended = subprocess.run(  # noqa: S603  a program of the system, with words of our own
            [program, *command[1:]], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"{' '.join(command)} failed: {error}.") from error
    if is_needed and ended.returncode != 0:
        words = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise ServiceError(f"{' '.join(command)} failed: {words}")

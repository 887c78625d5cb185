"""Tunnels over ssh from here: they bring Redis and the gateway to machines, or those of another machine here.

They begin and end at 127.0.0.1, so no port is open to a network on either side. Each is held by a process of its own
(`tunnel_keeper`), from `hive up` to `hive down`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from hive.errors import ServiceError
from hive.home import tunnel_keeper
from hive.home.service import HOST, Service, has_ended
from hive.settings import Settings, write_private
from hive.wire.record import read_record

_STOP_S = 10.0
_LOOK_EVERY_S = 0.05
# Nobody is there to be asked; our agent, screen and commands stay here; a silent connection ends within 15 s.
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "2",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
_ALONE = {"ControlMaster": "no", "ControlPath": "none", "ExitOnForwardFailure": "yes"}
# `$PPID` is the sshd of this connection. `cat` ends when ssh here ends, and so does everything when this side is gone.
_HOLD = """sh -c 'echo $PPID >"$HOME/{folder}/{name}/tunnel.pid"; echo "{up}"; exec cat >/dev/null'"""
_CLEAR = (
    """sh -c 'pid=$(cat "$HOME/{folder}/{name}/tunnel.pid") && """
    """case $(ps -p "$pid" -o args=) in *sshd*) kill "$pid" ;; esac'"""
)


@dataclass(frozen=True)
class Tunnel:
    """To which machine, with which file of ssh's settings, and at which ports of 127.0.0.1 it ends there.

    With `is_home` Redis and the gateway are there, at these ports, and the tunnel brings them here.
    """

    name: str
    destination: str
    ssh_config: str
    redis_port: int
    gateway_port: int
    is_home: bool = False

    @property
    def service(self) -> str:
        """What it is called beside Redis and the gateway."""
        return "tunnel home" if self.is_home else f"tunnel {self.name}"

    @property
    def folder(self) -> str:
        """Where it keeps its notes in the home folder there."""
        return ".hive-home" if self.is_home else ".hive-worker"

    @property
    def forwardings(self) -> tuple[int, int]:
        """The ports there: for Redis and for the gateway."""
        return self.redis_port, self.gateway_port


@dataclass(frozen=True)
class TunnelState:
    """How a tunnel is: `up`, `down`, `connecting`, or `stopped` where nobody holds it."""

    name: str
    destination: str
    state: str
    since_s: float | None = None
    drops: int = 0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        return asdict(self)


def ssh_command(ssh_config: str) -> list[str]:
    """The system's ssh, with the user's own settings, agent, jump hosts and known hosts."""
    options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *(["-F", ssh_config] if ssh_config else []), *options]


def alone(ssh_config: str) -> list[str]:
    """As `ssh_command`, over a connection that nobody shares."""
    return [*ssh_command(ssh_config), *(word for name, value in _ALONE.items() for word in ("-o", f"{name}={value}"))]


def forwardings(settings: Settings, ports: tuple[int, int]) -> list[str]:
    """What ssh is told to bring to these ports of the machine: Redis and the gateway of this home."""
    own = (settings.redis_port, settings.gateway_port)
    pairs = zip(ports, own, strict=True)
    return [word for there, here in pairs for word in ("-R", f"{HOST}:{there}:{HOST}:{here}")]


def _forwardings_home(settings: Settings, ports: tuple[int, int]) -> list[str]:
    """What ssh is told to bring from these ports of the machine to the usual ones here."""
    own = (settings.redis_port, settings.gateway_port)
    pairs = zip(ports, own, strict=True)
    return [word for there, here in pairs for word in ("-L", f"{HOST}:{here}:{HOST}:{there}")]


def keep(settings: Settings, tunnel: Tunnel) -> None:
    """Write a tunnel down, for each later `hive up`."""
    write_private(_plan_file(settings, tunnel.name), json.dumps(asdict(tunnel)))


def planned(settings: Settings) -> list[Tunnel]:
    """All tunnels of this home, by name."""
    return [read_record(Tunnel, file.read_bytes(), str(file)) for file in sorted(_folder(settings).glob("*.plan"))]


def start_all(settings: Settings) -> list[Service]:
    """Hold every tunnel."""
    return [start(settings, one) for one in planned(settings)]


def stop_all(settings: Settings) -> dict[str, int]:
    """Let go of every tunnel; returns the former processes by name."""
    ended = {one.service: stop(settings, one.name) for one in planned(settings)}
    return {name: pid for name, pid in ended.items() if pid is not None}


def start(settings: Settings, tunnel: Tunnel) -> Service:
    """Hold a tunnel, if nobody holds it yet. It may take a while to come up: see `state`."""
    address = f"{tunnel.destination} {HOST}:{tunnel.redis_port}"
    command = _command(settings, tunnel)
    pid = _running_pid(settings, tunnel.name)
    if pid is not None and _told(settings, tunnel.name).get("command") == command:
        return Service(tunnel.service, address, pid, is_new=False)
    stop(settings, tunnel.name)  # what it held ended at other ports
    pid = _start_keeper(settings, tunnel, json.dumps({"command": command, "clear": _clear(tunnel)}))
    return Service(tunnel.service, address, pid, is_new=True)


def _start_keeper(settings: Settings, tunnel: Tunnel, work: str) -> int:
    with _log_file(settings, tunnel.name).open("w") as log:
        process = subprocess.Popen(  # noqa: S603  our own program; what it runs is a list of words
            # -I -S: without the environment's packages, it takes half the memory.
            [sys.executable, "-I", "-S", *_words_of_keeper(settings, tunnel.name)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _hand_over(settings, tunnel, process, work)
    except BaseException:  # Ctrl-C too must not leave one of which nobody knows
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # it outlives this command, which need not wait for it
    return process.pid


def _hand_over(settings: Settings, tunnel: Tunnel, process: subprocess.Popen[bytes], work: str) -> None:
    """Give a keeper its work, and wait until it has begun."""
    assert process.stdin is not None  # noqa: S101  it is a pipe
    process.stdin.write(work.encode())
    process.stdin.close()
    end = time.monotonic() + _STOP_S
    while _told(settings, tunnel.name).get("pid") != process.pid:
        if process.poll() is not None or time.monotonic() > end:
            log_file = _log_file(settings, tunnel.name)
            raise ServiceError(f"The tunnel to {tunnel.destination} did not start. Its log says why: {log_file}.")
        time.sleep(_LOOK_EVERY_S)


def stop(settings: Settings, name: str) -> int | None:
    """Let go of a tunnel; returns the former process, None where nobody held it.

    Raises
    ------
    ServiceError
        The process does not end.
    """
    pid = _running_pid(settings, name)
    if pid is not None:
        process = psutil.Process(pid)
        process.terminate()
        if not has_ended(process, _STOP_S):
            raise ServiceError(f"The tunnel {name} (process {pid}) does not end.")
    _state_file(settings, name).unlink(missing_ok=True)
    return pid


def forget(settings: Settings, name: str) -> None:
    """Let go of a tunnel, and do not hold it again."""
    stop(settings, name)
    for file in (_plan_file(settings, name), _log_file(settings, name)):
        file.unlink(missing_ok=True)


def state(settings: Settings, tunnel: Tunnel) -> TunnelState:
    """How a tunnel is."""
    told = _told(settings, tunnel.name)
    if _running_pid(settings, tunnel.name) is None:
        return TunnelState(tunnel.name, tunnel.destination, "stopped")
    shown = {name: told[name] for name in ("state", "since_s", "drops", "error")}
    return TunnelState(tunnel.name, tunnel.destination, **shown)


def states(settings: Settings) -> Iterator[TunnelState]:
    """How all tunnels to workers are."""
    return (state(settings, one) for one in planned(settings) if not one.is_home)


def with_tunnels(workers: Iterable[dict[str, Any]], tunnels: Iterable[TunnelState]) -> list[dict[str, Any]]:
    """Say of each worker how the tunnel to its machine is; None where there is none."""
    held = {one.name: one.to_json() for one in tunnels}
    return [one | {"tunnel": held.get(one["name"].partition("@")[2])} for one in workers]


def _command(settings: Settings, tunnel: Tunnel) -> list[str]:
    brings = _forwardings_home if tunnel.is_home else forwardings
    words = [*alone(tunnel.ssh_config), *brings(settings, tunnel.forwardings)]
    hold = _HOLD.format(folder=tunnel.folder, name=tunnel.name, up=tunnel_keeper.UP)
    return [*words, "--", tunnel.destination, hold]


def _clear(tunnel: Tunnel) -> list[str]:
    return [*alone(tunnel.ssh_config), "--", tunnel.destination, _CLEAR.format(folder=tunnel.folder, name=tunnel.name)]


def _words_of_keeper(settings: Settings, name: str) -> list[str]:
    return [tunnel_keeper.__file__, str(_state_file(settings, name))]


def _running_pid(settings: Settings, name: str) -> int | None:
    try:
        process = psutil.Process(int(_told(settings, name)["pid"]))
        is_ours = process.cmdline()[-2:] == _words_of_keeper(settings, name)
        return process.pid if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (KeyError, psutil.Error):
        return None


def _told(settings: Settings, name: str) -> dict[str, Any]:
    """What the keeper of a tunnel has written down last."""
    try:
        told: dict[str, Any] = json.loads(_state_file(settings, name).read_text())
    except (OSError, ValueError):
        return {}
    return told


def _folder(settings: Settings) -> Path:
    return settings.home / "tunnels"


def _plan_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.plan"


def _state_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.json"


def _log_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.log"

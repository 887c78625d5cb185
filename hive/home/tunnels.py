"""SSH tunnels from here: they forward Redis and the gateway to other machines, or those of another machine to here.

They begin and end at 127.0.0.1, so no port is open to a network on either side. Each has a supervisor process
(`tunnel_supervisor`), from `hive up` to `hive down`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from hive.errors import ServiceError
from hive.home import tunnel_supervisor
from hive.home.service import HOST, Service, has_ended
from hive.settings import Settings, write_private
from hive.wire.record import read_record

_STOP_S = 10.0
_POLL_S = 0.05
# Nobody can answer a prompt; our agent, screen and commands stay here; a silent connection ends within 15 s.
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
_UNSHARED = {"ControlMaster": "no", "ControlPath": "none", "ExitOnForwardFailure": "yes"}
# `$PPID` is the sshd of this connection. `cat` ends when ssh here ends: nothing stays there when this side is gone.
_HOLD = """sh -c 'echo $PPID >"$HOME/{folder}/{name}/tunnel.pid"; echo "{up}"; exec cat >/dev/null'"""
_CLEAR = (
    """sh -c 'pid=$(cat "$HOME/{folder}/{name}/tunnel.pid") && """
    """case $(ps -p "$pid" -o args=) in *sshd*) kill "$pid" ;; esac'"""
)


@dataclass(frozen=True)
class Tunnel:
    """To which machine, with which ssh configuration, and to which ports of 127.0.0.1 there.

    With `is_home` Redis and the gateway are there, on these ports, and are forwarded to here.
    """

    name: str
    destination: str
    ssh_config: str
    redis_port: int
    gateway_port: int
    is_home: bool = False

    @property
    def service(self) -> str:
        """Its name among the services."""
        return "tunnel home" if self.is_home else f"tunnel {self.name}"

    @property
    def folder(self) -> str:
        """Its folder in the home folder there."""
        return ".hive-home" if self.is_home else ".hive-worker"

    @property
    def forwardings(self) -> tuple[int, int]:
        """Ports there: of Redis and of the gateway."""
        return self.redis_port, self.gateway_port


@dataclass(frozen=True)
class TunnelState:
    """State of a tunnel: `up`, `down`, `connecting`, or `stopped` without a supervisor."""

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
    return ["ssh", *(["-F", ssh_config] if ssh_config else []), *_options(_OPTIONS)]


def unshared_ssh(ssh_config: str) -> list[str]:
    """As `ssh_command`, over a connection of its own, also where the user shares one (ControlMaster)."""
    return [*ssh_command(ssh_config), *_options(_UNSHARED)]


def _options(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def forwardings(settings: Settings, ports: tuple[int, int]) -> list[str]:
    """Options that forward Redis and the gateway of this home to these ports of the machine."""
    own = (settings.redis_port, settings.gateway_port)
    pairs = zip(ports, own, strict=True)
    return [word for there, here in pairs for word in ("-R", f"{HOST}:{there}:{HOST}:{here}")]


def _forwardings_home(settings: Settings, ports: tuple[int, int]) -> list[str]:
    """Options that forward these ports of the machine to the usual ones here."""
    own = (settings.redis_port, settings.gateway_port)
    pairs = zip(ports, own, strict=True)
    return [word for there, here in pairs for word in ("-L", f"{HOST}:{here}:{HOST}:{there}")]


def add(settings: Settings, tunnel: Tunnel) -> None:
    """Add a tunnel, for each later `hive up`."""
    write_private(_plan_file(settings, tunnel.name), json.dumps(asdict(tunnel)))


def all_tunnels(settings: Settings) -> list[Tunnel]:
    """All tunnels of this home, by name."""
    return [read_record(Tunnel, file.read_bytes(), str(file)) for file in sorted(_folder(settings).glob("*.plan"))]


def start_all(settings: Settings) -> list[Service]:
    """Start every tunnel."""
    return [start(settings, tunnel) for tunnel in all_tunnels(settings)]


def stop_all(settings: Settings) -> dict[str, int]:
    """Stop every tunnel; returns the former processes by name."""
    ended = {tunnel.service: stop(settings, tunnel.name) for tunnel in all_tunnels(settings)}
    return {name: pid for name, pid in ended.items() if pid is not None}


def start(settings: Settings, tunnel: Tunnel) -> Service:
    """Start a tunnel that does not run yet. It may take a while to come up: see `state`."""
    address = f"{tunnel.destination} {HOST}:{tunnel.redis_port}"
    command = _command(settings, tunnel)
    pid = _running_pid(settings, tunnel.name)
    if pid is not None and _record(settings, tunnel.name).get("command") == command:
        return Service(tunnel.service, address, pid, is_new=False)
    stop(settings, tunnel.name)  # it ended at other ports
    pid = _start_supervisor(settings, tunnel, json.dumps({"command": command, "clear": _clear(tunnel)}))
    return Service(tunnel.service, address, pid, is_new=True)


def _start_supervisor(settings: Settings, tunnel: Tunnel, work: str) -> int:
    with _log_file(settings, tunnel.name).open("w") as log:
        process = subprocess.Popen(  # noqa: S603  our own program; what it runs is a list of words
            # -I -S: without the environment's packages, it takes half the memory.
            [sys.executable, "-I", "-S", *_supervisor_arguments(settings, tunnel.name)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _hand_over(settings, tunnel, process, work)
    except BaseException:  # Ctrl-C must not leave an unknown process either
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # it outlives this command, which need not wait for it
    return process.pid


def _hand_over(settings: Settings, tunnel: Tunnel, process: subprocess.Popen[bytes], work: str) -> None:
    """Give the supervisor its work, and wait until it has begun."""
    assert process.stdin is not None  # noqa: S101  it is a pipe
    process.stdin.write(work.encode())
    process.stdin.close()
    end = time.monotonic() + _STOP_S
    while _record(settings, tunnel.name).get("pid") != process.pid:
        if process.poll() is not None or time.monotonic() > end:
            log_file = _log_file(settings, tunnel.name)
            raise ServiceError(f"The tunnel to {tunnel.destination} did not start. See its log: {log_file}.")
        time.sleep(_POLL_S)


def stop(settings: Settings, name: str) -> int | None:
    """Stop a tunnel; returns the former process, None if it did not run.

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


def remove(settings: Settings, name: str) -> None:
    """Stop a tunnel, and do not start it again."""
    stop(settings, name)
    for file in (_plan_file(settings, name), _log_file(settings, name)):
        file.unlink(missing_ok=True)


def state(settings: Settings, tunnel: Tunnel) -> TunnelState:
    """The state of a tunnel."""
    record = _record(settings, tunnel.name)
    if _running_pid(settings, tunnel.name) is None:
        return TunnelState(tunnel.name, tunnel.destination, "stopped")
    fields = {name: record[name] for name in ("state", "since_s", "drops", "error")}
    return TunnelState(tunnel.name, tunnel.destination, **fields)


def states(settings: Settings) -> Iterator[TunnelState]:
    """The states of all tunnels to workers."""
    return (state(settings, tunnel) for tunnel in all_tunnels(settings) if not tunnel.is_home)


def with_tunnels(workers: Iterable[dict[str, Any]], tunnels: Iterable[TunnelState]) -> list[dict[str, Any]]:
    """Add to each worker the state of the tunnel to its machine; None without one."""
    by_host = {tunnel.name: tunnel.to_json() for tunnel in tunnels}
    return [worker | {"tunnel": by_host.get(worker["name"].partition("@")[2])} for worker in workers]


def _command(settings: Settings, tunnel: Tunnel) -> list[str]:
    options = _forwardings_home if tunnel.is_home else forwardings
    words = [*unshared_ssh(tunnel.ssh_config), *options(settings, tunnel.forwardings)]
    hold = _HOLD.format(folder=tunnel.folder, name=tunnel.name, up=tunnel_supervisor.UP)
    return [*words, "--", tunnel.destination, hold]


def _clear(tunnel: Tunnel) -> list[str]:
    return [
        *unshared_ssh(tunnel.ssh_config),
        "--",
        tunnel.destination,
        _CLEAR.format(folder=tunnel.folder, name=tunnel.name),
    ]


def _supervisor_arguments(settings: Settings, name: str) -> list[str]:
    return [tunnel_supervisor.__file__, str(_state_file(settings, name))]


def _running_pid(settings: Settings, name: str) -> int | None:
    try:
        process = psutil.Process(int(_record(settings, name)["pid"]))
        is_ours = process.cmdline()[-2:] == _supervisor_arguments(settings, name)
        return process.pid if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (KeyError, psutil.Error):
        return None


def _record(settings: Settings, name: str) -> dict[str, Any]:
    """What the supervisor of a tunnel has recorded last."""
    try:
        record: dict[str, Any] = json.loads(_state_file(settings, name).read_text())
    except (OSError, ValueError):
        return {}
    return record


def _folder(settings: Settings) -> Path:
    return settings.home / "tunnels"


def _plan_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.plan"


def _state_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.json"


def _log_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.log"

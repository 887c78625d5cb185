"""A machine that is deployed to: how it is named, what it is, and what it lacks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hive.catalog import find_capability
from hive.errors import DeployError, SettingError
from hive.remote.bundle import script
from hive.remote.ssh import Connection
from hive.worker.starter import Node, read_nodes

# What ssh reads as a destination: [USER@]HOST, an alias of its settings, or ssh://[USER@]HOST[:PORT].
_DESTINATION = re.compile(r"(?:ssh://)?(?:\w[\w.+-]*@)?(\[?[A-Za-z0-9][\w.:%-]*\]?)", re.ASCII)
_NO_NAME = re.compile(r"[^a-z0-9]+")
_MOST_LETTERS = 32
_SLOTS = 1


class Via(StrEnum):
    """What keeps the worker running."""

    VENV = "venv"
    SYSTEMD = "systemd"
    DOCKER = "docker"


@dataclass(frozen=True)
class Target:
    """A machine to deploy to. What is None is as it was in an earlier deployment there, or the default.

    There is a tunnel by default unless this Mac side is open to the network. `python` names an interpreter there that
    has Hive's libraries. `allows_scripts` is its owner's word that whoever may submit may run scripts there.
    """

    destination: str
    capabilities: str | None = None
    name: str | None = None
    via: Via | None = None
    has_tunnel: bool | None = None
    python: str | None = None
    allows_scripts: bool | None = None


def host_of(destination: str) -> str:
    """The host of what ssh is told.

    >>> host_of("me@studio.local"), host_of("ssh://root@10.0.0.7:2222")
    ('studio.local', '10.0.0.7')

    Raises
    ------
    SettingError
        Ssh would read it as something else than a host.
    """
    match = _DESTINATION.fullmatch(destination)
    if match is None:
        raise SettingError(
            f"{destination!r} is no host for ssh: USER@HOST, a name of ~/.ssh/config, or ssh://HOST:PORT."
        )
    host = match[1]
    return re.sub(r":\d+$", "", host) if destination.startswith("ssh://") else host


def is_same_host(one: str, other: str) -> bool:
    """Whether two destinations are one machine, whoever logs in there.

    >>> is_same_host("me@studio", "root@studio"), is_same_host("ssh://studio:2222", "studio")
    (True, False)
    """
    first, second = (name.removeprefix("ssh://").rpartition("@")[2] for name in (one, other))
    return first == second


def name_for(destination: str) -> str:
    """What the worker is called that nobody has named: by its host, an address in full.

    >>> name_for("me@Studio.example.org"), name_for("root@10.0.0.7")
    ('studio', '10-0-0-7')
    """
    host = host_of(destination).lower()
    is_address = re.fullmatch(r"[\d.]+|.*:.*", host) is not None
    return _NO_NAME.sub("-", host if is_address else host.partition(".")[0]).strip("-")[:_MOST_LETTERS]


def nodes_of(capabilities: str) -> list[Node]:
    """What a worker serves, each capability once; one that names no number of jobs gets one at a time.

    Raises
    ------
    SettingError, UnknownNameError
        The words cannot be read, or there is no such capability.
    """
    nodes = [Node(find_capability(one.capability).name, one.slots) for one in read_nodes(capabilities, _SLOTS)]
    if len({one.capability for one in nodes}) < len(nodes):
        raise SettingError(f"{capabilities!r} names a capability twice.")
    return sorted(nodes, key=lambda one: one.capability)


def words_of(nodes: Sequence[Node]) -> str:
    """What `hive worker --capabilities` reads."""
    return ",".join(f"{one.capability}={one.slots}" for one in nodes)


_SYSTEMS = ("Linux", "Darwin")
_KIB = 1 << 10
_GB = 10**9
# Room that an installation takes, with what pip unpacks on its way, by capability; rounded up. A GPU's build of torch
# is several GB. `du -sh .venv` of the build for CPUs on Linux, November 2026: 2.5 GB for all of them.
_BASE_GB = 0.5
_ROOM_GB = {"gis": 1.0, "geophysics": 1.0, "training": 8.0, "3d-generation": 2.5}
_IMAGE_GB = 1.0
_SOURCE_GB = 0.01


@dataclass(frozen=True)
class Host:
    """A machine as it says itself; `installed` and `configured` are digests of what was put there, "" for nothing.

    `ends` counts how often the worker has ended since it was started, and was started again; a home `is_parked`
    while it is not the home.
    """

    system: str
    machine: str
    release: str
    user: str
    home: str
    cores: int
    memory_bytes: int
    free_bytes: int
    gpus: tuple[str, ...]
    docker: str
    has_docker: bool
    has_systemd: bool
    has_bash: bool
    python: str
    is_writable: bool
    is_running: bool
    installed: str
    configured: str
    log: str
    ends: int
    is_exposed: bool
    is_parked: bool = False

    @property
    def words(self) -> str:
        """One line for people."""
        gpus = "; ".join(self.gpus) or "no GPU"
        memory, free = self.memory_bytes / _GB, self.free_bytes / _GB
        docker = f"Docker {self.docker}" if self.has_docker else "no Docker"
        room = f"{memory:.1f} GB memory, {free:.1f} GB free"
        return f"{self.release or self.system} on {self.machine}, {self.cores} cores, {room}, {gpus}, {docker}"

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        names = ("system", "release", "machine", "user", "cores", "memory_bytes", "free_bytes", "gpus")
        return {name: getattr(self, name) for name in names} | {"docker": self.docker if self.has_docker else None}


def look_at(connection: Connection, name: str, python: str, port: int | None = None, kind: str = "worker") -> Host:
    """Ask a machine what it is and has, and whether the port where a tunnel ends is open to its network.

    Raises
    ------
    DeployError
        It does not answer as a machine with a POSIX shell does.
    """
    values = {"NAME": name, "KIND": kind, "PYTHON": python, "PORT": str(port or "")}
    lines = connection.run(script("facts.sh"), values).splitlines()
    pairs = [(key, value) for key, _, value in (line.partition("=") for line in lines)]
    found = dict(pairs)
    try:
        return Host(
            system=found["system"],
            machine=found["machine"],
            release=found.get("release", ""),
            user=found["user"],
            home=found["home"],
            cores=int(found["cores"]),
            memory_bytes=int(found["memory_kib"]) * _KIB,
            free_bytes=int(found["free_kib"]) * _KIB,
            gpus=tuple(value for key, value in pairs if key == "gpu"),
            docker=found.get("docker", ""),
            has_docker="docker_answers" in found,
            has_systemd="systemd" in found,
            has_bash="bash" in found,
            python=found.get("python", ""),
            is_writable="writable" in found,
            is_running="running" in found,
            installed=found.get("installed", ""),
            configured=found.get("configured", ""),
            log=found.get("log", ""),
            ends=int(found.get("ends") or 0),
            is_exposed="exposed" in found,
            is_parked="parked" in found,
        )
    except (KeyError, ValueError) as error:
        raise DeployError(
            f"{connection.destination} does not say what it is; workers run on Linux and macOS, as a user with a shell."
        ) from error


def refuse_unfit(host: Host, destination: str, via: Via, capabilities: Sequence[str], python: str) -> None:
    """Refuse a machine that cannot take such a worker.

    Raises
    ------
    DeployError
        Says what it lacks, and what to do.
    """
    if host.system not in _SYSTEMS:
        raise DeployError(f"{destination} runs {host.system}; workers run on Linux and macOS.")
    if not host.is_writable:
        raise DeployError(
            f"{host.user} may not write in {host.home} on {destination}. Deploy as a user who has a home there."
        )
    if not host.installed:
        _refuse_full(host, destination, via, capabilities, python)
    {Via.DOCKER: _refuse_no_docker, Via.SYSTEMD: _refuse_no_systemd, Via.VENV: _refuse_no_python}[via](
        host, destination
    )


def _refuse_full(host: Host, destination: str, via: Via, capabilities: Sequence[str], python: str) -> None:
    room_gb = _BASE_GB + sum(_ROOM_GB.get(name, 0.0) for name in capabilities) + (_IMAGE_GB if via is Via.DOCKER else 0)
    needed = int((_SOURCE_GB if python else room_gb) * _GB)
    if host.free_bytes < needed:
        raise DeployError(
            f"{destination} has {host.free_bytes / _GB:.2f} GB free in {host.home}; {', '.join(capabilities)} needs "
            f"{needed / _GB:g} GB. Make room there."
        )


def _refuse_no_docker(host: Host, destination: str) -> None:
    if not host.docker:
        raise DeployError(f"{destination} has no Docker. Leave --via docker away, or install Docker there.")
    if not host.has_docker:
        raise DeployError(
            f"Docker does not answer {host.user} on {destination} ({host.docker}). Start it, or add the user to the "
            "group docker."
        )


def _refuse_no_systemd(host: Host, destination: str) -> None:
    if not host.has_systemd:
        raise DeployError(f"{destination} does not run systemd. Leave --via systemd away.")
    _refuse_no_python(host, destination)


def _refuse_no_python(host: Host, destination: str) -> None:
    if not host.python:
        raise DeployError(
            f"{destination} has no Python 3.11 to 3.13. Install one there, such as: apt-get install python3."
        )
    if not host.has_bash:
        raise DeployError(f"{destination} has no bash, which tools/install.sh needs. Install it there.")

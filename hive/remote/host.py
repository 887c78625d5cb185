"""A machine that Hive deploys to: its name, its facts, and what it lacks."""

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

# A destination as ssh reads it: [USER@]HOST, an alias of its config, or ssh://[USER@]HOST[:PORT].
_DESTINATION = re.compile(r"(?:ssh://)?(?:\w[\w.+-]*@)?(\[?[A-Za-z0-9][\w.:%-]*\]?)", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_MAX_LETTERS = 32
_SLOTS = 1


class Runtime(StrEnum):
    """What a worker runs in, and what restarts it: a venv with cron, a venv with systemd, or a container."""

    VENV = "venv"
    SYSTEMD = "systemd"
    DOCKER = "docker"


@dataclass(frozen=True)
class Target:
    """A machine to deploy to. None stands for the value of an earlier deployment there, or for the default.

    By default there is a tunnel unless this Mac side is open to the network. `python` is an interpreter there that has
    Hive's libraries. With `allows_scripts` its owner lets everybody who may submit run scripts there.
    """

    destination: str
    capabilities: str | None = None
    name: str | None = None
    runtime: Runtime | None = None
    has_tunnel: bool | None = None
    python: str | None = None
    allows_scripts: bool | None = None


def host_of(destination: str) -> str:
    """The host of an ssh destination.

    >>> host_of("me@studio.local"), host_of("ssh://root@10.0.0.7:2222")
    ('studio.local', '10.0.0.7')

    Raises
    ------
    SettingError
        ssh would not read it as a host.
    """
    match = _DESTINATION.fullmatch(destination)
    if match is None:
        raise SettingError(
            f"{destination!r} is not an ssh host. Use USER@HOST, a name of ~/.ssh/config, or ssh://HOST:PORT."
        )
    host = match[1]
    return re.sub(r":\d+$", "", host) if destination.startswith("ssh://") else host


def is_same_host(destination: str, other: str) -> bool:
    """Whether two destinations are one machine, whoever logs in there.

    >>> is_same_host("me@studio", "root@studio"), is_same_host("ssh://studio:2222", "studio")
    (True, False)
    """
    first, second = (name.removeprefix("ssh://").rpartition("@")[2] for name in (destination, other))
    return first == second


def name_for(destination: str) -> str:
    """The default name of a worker: its host's, without the domain; an address in full.

    >>> name_for("me@Studio.example.org"), name_for("root@10.0.0.7")
    ('studio', '10-0-0-7')
    """
    host = host_of(destination).lower()
    is_address = re.fullmatch(r"[\d.]+|.*:.*", host) is not None
    return _NOT_IN_NAMES.sub("-", host if is_address else host.partition(".")[0]).strip("-")[:_MAX_LETTERS]


def nodes_of(capabilities: str) -> list[Node]:
    """The nodes of a worker, one for each capability; a capability without a number runs one job at a time.

    Raises
    ------
    SettingError, UnknownNameError
        The text cannot be read, or there is no such capability.
    """
    nodes = [Node(find_capability(node.capability).name, node.slots) for node in read_nodes(capabilities, _SLOTS)]
    if len({node.capability for node in nodes}) < len(nodes):
        raise SettingError(f"{capabilities!r} names a capability twice.")
    return sorted(nodes, key=lambda node: node.capability)


def format_nodes(nodes: Sequence[Node]) -> str:
    """Nodes as `hive worker --capabilities` reads them."""
    return ",".join(f"{node.capability}={node.slots}" for node in nodes)


_SYSTEMS = ("Linux", "Darwin")
_KIB = 1 << 10
_GB = 10**9
# Disk space of an installation by capability, including what pip unpacks meanwhile; rounded up. A GPU build of torch
# has several GB. `du -sh .venv` of the build for CPUs on Linux, November 2026: 2.5 GB for all of them.
_BASE_GB = 0.5
_SPACE_GB = {"gis": 1.0, "geophysics": 1.0, "training": 8.0, "3d-generation": 2.5}
_IMAGE_GB = 1.0
_SOURCE_GB = 0.01


@dataclass(frozen=True)
class Host:
    """The facts of a machine; `installed` and `configured` are digests of what was copied there, "" for nothing.

    `ends` counts how often the worker has ended and was restarted; a home `is_parked` while it is not the home.
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
    def summary(self) -> str:
        """The facts in one line."""
        gpus = "; ".join(self.gpus) or "no GPU"
        memory, free = self.memory_bytes / _GB, self.free_bytes / _GB
        docker = f"Docker {self.docker}" if self.has_docker else "no Docker"
        space = f"{memory:.1f} GB memory, {free:.1f} GB free"
        return f"{self.release or self.system} on {self.machine}, {self.cores} cores, {space}, {gpus}, {docker}"

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        names = ("system", "release", "machine", "user", "cores", "memory_bytes", "free_bytes", "gpus")
        return {name: getattr(self, name) for name in names} | {"docker": self.docker if self.has_docker else None}


def look_at(connection: Connection, name: str, python: str, port: int | None = None, kind: str = "worker") -> Host:
    """Read the facts of a machine, and whether the port where a tunnel ends is open to its network.

    Raises
    ------
    DeployError
        It does not answer like a machine with a POSIX shell.
    """
    values = {"NAME": name, "KIND": kind, "PYTHON": python, "PORT": str(port or "")}
    lines = connection.run(script("facts.sh"), values).splitlines()
    pairs = [(key, value) for key, _, value in (line.partition("=") for line in lines)]
    facts = dict(pairs)
    try:
        return Host(
            system=facts["system"],
            machine=facts["machine"],
            release=facts.get("release", ""),
            user=facts["user"],
            home=facts["home"],
            cores=int(facts["cores"]),
            memory_bytes=int(facts["memory_kib"]) * _KIB,
            free_bytes=int(facts["free_kib"]) * _KIB,
            gpus=tuple(value for key, value in pairs if key == "gpu"),
            docker=facts.get("docker", ""),
            has_docker="docker_answers" in facts,
            has_systemd="systemd" in facts,
            has_bash="bash" in facts,
            python=facts.get("python", ""),
            is_writable="writable" in facts,
            is_running="running" in facts,
            installed=facts.get("installed", ""),
            configured=facts.get("configured", ""),
            log=facts.get("log", ""),
            ends=int(facts.get("ends") or 0),
            is_exposed="exposed" in facts,
            is_parked="parked" in facts,
        )
    except (KeyError, ValueError) as error:
        raise DeployError(
            f"{connection.destination} has no POSIX shell. Workers run on Linux and macOS, as a user with a shell."
        ) from error


def refuse_unfit(host: Host, destination: str, runtime: Runtime, capabilities: Sequence[str], python: str) -> None:
    """Refuse a machine that cannot take such a worker.

    Raises
    ------
    DeployError
        The message names what it lacks, and what to do.
    """
    if host.system not in _SYSTEMS:
        raise DeployError(f"{destination} runs {host.system}; workers run on Linux and macOS.")
    if not host.is_writable:
        raise DeployError(
            f"{host.user} cannot write to {host.home} on {destination}. Deploy as a user who has a home there."
        )
    if not host.installed:
        _refuse_full(host, destination, runtime, capabilities, python)
    checks = {Runtime.DOCKER: _refuse_no_docker, Runtime.SYSTEMD: _refuse_no_systemd, Runtime.VENV: _refuse_no_python}
    checks[runtime](host, destination)


def _refuse_full(host: Host, destination: str, runtime: Runtime, capabilities: Sequence[str], python: str) -> None:
    image_gb = _IMAGE_GB if runtime is Runtime.DOCKER else 0.0
    install_gb = _BASE_GB + sum(_SPACE_GB.get(name, 0.0) for name in capabilities) + image_gb
    needed = int((_SOURCE_GB if python else install_gb) * _GB)
    if host.free_bytes < needed:
        raise DeployError(
            f"{destination} has {host.free_bytes / _GB:.2f} GB free in {host.home}; {', '.join(capabilities)} needs "
            f"{needed / _GB:g} GB. Free some disk space there."
        )


def _refuse_no_docker(host: Host, destination: str) -> None:
    if not host.docker:
        raise DeployError(f"{destination} has no Docker. Leave out --runtime docker, or install Docker there.")
    if not host.has_docker:
        raise DeployError(
            f"{host.user} cannot use Docker on {destination} ({host.docker}). Start Docker, or add the user to the "
            "group docker."
        )


def _refuse_no_systemd(host: Host, destination: str) -> None:
    if not host.has_systemd:
        raise DeployError(f"{destination} does not run systemd. Leave out --runtime systemd.")
    _refuse_no_python(host, destination)


def _refuse_no_python(host: Host, destination: str) -> None:
    if not host.python:
        raise DeployError(
            f"{destination} has no Python 3.11 to 3.13. Install one there, for example: apt-get install python3."
        )
    if not host.has_bash:
        raise DeployError(f"{destination} has no bash, which tools/install.sh needs. Install it there.")

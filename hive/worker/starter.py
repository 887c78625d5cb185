"""Starting workers the friendly way: check what is needed, then one Celery node for each capability."""

import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hive.catalog import find_capability, package_of, task_names
from hive.errors import ServiceError, SettingError
from hive.settings import Settings
from hive.worker.shutdown import MachineEnd

_LOOK_EVERY_S = 0.5
# A node that dies is started again; one that dies at once would otherwise be started without end.
_PAUSE_S = 2.0
# Nodes have the grace period to end in good order; a machine that must end waits no longer than that much more.
_MARGIN_S = 30.0


@dataclass(frozen=True)
class Node:
    """One Celery worker: a capability and how many jobs it runs at once."""

    capability: str
    slots: int

    def name(self, host: str) -> str:
        """What Celery and `hive workers` call it."""
        return f"{self.capability}@{host}"


def read_nodes(text: str, default_slots: int) -> list[Node]:
    """Read `gis=2,training=1`; a bare name gets `default_slots` slots.

    >>> read_nodes("gis=4, training", 2)
    [Node(capability='gis', slots=4), Node(capability='training', slots=2)]

    Raises
    ------
    SettingError
        The list is empty, or a number of slots is not a number.
    """
    nodes = []
    for word in filter(None, map(str.strip, text.split(","))):
        name, equals, number = (part.strip() for part in word.partition("="))
        if equals and not (number.isdecimal() and int(number) > 0):
            raise SettingError(f"WORKER_CAPABILITIES: {word!r} must be a capability and a number, such as gis=2.")
        nodes.append(Node(name, int(number) if equals else default_slots))
    if not nodes:
        raise SettingError(
            "Name what this worker serves: hive worker --capabilities gis=2, or set WORKER_CAPABILITIES."
        )
    return nodes


def check_node(node: Node) -> None:
    """Refuse a capability that has no tasks here, or whose libraries or programs this machine lacks.

    Raises
    ------
    ServiceError
        Names what is missing and how to get it.
    """
    capability = find_capability(node.capability)
    if not task_names(capability):
        raise ServiceError(
            f"{capability.name} has no tasks here: {package_of(capability.name).__path__[0]} declares none. "
            "Update Hive here: the worker would take no job."
        )
    modules = [name for name in capability.needs if importlib.util.find_spec(name) is None]
    if modules:
        raise ServiceError(
            f"{capability.name} needs {', '.join(modules)}. "
            f"Install them, in Hive's folder: .venv/bin/pip install -e '.[{capability.extra}]'."
        )
    programs = [name for name in capability.programs if shutil.which(name, path=search_path(os.environ)) is None]
    if programs:
        raise ServiceError(
            f"{capability.name} needs the program {', '.join(programs)}. "
            f"Install it, for example: conda install -c conda-forge {' '.join(programs)}."
        )


def search_path(environment: Mapping[str, str]) -> str:
    """PATH with this environment's own programs in front: a worker may be started without its venv activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])


def run_nodes(settings: Settings, name: str | None = None) -> int:
    """Run one Celery node for each capability until told to end; a node that dies is started again."""
    nodes = read_nodes(settings.worker_capabilities, settings.max_concurrent_tasks)
    for node in nodes:
        check_node(node)
    host = name or platform.node()
    environment = os.environ | _environment(settings)
    return _Nodes(settings, nodes, host, environment).run()


class _Nodes:
    """The nodes of one machine, started again when they die, until the machine or somebody wants them to end."""

    def __init__(self, settings: Settings, nodes: Sequence[Node], host: str, environment: Mapping[str, str]) -> None:
        self._settings, self._host = settings, host
        self._environments = {node: {**environment, **_price(settings, node, nodes)} for node in nodes}
        self._running = {node: _start(node, host, self._environments[node]) for node in nodes}
        self._end = MachineEnd(settings, [node.name(host) for node in nodes])
        self._is_ending = False
        self._reason = ""

    def run(self) -> int:
        """Keep them running; returns when all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._begin_to_end)
        over = float("inf")
        while not self._is_ending or self._alive():
            if not self._is_ending and (reason := self._end.reason()):
                over = self._drain(reason)
            if time.monotonic() > over:
                self._kill()
            self._start_again()
            time.sleep(_LOOK_EVERY_S)
        return self._end.carry_out() if self._reason else 0

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._running.values() if process.poll() is None]

    def _begin_to_end(self, number: int, _: FrameType | None = None) -> None:
        self._is_ending = True
        for process in self._running.values():
            process.send_signal(number)

    def _drain(self, reason: str) -> float:
        """Ask the nodes to end because the machine must; returns when that must be over [s, monotonic]."""
        sys.stderr.write(f"hive worker: this machine ends: {reason}\n")
        self._reason = reason
        self._begin_to_end(signal.SIGTERM)
        return time.monotonic() + self._settings.grace_s + _MARGIN_S

    def _kill(self) -> None:
        for process in self._alive():
            os.killpg(process.pid, signal.SIGKILL)

    def _start_again(self) -> None:
        for node, process in self._running.items():
            if process.poll() is None or self._is_ending:
                continue
            if notice := self._end.notice():  # the other nodes have seen it too, and end
                sys.stderr.write(f"hive worker: this machine will be taken away: {notice}\n")
                self._reason, self._is_ending = notice, True
                return
            sys.stderr.write(f"hive worker: {node.capability} ended ({process.returncode}); starting it again\n")
            time.sleep(_PAUSE_S)
            self._running[node] = _start(node, self._host, self._environments[node])


def _environment(settings: Settings) -> dict[str, str]:
    """What the nodes must know: the settings of this call, also those that came as flags."""
    return {
        "PATH": search_path(os.environ),
        "HIVE_HOME": str(settings.home),
        "HIVE_BROKER_URL": settings.broker_url,
        "HIVE_ROLE": settings.role,
        "HIVE_STORE": settings.store,
        "HIVE_CACHE": str(settings.cache),
    }


def _price(settings: Settings, node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    """A node's share of what this machine costs: that of its slots."""
    if settings.price_usd_per_h is None:
        return {}
    share = settings.price_usd_per_h * node.slots / sum(other.slots for other in nodes)
    return {"HIVE_PRICE_USD_PER_H": f"{share:.12g}"}


def _start(node: Node, host: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "hive", "worker", "-Q", node.capability, "-c", str(node.slots)]
    command += ["-n", node.name(host), "--loglevel", "INFO"]
    # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
    return subprocess.Popen(command, env=dict(environment), start_new_session=True)  # noqa: S603  our own words

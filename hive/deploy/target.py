"""Where a worker goes, what it serves there, and how it is kept running."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hive.catalog import find_capability
from hive.errors import SettingError
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

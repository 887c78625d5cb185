"""The way from a machine to this one: a tunnel from here, where the machine does not come by itself."""

import hashlib
from collections.abc import Iterator

from hive.errors import DeployError
from hive.home import tunnels
from hive.home.location import elsewhere
from hive.home.tunnels import Tunnel, TunnelState
from hive.remote.host import is_same_host
from hive.remote.records import Record
from hive.remote.ssh import Connection
from hive.settings import Settings

# Below the ports that systems give to whoever asks for any (32768 on Linux, 49152 on macOS).
_LOWEST, _COUNT = 20_000, 10_000
_ATTEMPTS = 5


def choose_ports(settings: Settings, record: Record, connection: Connection) -> tuple[int, int]:
    """Two ports of the machine where the tunnel ends: those of before where it has them, else such that are free.

    Where the home is on that machine, they are those of Redis and the gateway themselves.

    Raises
    ------
    DeployError
        Its sshd opens none.
    """
    home = elsewhere(settings)
    if home is not None and is_same_host(home.destination, record.destination):
        close_way(settings, record.name)
        return home.ports
    held = state_of(settings, record.name)
    if record.ports and all(record.ports):
        if held is not None and held.state == "up":
            return record.ports
        close_way(settings, record.name)
        if connection.can_forward(settings, record.ports):
            return record.ports
    return free_ports(settings, record.name, connection)


def free_ports(settings: Settings, name: str, connection: Connection) -> tuple[int, int]:
    """Two ports of a machine that nobody uses, the same ones each time where they are free.

    Raises
    ------
    DeployError
        Its sshd opens none.
    """
    for ports in _candidates(settings, name):
        if connection.can_forward(settings, ports):
            return ports
    raise DeployError(
        f"The sshd of {connection.destination} opens no port for a tunnel. Let it (AllowTcpForwarding, PermitListen in "
        "its sshd_config), or let the machine come here: hive down, then hive up --lan."
    )


def open_way(settings: Settings, record: Record) -> None:
    """Hold the tunnel of a deployment that has one; a worker where the home is needs none."""
    home = elsewhere(settings)
    is_at_home = home is not None and is_same_host(home.destination, record.destination)
    if record.ports is not None and not is_at_home:
        tunnel = Tunnel(record.name, record.destination, record.ssh_config, *record.ports)
        tunnels.keep(settings, tunnel)
        tunnels.start(settings, tunnel)


def close_way(settings: Settings, name: str) -> None:
    """End the tunnel of a deployment, if it has one."""
    tunnels.forget(settings, name)


def state_of(settings: Settings, name: str) -> TunnelState | None:
    """How the tunnel of a deployment is; None where it has none."""
    return next((one for one in tunnels.states(settings) if one.name == name), None)


def _candidates(settings: Settings, name: str) -> Iterator[tuple[int, int]]:
    """Pairs of ports, the same ones for the same worker of the same home."""
    seed = hashlib.sha256(f"{settings.home}\0{name}".encode()).digest()
    for number in range(_ATTEMPTS):
        first = _LOWEST + (int.from_bytes(seed[2 * number : 2 * number + 2]) % (_COUNT // 2)) * 2
        yield first, first + 1

"""The tunnel of a deployment, for a machine that cannot connect to this one itself."""

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

# Below the ephemeral ports of the systems (from 32768 on Linux, from 49152 on macOS).
_LOWEST, _COUNT = 20_000, 10_000
_ATTEMPTS = 5


def choose_ports(settings: Settings, record: Record, connection: Connection) -> tuple[int, int]:
    """Two ports of the machine where the tunnel ends: the same as before if possible, else free ones.

    If the home is on that machine, they are those of Redis and the gateway themselves.

    Raises
    ------
    DeployError
        Its sshd forwards none.
    """
    home = elsewhere(settings)
    if home is not None and is_same_host(home.destination, record.destination):
        close_tunnel(settings, record.name)
        return home.ports
    earlier = tunnel_state(settings, record.name)
    if record.ports and all(record.ports):
        if earlier is not None and earlier.state == "up":
            return record.ports
        close_tunnel(settings, record.name)
        if connection.can_forward(settings, record.ports):
            return record.ports
    return free_ports(settings, record.name, connection)


def free_ports(settings: Settings, name: str, connection: Connection) -> tuple[int, int]:
    """Two free ports of a machine, the same ones each time if possible.

    Raises
    ------
    DeployError
        Its sshd forwards none.
    """
    for ports in _candidates(settings, name):
        if connection.can_forward(settings, ports):
            return ports
    raise DeployError(
        f"The sshd of {connection.destination} refuses to forward a port. Allow it (AllowTcpForwarding, PermitListen "
        "in its sshd_config), or let the machine connect here: hive down, then hive up --lan."
    )


def open_tunnel(settings: Settings, record: Record) -> None:
    """Open the tunnel of a deployment that has one; a worker on the home's machine needs none."""
    home = elsewhere(settings)
    is_at_home = home is not None and is_same_host(home.destination, record.destination)
    if record.ports is not None and not is_at_home:
        tunnel = Tunnel(record.name, record.destination, record.ssh_config, *record.ports)
        tunnels.add(settings, tunnel)
        tunnels.start(settings, tunnel)


def close_tunnel(settings: Settings, name: str) -> None:
    """Close the tunnel of a deployment, if it has one."""
    tunnels.remove(settings, name)


def tunnel_state(settings: Settings, name: str) -> TunnelState | None:
    """The state of a deployment's tunnel; None if it has none."""
    return next((state for state in tunnels.states(settings) if state.name == name), None)


def _candidates(settings: Settings, name: str) -> Iterator[tuple[int, int]]:
    """Pairs of ports, always the same for the same worker of the same home."""
    seed = hashlib.sha256(f"{settings.home}\0{name}".encode()).digest()
    for number in range(_ATTEMPTS):
        first = _LOWEST + (int.from_bytes(seed[2 * number : 2 * number + 2]) % (_COUNT // 2)) * 2
        yield first, first + 1

"""Where Redis and the gateway of this Hive are: here, or on another machine, to which `hive home` has moved them.

One file says so (`moved.json`). While it is there, neither is started here: there is never a second home.
"""

import fcntl
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from hive.errors import ServiceError, UnreachableError
from hive.home import tunnels
from hive.home.tunnels import Tunnel, TunnelState, unshared_ssh
from hive.settings import Settings, moved_file, write_private
from hive.wire.record import read_record

_LOOK_EVERY_S = 0.1
_UP_S, _CONNECT_S = 20.0, 40.0
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.identity")
_WRITE = """sh -c 'umask 077; cd "$HOME/.hive-home/{home}/home/access" && cat >{file}.new && mv -f {file}.new {file}'"""
_REMOVE = """sh -c 'rm -f "$HOME/.hive-home/{home}/home/access/{file}"'"""


@dataclass(frozen=True)
class Home:
    """Where a home is: the machine, its folder's name there, and the ports of Redis and the gateway at 127.0.0.1."""

    name: str
    destination: str
    ssh_config: str
    via: str
    python: str
    ports: tuple[int, int]

    @property
    def tunnel(self) -> Tunnel:
        """What brings it here."""
        return Tunnel(self.name, self.destination, self.ssh_config, *self.ports, is_home=True)


def elsewhere(settings: Settings) -> Home | None:
    """Where the home is; None: here."""
    file = moved_file(settings.home)
    if not file.exists():
        return None
    return read_record(Home, file.read_bytes(), str(file))


def record_move(settings: Settings, home: Home) -> None:
    """Say that the home is there from now on, and hold the way to it in each later `hive up`."""
    tunnels.add(settings, home.tunnel)
    write_private(moved_file(settings.home), json.dumps(asdict(home)))


def record_return(settings: Settings, home: Home) -> None:
    """Say that the home is here from now on."""
    moved_file(settings.home).unlink(missing_ok=True)
    tunnels.remove(settings, home.name)


def state(settings: Settings, home: Home) -> TunnelState:
    """How the way to it is."""
    return tunnels.state(settings, home.tunnel)


def wait_for_tunnel(settings: Settings, home: Home) -> None:
    """Wait until the tunnel to it is up.

    Raises
    ------
    UnreachableError
        It does not come up; it is tried again and again all the same.
    """
    end = time.monotonic() + _UP_S
    while (tunnel := state(settings, home)).state != "up":
        if time.monotonic() > end or (tunnel.state == "down" and tunnel.error):
            why = f" ({tunnel.error.rstrip('.')})" if tunnel.error else ""
            raise UnreachableError(
                f"The home of this Hive is {home.destination}, which cannot be reached{why}. The tunnel is tried again "
                f"every few seconds; see whether the machine lets you in: ssh {home.destination}."
            )
        time.sleep(_LOOK_EVERY_S)


@contextmanager
def moving(settings: Settings) -> Iterator[None]:
    """Be the only one who moves this home, and keep `hive up` from starting anything meanwhile.

    Raises
    ------
    ServiceError
        Somebody moves it already.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(settings.home / "moving.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError("The home of this Hive is being moved right now. Wait until that has ended.") from error
        yield
    finally:
        os.close(lock)


def refuse_while_moving(settings: Settings) -> None:
    """Refuse to start anything while somebody moves this home.

    Raises
    ------
    ServiceError
        Somebody does.
    """
    if (settings.home / "moving.lock").exists():
        with moving(settings):
            return


def hand_over(settings: Settings, file: str, content: str | None) -> None:
    """Give the home an identity's file, or take it away (None), where the home is elsewhere.

    Raises
    ------
    UnreachableError
        There is no way to it, so nothing was changed.
    """
    home = elsewhere(settings)
    if home is None:
        return
    if not _FILE_NAME.fullmatch(file):
        raise ServiceError(f"{file!r} is no file of an identity.")
    command = (_REMOVE if content is None else _WRITE).format(home=home.name, file=file)
    try:
        ended = subprocess.run(  # noqa: S603  a list of words; the names in the command have been checked
            [*unshared_ssh(home.ssh_config), "--", home.destination, command],
            input=(content or "").encode(), capture_output=True, check=False, timeout=_CONNECT_S,
        )  # fmt: skip
        words = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2].rstrip(".\r")
    except subprocess.TimeoutExpired:
        words = "it does not answer"
    else:
        if ended.returncode == 0:
            return
    raise UnreachableError(
        f"The home of this Hive is {home.destination}, which has to know of this and cannot be reached ({words}). "
        "Nothing has been changed; try again when it is there."
    )

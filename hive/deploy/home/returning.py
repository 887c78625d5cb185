"""Moving a home back here: the same care the other way round. The one moment that counts is `declare_here`."""

import contextlib
import shutil

from hive.deploy.home import transfer
from hive.deploy.home.machine import Counts, HomeMachine, Observer
from hive.deploy.home.moving import Moved, refuse_other, repoint
from hive.deploy.home.settings import keeps_files
from hive.deploy.ssh import Connection
from hive.errors import HiveError, NotFoundError
from hive.orchestrator import elsewhere, gateway_process, inventory, redis_server, stop_here, tunnels
from hive.orchestrator.home import Home, declare, declare_here, moving
from hive.settings import Settings


def move_back(settings: Settings, observer: Observer) -> Moved:
    """Move Redis and the gateway back here; where they are here already, do nothing.

    Raises
    ------
    ServiceError
        Redis or the gateway cannot be started here, or somebody moves the home already.
    DeployError, UnreachableError
        The machine does not give it all, or cannot be reached; the home is there as before.
    """
    home = elsewhere(settings)
    if home is None:
        return Moved(None, None)
    with moving(settings), Connection(home.destination, home.ssh_config) as connection:
        stop_here(settings)  # what an earlier move back has started and not finished
        machine = HomeMachine(settings, home, connection, observer)
        counts = _Return(settings, home, machine, observer).run()
        tunnels.start_all(settings)
        repointed, untold = repoint(settings, home, observer)
        observer("removing the home there")
        try:
            machine.control("remove", timeout_s=300.0)
        except HiveError as error:
            observer(f"the copy there is left, and does not run: {home.destination} ~/.hive-home/{home.name} ({error})")
    return Moved(None, counts, repointed, untold)


def take_back(settings: Settings) -> Home:
    """Be the home again with what was here before the move, without asking a machine that is no more.

    Raises
    ------
    NotFoundError
        The home is here.
    """
    home = elsewhere(settings)
    if home is None:
        raise NotFoundError("The home of this Hive is here. Where it is: hive home.")
    with moving(settings):
        tunnels.stop_all(settings)
        declare_here(settings, home)
    return home


class _Return:
    """One move back."""

    def __init__(self, settings: Settings, home: Home, machine: HomeMachine, observer: Observer) -> None:
        self._settings, self._home, self._machine, self._tell = settings, home, machine, observer

    def run(self) -> Counts:
        """Do what takes long while everything goes on there; then move."""
        host = self._machine.look()
        if host.is_parked or not host.is_running:  # an earlier move back has ended half-way
            self._machine.begin()
            self._machine.await_start()
        if keeps_files(self._settings):
            self._machine.fetch(transfer.STORE)
        self._tell(f"stopping Redis and the gateway on {self._home.destination}")
        try:
            counts = self._switch()
            declare_here(self._settings, self._home)
        except BaseException:
            self._undo()
            raise
        return counts

    def _switch(self) -> Counts:
        tunnels.stop_all(self._settings)
        before = self._machine.leave()
        if keeps_files(self._settings):
            self._machine.fetch(transfer.STORE)  # what has come since
        self._machine.fetch(transfer.REDIS)
        self._tell("starting Redis and the gateway here")
        redis_server.start(self._settings)
        refuse_other(before, inventory.count(self._settings), "this machine")
        gateway_process.start(self._settings)
        return before

    def _undo(self) -> None:
        self._tell(f"it did not work; starting Redis and the gateway on {self._home.destination} again")
        declare(self._settings, self._home)
        with contextlib.suppress(HiveError):
            gateway_process.stop(self._settings)
            redis_server.stop(self._settings)
        try:
            self._machine.begin()
        except HiveError:
            self._tell(f"it does not run there yet; when the machine is back: hive home {self._home.destination}")
        shutil.rmtree(self._settings.home / "redis" / "incoming", ignore_errors=True)
        tunnels.start_all(self._settings)

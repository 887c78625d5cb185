"""Moving the home of a Hive, its Redis and its gateway, to another machine and back.

Until the copy there has answered with all that was here, this side stays the home: whatever goes wrong before, Redis
and the gateway are started here again, with their own data. The one moment that counts is `record_move`.
"""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hive.client import Session
from hive.errors import DeployError, HiveError, NotFoundError, ServiceError, SettingError, UnreachableError
from hive.home import bring_up, elsewhere, gateway_process, inventory, redis_server, stop_services, tunnels
from hive.home.location import Home, moving, record_move, record_return, wait_for_tunnel
from hive.home.network import network_access
from hive.remote import bundle, home_machine, records
from hive.remote.deploy import deploy
from hive.remote.home_machine import PAUSE_S, Counts, HomeMachine, Observer, keeps_files
from hive.remote.host import Target, Via, host_of, is_same_host
from hive.remote.records import Record
from hive.remote.ssh import Connection
from hive.remote.tunnel import free_ports
from hive.settings import Settings, host_name
from hive.store.connection import reachable


@dataclass(frozen=True)
class Moved:
    """Where a home is now; `counts` is what was moved, None where nothing had to be.

    `repointed` are the workers of its machine which have been told, `untold` those that could not be, and why;
    `through` are those which still come through a tunnel from here.
    """

    home: Home | None
    counts: Counts | None
    repointed: tuple[str, ...] = ()
    untold: Mapping[str, str] | None = None
    through: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields that `--json` shows."""
        return {
            "host": self.home.destination if self.home else None,
            "is_moved": self.counts is not None,
            "moved": dict(self.counts) if self.counts is not None else None,
            "repointed": list(self.repointed),
            "not_repointed": dict(self.untold or {}),
            "through_this_machine": list(self.through),
        }


def move(settings: Settings, destination: str, via: Via | None, python: str | None, observer: Observer) -> Moved:
    """Move Redis and the gateway to a machine that ssh reaches. Called again, bring up to date what is there.

    Raises
    ------
    SettingError
        The machine cannot be read, or the home cannot move as this Hive is set.
    ServiceError
        Somebody moves the home already.
    DeployError
        The machine cannot take it; everything runs here as before.
    UnreachableError
        Redis and the gateway do not run here; or there is no way to the machine, or it broke, and everything runs here
        as before.
    """
    host_of(destination)
    found = elsewhere(settings)
    if found is not None and not is_same_host(found.destination, destination):
        raise SettingError(f"The home of this Hive is {found.destination}. Bring it back first: hive home --back.")
    bundle.source()  # whatever is missing here is said before anybody is asked
    if found is None:
        _refuse_unfit(settings)
    with moving(settings):
        wanted = found or _wanted(settings, destination, via, python)
        with Connection(wanted.destination, wanted.ssh_config) as connection:
            if found is None:
                home, counts = _Move(settings, wanted, connection, observer).run()
            else:
                home, counts = found, None
                stop_services(settings)
                _renew(settings, found, connection, observer)
    tunnels.start_all(settings)
    wait_for_tunnel(settings, home)
    repointed, untold = repoint(settings, home, observer) if counts is not None else ((), {})
    through = tuple(one.name for one in _through(settings, home))
    return Moved(home, counts, repointed, untold, through)


def repoint(settings: Settings, home: Home, observer: Observer) -> tuple[tuple[str, ...], dict[str, str]]:
    """Tell the workers of the home's machine the way that is theirs now; returns who knows, and why others do not."""
    done, failed = [], {}
    for record in records.find_all(settings):
        if record.is_left or record.ports is None or not is_same_host(record.destination, home.destination):
            continue
        observer(f"telling the worker {record.name} where the home is")
        try:
            deploy(settings, Target(record.destination, name=record.name), observer)
            done.append(record.name)
        except HiveError as error:
            failed[record.name] = str(error)
    return tuple(done), failed


def _through(settings: Settings, home: Home) -> list[Record]:
    """Workers of other machines, which come through a tunnel from here."""
    found = [one for one in records.find_all(settings) if one.ports is not None and not one.is_left]
    return [one for one in found if not is_same_host(one.destination, home.destination)]


def _refuse_unfit(settings: Settings) -> None:
    if redis_server.running_pid(settings) is None or gateway_process.running_pid(settings) is None:
        raise UnreachableError(
            "Redis and the gateway do not both run here, and only a whole home can move. First: hive up."
        )
    if network_access(settings) is not None:
        raise SettingError("This Mac side is open to the network. Close it first: hive down, then hive up.")
    _refuse_local_workers(settings)
    for name in ("broker_url", "gateway_url"):
        origin = settings.origins[name]
        if origin.startswith(("flag ", "environment ")) or origin == str(settings.config_file):
            raise SettingError(
                f"HIVE_{name.upper()} names another Redis or gateway than those here. Take it away first."
            )
    own = ((settings.home / "store").as_uri(), f"{settings.gateway_url}/blob")
    if keeps_files(settings) and settings.store not in own:
        raise SettingError(f"HIVE_STORE is {settings.store}, which stays here. Take it away, or name a bucket: s3://….")


def _refuse_local_workers(settings: Settings) -> None:
    """A worker that was started here keeps files in the folder of this home, where nobody would look any more."""
    session = Session(settings)
    with reachable(settings), closing(session.broker):
        workers = session.registry.workers()
    local = [one["name"] for one in workers if (one.get("terms") or {}).get("store") == "folder"]
    if local and keeps_files(settings):
        raise ServiceError(
            f"{', '.join(local)} keeps files in this home, which moves. Stop it, and start it again after the move."
        )


def _wanted(settings: Settings, destination: str, via: Via | None, python: str | None) -> Home:
    """The home as it shall be; the name of its folder tells whose it is."""
    owner = re.sub(r"[^a-z0-9]+", "-", host_name().lower().partition(".")[0]).strip("-")[:20] or "hive"
    mark = hashlib.sha256(f"{host_name()}\0{settings.home}".encode()).hexdigest()[:6]
    ssh_config = str(settings.ssh_config) if settings.ssh_config else ""
    python = settings.deploy_python if python is None else python
    return Home(f"{owner}-{mark}", destination, ssh_config, str(via or Via.VENV), python, (0, 0))


def _renew(settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
    """See that a home which is there already runs, with the Hive and the settings of this machine."""
    machine = HomeMachine(settings, home, connection, observer)
    host = machine.look()
    is_changed = machine.bring(host)
    if is_changed or not host.is_running or host.is_parked:
        observer("starting Redis and the gateway there")
        machine.begin()
        machine.await_start()


class _Move:
    """One move there."""

    def __init__(self, settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
        self._settings, self._home, self._connection, self._tell = settings, home, connection, observer

    def run(self) -> tuple[Home, Counts]:
        """Do all that takes long while everything goes on here; then move."""
        machine = self._machine()
        self._tell(machine.look().words)
        self._home = Home(
            **{**vars(self._home), "ports": free_ports(self._settings, self._home.name, self._connection)}
        )
        machine = self._machine()
        host = machine.look()
        if host.installed:
            machine.control("park")  # what an earlier move has left
        machine.bring(host)
        machine.control("park")
        if keeps_files(self._settings):
            machine.send(home_machine.STORE)
        self._tell("stopping Redis and the gateway here")
        try:
            counts = self._switch(machine)
            record_move(self._settings, self._home)
            machine.begin()
            machine.await_start()
        except BaseException:
            self._undo(machine)
            raise
        return self._home, counts

    def _machine(self) -> HomeMachine:
        return HomeMachine(self._settings, self._home, self._connection, self._tell)

    def _switch(self, machine: HomeMachine) -> Counts:
        tunnels.stop_all(self._settings)
        gateway_process.stop(self._settings)
        before = inventory.count(self._settings, PAUSE_S)
        redis_server.stop(self._settings)
        if keeps_files(self._settings):
            machine.send(home_machine.STORE)  # what has come since
        machine.send(home_machine.REDIS)
        self._tell("starting Redis and the gateway there")
        refuse_other(before, machine.try_out(), self._home.destination)
        return before

    def _undo(self, machine: HomeMachine) -> None:
        self._tell("it did not work; starting Redis and the gateway here again")
        record_return(self._settings, self._home)
        with contextlib.suppress(HiveError):
            machine.control("park")
        if redis_server.running_pid(self._settings) is not None:
            inventory.resume(self._settings)
        bring_up(self._settings)


def refuse_other(before: Counts, after: Counts, where: str) -> None:
    """Refuse a copy that does not hold what the original does.

    Raises
    ------
    DeployError
        Says what differs.
    """
    wrong = [f"{after[name]} {name}, not {before[name]}" for name in before if after[name] != before[name]]
    if wrong:
        raise DeployError(f"The copy of Redis on {where} has {'; '.join(wrong)}, so it is not used.")


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
        stop_services(settings)  # what an earlier move back has started and not finished
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
        record_return(settings, home)
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
            self._machine.fetch(home_machine.STORE)
        self._tell(f"stopping Redis and the gateway on {self._home.destination}")
        try:
            counts = self._switch()
            record_return(self._settings, self._home)
        except BaseException:
            self._undo()
            raise
        return counts

    def _switch(self) -> Counts:
        tunnels.stop_all(self._settings)
        before = self._machine.leave()
        if keeps_files(self._settings):
            self._machine.fetch(home_machine.STORE)  # what has come since
        self._machine.fetch(home_machine.REDIS)
        self._tell("starting Redis and the gateway here")
        redis_server.start(self._settings)
        refuse_other(before, inventory.count(self._settings), "this machine")
        gateway_process.start(self._settings)
        return before

    def _undo(self) -> None:
        self._tell(f"it did not work; starting Redis and the gateway on {self._home.destination} again")
        record_move(self._settings, self._home)
        with contextlib.suppress(HiveError):
            gateway_process.stop(self._settings)
            redis_server.stop(self._settings)
        try:
            self._machine.begin()
        except HiveError:
            self._tell(f"it does not run there yet; when the machine is back: hive home {self._home.destination}")
        shutil.rmtree(self._settings.home / "redis" / "incoming", ignore_errors=True)
        tunnels.start_all(self._settings)

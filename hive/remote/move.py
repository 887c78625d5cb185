"""Moving the home of a Hive, its Redis and its gateway, to another machine and back.

Until the copy there has proved complete, this side stays the home: whatever goes wrong before, Redis and the gateway
start here again, with their own data. `record_move` is the commit point.
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
from hive.remote.host import Runtime, Target, host_of, is_same_host
from hive.remote.records import Record
from hive.remote.ssh import Connection
from hive.remote.tunnel import free_ports
from hive.settings import Settings, host_name
from hive.store.connection import reachable


@dataclass(frozen=True)
class Moved:
    """Where a home is now; `counts` is what was moved, None if nothing had to be.

    `repointed` are the workers on its machine that now connect to it directly, `not_repointed` those that could not be
    changed, and why; `through` are workers that still connect through a tunnel from here.
    """

    home: Home | None
    counts: Counts | None
    repointed: tuple[str, ...] = ()
    not_repointed: Mapping[str, str] | None = None
    through: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of `--json`."""
        return {
            "host": self.home.destination if self.home else None,
            "is_moved": self.counts is not None,
            "moved": dict(self.counts) if self.counts is not None else None,
            "repointed": list(self.repointed),
            "not_repointed": dict(self.not_repointed or {}),
            "through_this_machine": list(self.through),
        }


def move(
    settings: Settings, destination: str, runtime: Runtime | None, python: str | None, observer: Observer
) -> Moved:
    """Move Redis and the gateway to a machine over ssh. A repeated call updates the home there.

    Raises
    ------
    SettingError
        The destination is invalid, or the settings of this Hive do not allow a move.
    ServiceError
        Another process is moving the home.
    DeployError
        The machine is not suitable; everything runs here as before.
    UnreachableError
        Redis and the gateway do not run here; or the machine cannot be reached, or the connection broke, and everything
        runs here as before.
    """
    host_of(destination)
    current = elsewhere(settings)
    if current is not None and not is_same_host(current.destination, destination):
        raise SettingError(f"The home of this Hive is {current.destination}. Move it back first: hive home --back.")
    bundle.source()  # fails before any machine is contacted
    if current is None:
        _refuse_unfit(settings)
    with moving(settings):
        target = current or _new_home(settings, destination, runtime, python)
        with Connection(target.destination, target.ssh_config) as connection:
            if current is None:
                home, counts = _Move(settings, target, connection, observer).run()
            else:
                home, counts = current, None
                stop_services(settings)
                _update(settings, current, connection, observer)
    tunnels.start_all(settings)
    wait_for_tunnel(settings, home)
    repointed, failed = repoint(settings, home, observer) if counts is not None else ((), {})
    through = tuple(record.name for record in _through(settings, home))
    return Moved(home, counts, repointed, failed, through)


def repoint(settings: Settings, home: Home, observer: Observer) -> tuple[tuple[str, ...], dict[str, str]]:
    """Change the workers on the home's machine to their new route; returns the changed ones, and errors by name."""
    done, failed = [], {}
    for record in records.find_all(settings):
        if record.is_left or record.ports is None or not is_same_host(record.destination, home.destination):
            continue
        observer(f"changing the worker {record.name} to the new home")
        try:
            deploy(settings, Target(record.destination, name=record.name), observer)
            done.append(record.name)
        except HiveError as error:
            failed[record.name] = str(error)
    return tuple(done), failed


def _through(settings: Settings, home: Home) -> list[Record]:
    """Workers on other machines, which connect through a tunnel from here."""
    tunneled = [record for record in records.find_all(settings) if record.ports is not None and not record.is_left]
    return [record for record in tunneled if not is_same_host(record.destination, home.destination)]


def _refuse_unfit(settings: Settings) -> None:
    if redis_server.running_pid(settings) is None or gateway_process.running_pid(settings) is None:
        raise UnreachableError(
            "Redis and the gateway do not both run here, and only a complete home can move. Start them: hive up."
        )
    if network_access(settings) is not None:
        raise SettingError("This Mac side is open to the network. Close it first: hive down, then hive up.")
    _refuse_local_workers(settings)
    for name in ("broker_url", "gateway_url"):
        origin = settings.origins[name]
        if origin.startswith(("flag ", "environment ")) or origin == str(settings.config_file):
            raise SettingError(
                f"HIVE_{name.upper()} names another Redis or gateway than those here. Remove the setting first."
            )
    own = ((settings.home / "store").as_uri(), f"{settings.gateway_url}/blob")
    if keeps_files(settings) and settings.store not in own:
        raise SettingError(
            f"HIVE_STORE is {settings.store}, which stays here. Remove the setting, or use a bucket: s3://…."
        )


def _refuse_local_workers(settings: Settings) -> None:
    """Refuse to move while a worker here stores files in the folder of this home, where they would be lost."""
    session = Session(settings)
    with reachable(settings), closing(session.broker):
        workers = session.registry.workers()
    local = [worker["name"] for worker in workers if (worker.get("terms") or {}).get("store") == "folder"]
    if local and keeps_files(settings):
        raise ServiceError(f"{', '.join(local)} stores files in this home. Stop it, and start it again after the move.")


def _new_home(settings: Settings, destination: str, runtime: Runtime | None, python: str | None) -> Home:
    """The new home; the name of its folder tells whose it is."""
    owner = re.sub(r"[^a-z0-9]+", "-", host_name().lower().partition(".")[0]).strip("-")[:20] or "hive"
    digest = hashlib.sha256(f"{host_name()}\0{settings.home}".encode()).hexdigest()[:6]
    ssh_config = str(settings.ssh_config) if settings.ssh_config else ""
    python = settings.deploy_python if python is None else python
    return Home(f"{owner}-{digest}", destination, ssh_config, str(runtime or Runtime.VENV), python, (0, 0))


def _update(settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
    """Update a home that is there already to this machine's Hive and settings, and ensure that it runs."""
    machine = HomeMachine(settings, home, connection, observer)
    host = machine.look()
    is_changed = machine.install(host)
    if is_changed or not host.is_running or host.is_parked:
        observer("starting Redis and the gateway there")
        machine.start()
        machine.await_start()


class _Move:
    """One move to a machine."""

    def __init__(self, settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
        self._settings, self._home, self._connection, self._observe = settings, home, connection, observer

    def run(self) -> tuple[Home, Counts]:
        """Do everything that takes long while Redis and the gateway still run here; then switch."""
        machine = self._machine()
        self._observe(machine.look().summary)
        self._home = Home(
            **{**vars(self._home), "ports": free_ports(self._settings, self._home.name, self._connection)}
        )
        machine = self._machine()
        host = machine.look()
        if host.installed:
            machine.control("park")  # a copy that an earlier move has left
        machine.install(host)
        machine.control("park")
        if keeps_files(self._settings):
            machine.send(home_machine.STORE)
        self._observe("stopping Redis and the gateway here")
        try:
            counts = self._switch(machine)
            record_move(self._settings, self._home)
            machine.start()
            machine.await_start()
        except BaseException:
            self._undo(machine)
            raise
        return self._home, counts

    def _machine(self) -> HomeMachine:
        return HomeMachine(self._settings, self._home, self._connection, self._observe)

    def _switch(self, machine: HomeMachine) -> Counts:
        tunnels.stop_all(self._settings)
        gateway_process.stop(self._settings)
        before = inventory.count(self._settings, PAUSE_S)
        redis_server.stop(self._settings)
        if keeps_files(self._settings):
            machine.send(home_machine.STORE)  # files that have arrived since
        machine.send(home_machine.REDIS)
        self._observe("starting Redis and the gateway there")
        refuse_other(before, machine.try_out(), self._home.destination)
        return before

    def _undo(self, machine: HomeMachine) -> None:
        self._observe("the move failed; starting Redis and the gateway here again")
        record_return(self._settings, self._home)
        with contextlib.suppress(HiveError):
            machine.control("park")
        if redis_server.running_pid(self._settings) is not None:
            inventory.resume(self._settings)
        bring_up(self._settings)


def refuse_other(before: Counts, after: Counts, where: str) -> None:
    """Refuse a copy that differs from the original.

    Raises
    ------
    DeployError
        The message tells what differs.
    """
    differences = [f"{after[name]} {name}, not {before[name]}" for name in before if after[name] != before[name]]
    if differences:
        raise DeployError(f"The copy of Redis on {where} has {'; '.join(differences)}, so it is not used.")


def move_back(settings: Settings, observer: Observer) -> Moved:
    """Move Redis and the gateway back here; do nothing if they are here already.

    Raises
    ------
    ServiceError
        Redis or the gateway cannot be started here, or another process is moving the home.
    DeployError, UnreachableError
        Some files did not arrive, or the machine cannot be reached; the home is there as before.
    """
    home = elsewhere(settings)
    if home is None:
        return Moved(None, None)
    with moving(settings), Connection(home.destination, home.ssh_config) as connection:
        stop_services(settings)  # an earlier move back may have started them
        machine = HomeMachine(settings, home, connection, observer)
        counts = _Return(settings, home, machine, observer).run()
        tunnels.start_all(settings)
        repointed, failed = repoint(settings, home, observer)
        observer("removing the home there")
        try:
            machine.control("remove", timeout_s=300.0)
        except HiveError as error:
            observer(
                f"could not remove the copy on {home.destination} (it does not run): ~/.hive-home/{home.name} ({error})"
            )
    return Moved(None, counts, repointed, failed)


def take_back(settings: Settings) -> Home:
    """Return to the state before the move, without contacting the machine, which no longer exists.

    Raises
    ------
    NotFoundError
        The home is here.
    """
    home = elsewhere(settings)
    if home is None:
        raise NotFoundError("The home of this Hive is here already.")
    with moving(settings):
        tunnels.stop_all(settings)
        record_return(settings, home)
    return home


class _Return:
    """One move back."""

    def __init__(self, settings: Settings, home: Home, machine: HomeMachine, observer: Observer) -> None:
        self._settings, self._home, self._machine, self._observe = settings, home, machine, observer

    def run(self) -> Counts:
        """Do everything that takes long while Redis and the gateway still run there; then switch."""
        host = self._machine.look()
        if host.is_parked or not host.is_running:  # an earlier move back was interrupted
            self._machine.start()
            self._machine.await_start()
        if keeps_files(self._settings):
            self._machine.fetch(home_machine.STORE)
        self._observe(f"stopping Redis and the gateway on {self._home.destination}")
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
            self._machine.fetch(home_machine.STORE)  # files that have arrived since
        self._machine.fetch(home_machine.REDIS)
        self._observe("starting Redis and the gateway here")
        redis_server.start(self._settings)
        refuse_other(before, inventory.count(self._settings), "this machine")
        gateway_process.start(self._settings)
        return before

    def _undo(self) -> None:
        self._observe(f"the move failed; starting Redis and the gateway on {self._home.destination} again")
        record_move(self._settings, self._home)
        with contextlib.suppress(HiveError):
            gateway_process.stop(self._settings)
            redis_server.stop(self._settings)
        try:
            self._machine.start()
        except HiveError:
            self._observe(
                f"they do not run there yet; when the machine is back, run: hive home {self._home.destination}"
            )
        shutil.rmtree(self._settings.home / "redis" / "incoming", ignore_errors=True)
        tunnels.start_all(self._settings)

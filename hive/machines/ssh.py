"""Machines that are reached by ssh from here: the wait for them, their worker, and which way a machine gets one."""

import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from hive.errors import HiveError, SettingError, UnreachableError
from hive.home.network import opened
from hive.machines import host_keys
from hive.machines.sweep import undisturbed
from hive.providers.first_start import AtFirstStart, Installer, Limits, script, values_of, worker_settings
from hive.providers.machine import Machine, Records
from hive.providers.provider import Provider
from hive.remote import Record, Target, Via, deploy, records, refuse_unready
from hive.remote.ssh import Connection
from hive.settings import Settings

_MOST_AT_ONCE = 8
_LOOK_EVERY_S, _KNOCK_EVERY_S = 2.0, 2.0
_STOP_S = 20.0


class OverSsh:
    """Puts workers on machines over ssh, with a tunnel to each."""

    advice = ""

    def __init__(self, settings: Settings) -> None:
        refuse_unready(settings)
        self._settings = settings
        self._limits: dict[str, Limits] = {}

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script that plans the machine's end, gives it its host key, and lets this Hive in."""
        private, public = host_keys.expect(self._settings, machine)
        self._limits[machine.name] = limits
        values = values_of(self._settings, machine) | {
            "HIVE_SHELL": "/bin/bash",
            "HIVE_HOST_KEY": private,
            "HIVE_HOST_KEY_PUBLIC": public,
            "HIVE_LET_IN": host_keys.own_key(self._settings),
        }
        return script(values, "over_ssh")

    def ssh_key(self, of_user: str) -> str:
        """That of the user, who may look around there as the image's administrator; that of this Hive otherwise."""
        return of_user or host_keys.own_key(self._settings)

    def bring(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Wait for the machines' addresses and bring each its worker; returns by name why one got none."""
        waiting = {one.name: one for one in machines}
        over = time.monotonic() + self._settings.fleet_report_s
        carriers, failed = _Carriers(say), dict[str, str]()
        try:
            while waiting or carriers.are_busy:
                for name, address in self._addresses(provider, waiting).items():
                    if not carriers.are_full:
                        record = self._record(waiting.pop(name), address)
                        carriers.send(self._settings, record)
                        say(f"{name}: waiting until {address} lets Hive in")
                failed |= carriers.look(_LOOK_EVERY_S)
                if time.monotonic() > over and not carriers.are_busy:
                    failed |= dict.fromkeys(waiting, f"{provider.name} gave no public address")
                    waiting.clear()
        finally:
            carriers.stop()
        return failed

    def _addresses(self, provider: Provider, waiting: Mapping[str, Machine]) -> dict[str, str]:
        if not waiting:
            return {}
        found = provider.list(Records(self._settings).hive)
        return {one.name: one.address for one in found if one.name in waiting and one.address}

    def _record(self, machine: Machine, address: str) -> Record:
        """Write down what is deployed there before it is, so that whatever happens it can be taken back."""
        record = Record(
            name=machine.name,
            destination=f"{host_keys.USER}@{machine.name}",
            ssh_config=str(host_keys.ssh_config(self._settings, machine, address)),
            capabilities=machine.capabilities,
            via=Via.VENV,
            python=self._settings.deploy_python,
            allows_scripts=False,
            ports=(0, 0),
            more=worker_settings(machine, self._limits[machine.name]),
        )
        records.keep(self._settings, record)
        return record


@dataclass
class _Carriers:
    """The processes that bring workers; each tells by a pipe what it does, and at last why it failed or ""."""

    say: Callable[[str], None]
    _running: dict[str, tuple[BaseProcess, Pipe]] = dataclasses.field(default_factory=dict)

    @property
    def are_busy(self) -> bool:
        return bool(self._running)

    @property
    def are_full(self) -> bool:
        return len(self._running) >= _MOST_AT_ONCE

    def send(self, settings: Settings, record: Record) -> None:
        """Start one."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_carry, args=(settings, record, there))
        with undisturbed(signal.SIGINT, signal.SIGHUP):  # it inherits that: who ends it is this process alone
            process.start()
        there.close()
        self._running[record.name] = (process, here)

    def look(self, timeout_s: float) -> dict[str, str]:
        """Pass on what they say; returns by name why one has failed meanwhile."""
        if not self._running:
            time.sleep(timeout_s)
            return {}
        failed: dict[str, str] = {}
        names = {id(pipe): name for name, (_, pipe) in self._running.items()}
        for pipe in wait([pipe for _, pipe in self._running.values()], timeout_s):
            name = names[id(pipe)]
            is_over, words = self._hear(name)
            if is_over:
                self._end(name)
                failed |= {name: words} if words else {}
            else:
                self.say(f"{name}: {words}")
        return failed

    def stop(self) -> None:
        """End all of them; what they have begun is taken back by whoever wanted it."""
        with undisturbed():
            for process, _ in self._running.values():
                process.terminate()
            for name in list(self._running):
                self._end(name)

    def _hear(self, name: str) -> tuple[bool, str]:
        try:
            is_over, words = self._running[name][1].recv()
        except EOFError:
            return True, "the installation was broken off"
        return bool(is_over), str(words)

    def _end(self, name: str) -> None:
        process, pipe = self._running.pop(name)
        process.join(_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        pipe.close()


def _carry(settings: Settings, record: Record, pipe: Pipe) -> None:
    """Bring one worker, in a process of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait_until_let_in(record, settings.fleet_report_s)
        deploy(settings, Target(record.destination, name=record.name), lambda words: pipe.send((False, words)))
        pipe.send((True, ""))
    except HiveError as error:
        pipe.send((True, str(error)))
    except (KeyboardInterrupt, BrokenPipeError):
        return  # whoever wanted it does not want it any more


def _wait_until_let_in(record: Record, limit_s: float) -> None:
    """Knock until the machine opens: at first nobody is there, then its own sshd with a key of its own."""
    over = time.monotonic() + limit_s
    while True:
        try:
            with Connection(record.destination, record.ssh_config):
                return
        except UnreachableError as error:
            if time.monotonic() > over:
                raise UnreachableError(f"ssh was not let in within {limit_s:g} s: {error}") from error
        time.sleep(_KNOCK_EVERY_S)


class Way(StrEnum):
    """Who goes to whom: this side to the machine, or the machine to this side."""

    SSH = "ssh"
    LAN = "lan"


def choose(settings: Settings, way: str | None, ssh_key: str, ssh_from: str) -> Installer:
    """The way that is wanted; where none is, that of `hive up --lan` if it was called so, and over ssh otherwise.

    Raises
    ------
    SettingError
        The way does not fit to this Hive, or to the other options; says what would.
    UnreachableError, DeployError
        What the way needs is not there.
    """
    wanted = Way(way) if way else Way.LAN if opened(settings) is not None else Way.SSH
    return _over_ssh(settings, ssh_from) if wanted is Way.SSH else _at_first_start(settings, ssh_key, ssh_from)


def _over_ssh(settings: Settings, ssh_from: str) -> Installer:
    if not ssh_from:
        raise SettingError(
            "Hive goes to these machines over ssh: say from where they let it in, by --ssh-from ADDRESS/32 with the "
            "address by which the internet knows you. It is what this says: curl https://checkip.amazonaws.com."
        )
    return OverSsh(settings)


def _at_first_start(settings: Settings, ssh_key: str, ssh_from: str) -> Installer:
    if opened(settings) is None:
        raise SettingError(
            "Rented machines cannot come to this Hive, which listens at 127.0.0.1 only. Leave --via lan away, and Hive "
            "goes to them; or open it: hive down, then hive up --lan --address NAME."
        )
    if bool(ssh_key) != bool(ssh_from):
        raise SettingError(
            "These machines come by themselves and let nobody in. To look around there, give both --ssh-key FILE.pub "
            "and --ssh-from ADDRESS/32; leave both away otherwise."
        )
    return AtFirstStart(settings)

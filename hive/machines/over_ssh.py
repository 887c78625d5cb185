"""Machines that are reached over ssh from here: waiting for them, installing their workers; and how workers connect."""

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
from hive.home.network import network_access
from hive.machines import host_keys
from hive.machines.first_start import AtFirstStart, Installer, Limits, common_values, script, worker_settings
from hive.machines.records import Machine, Records
from hive.machines.sweep import uninterrupted
from hive.providers.provider import Provider
from hive.remote import Record, Runtime, Target, deploy, records, refuse_unready
from hive.remote.ssh import Connection
from hive.settings import Settings

_MAX_PARALLEL = 8
_POLL_S, _RETRY_S = 2.0, 2.0
_STOP_S = 20.0


class OverSsh:
    """Installs workers over ssh, with a tunnel to each."""

    advice = ""

    def __init__(self, settings: Settings) -> None:
        refuse_unready(settings)
        self._settings = settings
        self._limits: dict[str, Limits] = {}

    def user_data(self, machine: Machine, limits: Limits) -> str:
        """The script that schedules the machine's end, installs its host key, and authorizes this Hive."""
        private, public = host_keys.make_host_key(self._settings, machine)
        self._limits[machine.name] = limits
        values = common_values(self._settings, machine) | {
            "HIVE_SHELL": "/bin/bash",
            "HIVE_HOST_KEY": private,
            "HIVE_HOST_KEY_PUBLIC": public,
            "HIVE_AUTHORIZED_KEY": host_keys.own_key(self._settings),
        }
        return script(values, "over_ssh")

    def ssh_key(self, user_key: str) -> str:
        """The user's key, for the image's administrator; this Hive's otherwise."""
        return user_key or host_keys.own_key(self._settings)

    def install(self, provider: Provider, machines: Sequence[Machine], say: Callable[[str], None]) -> dict[str, str]:
        """Wait for the machines' addresses and install each worker; returns the failures: reason by name."""
        waiting = {machine.name: machine for machine in machines}
        deadline = time.monotonic() + self._settings.fleet_report_s
        installations, failures = _Installations(say), dict[str, str]()
        try:
            while waiting or installations.are_running:
                for name, address in self._addresses(provider, waiting).items():
                    if not installations.are_full:
                        record = self._record(waiting.pop(name), address)
                        installations.start(self._settings, record)
                        say(f"{name}: waiting until {address} accepts ssh")
                failures |= installations.poll(_POLL_S)
                if time.monotonic() > deadline and not installations.are_running:
                    failures |= dict.fromkeys(waiting, f"{provider.name} assigned no public address")
                    waiting.clear()
        finally:
            installations.stop()
        return failures

    def _addresses(self, provider: Provider, waiting: Mapping[str, Machine]) -> dict[str, str]:
        if not waiting:
            return {}
        resources = provider.list(Records(self._settings).hive)
        return {each.name: each.address for each in resources if each.name in waiting and each.address}

    def _record(self, machine: Machine, address: str) -> Record:
        """Record the deployment before it begins, so that it can be rolled back whatever happens."""
        record = Record(
            name=machine.name,
            destination=f"{host_keys.USER}@{machine.name}",
            ssh_config=str(host_keys.write_ssh_config(self._settings, machine, address)),
            capabilities=machine.capabilities,
            runtime=Runtime.VENV,
            python=self._settings.deploy_python,
            allows_scripts=False,
            ports=(0, 0),
            more=worker_settings(machine, self._limits[machine.name]),
        )
        records.save(self._settings, record)
        return record


@dataclass
class _Installations:
    """The processes that install workers; each sends its progress through a pipe, and at last its error or ""."""

    say: Callable[[str], None]
    _running: dict[str, tuple[BaseProcess, Pipe]] = dataclasses.field(default_factory=dict)

    @property
    def are_running(self) -> bool:
        return bool(self._running)

    @property
    def are_full(self) -> bool:
        return len(self._running) >= _MAX_PARALLEL

    def start(self, settings: Settings, record: Record) -> None:
        """Start the installation of one worker."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_install, args=(settings, record, there))
        with uninterrupted(signal.SIGINT, signal.SIGHUP):  # the child inherits this: only this process ends it
            process.start()
        there.close()
        self._running[record.name] = (process, here)

    def poll(self, timeout_s: float) -> dict[str, str]:
        """Pass on the progress; returns the failures since the last poll: reason by name."""
        if not self._running:
            time.sleep(timeout_s)
            return {}
        failures: dict[str, str] = {}
        names = {id(pipe): name for name, (_, pipe) in self._running.items()}
        for pipe in wait([pipe for _, pipe in self._running.values()], timeout_s):
            name = names[id(pipe)]
            is_over, message = self._receive(name)
            if is_over:
                self._join(name)
                failures |= {name: message} if message else {}
            else:
                self.say(f"{name}: {message}")
        return failures

    def stop(self) -> None:
        """End all installations; the launch rolls back what they have begun."""
        with uninterrupted():
            for process, _ in self._running.values():
                process.terminate()
            for name in list(self._running):
                self._join(name)

    def _receive(self, name: str) -> tuple[bool, str]:
        try:
            is_over, message = self._running[name][1].recv()
        except EOFError:
            return True, "the installation was interrupted"
        return bool(is_over), str(message)

    def _join(self, name: str) -> None:
        process, pipe = self._running.pop(name)
        process.join(_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        pipe.close()


def _install(settings: Settings, record: Record, pipe: Pipe) -> None:
    """Install one worker, in a process of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait_for_ssh(record, settings.fleet_report_s)
        deploy(settings, Target(record.destination, name=record.name), lambda message: pipe.send((False, message)))
        pipe.send((True, ""))
    except HiveError as error:
        pipe.send((True, str(error)))
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the launch was interrupted


def _wait_for_ssh(record: Record, limit_s: float) -> None:
    """Try until the machine accepts ssh: at first nothing listens, then its own sshd with a key of its own."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            with Connection(record.destination, record.ssh_config):
                return
        except UnreachableError as error:
            if time.monotonic() > deadline:
                raise UnreachableError(f"ssh was not accepted within {limit_s:g} s: {error}") from error
        time.sleep(_RETRY_S)


class Route(StrEnum):
    """Who connects to whom: this side to the machine over ssh, or the machine to this side."""

    SSH = "ssh"
    LAN = "lan"


def choose_installer(settings: Settings, route: str | None, ssh_key: str, ssh_from: str) -> Installer:
    """The installer for a route; by default `lan` after `hive up --lan`, and `ssh` otherwise.

    Raises
    ------
    SettingError
        The route does not fit this Hive or the other options; says what would.
    UnreachableError, DeployError
        Something that the route needs is missing.
    """
    choice = Route(route) if route else Route.LAN if network_access(settings) is not None else Route.SSH
    makers = {Route.SSH: _over_ssh, Route.LAN: _at_first_start}
    return makers[choice](settings, ssh_key, ssh_from)


def _over_ssh(settings: Settings, ssh_key: str, ssh_from: str) -> Installer:
    if not ssh_from:
        raise SettingError(
            "Hive connects to these machines over ssh and needs to know from which address: pass --ssh-from ADDRESS/32 "
            "with your public address, which this prints: curl https://checkip.amazonaws.com."
        )
    return OverSsh(settings)


def _at_first_start(settings: Settings, ssh_key: str, ssh_from: str) -> Installer:
    if network_access(settings) is None:
        raise SettingError(
            "Rented machines cannot reach this Hive, which listens on 127.0.0.1 only. Leave out --via lan, so that "
            "Hive connects to them; or open it: hive down, then hive up --lan --address NAME."
        )
    if bool(ssh_key) != bool(ssh_from):
        raise SettingError(
            "These machines connect by themselves and accept no ssh. To log in there, pass both --ssh-key FILE.pub and "
            "--ssh-from ADDRESS/32; otherwise leave out both."
        )
    return AtFirstStart(settings)

"""Installing a worker on a machine over ssh, waiting for its report, and removing it."""

import dataclasses
import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive.client import Session
from hive.errors import DeployError, SettingError, UnreachableError
from hive.home import gateway_process, redis_server
from hive.home.location import elsewhere, wait_for_tunnel
from hive.home.network import network_access
from hive.remote import bundle, records
from hive.remote.host import Host, Runtime, Target, format_nodes, look_at, name_for, nodes_of, refuse_unfit
from hive.remote.records import Record, home_files, identity_for, is_outdated, refuse_foreign, revoke
from hive.remote.ssh import Connection, refuse_no_ssh
from hive.remote.tunnel import choose_ports, close_tunnel, open_tunnel, tunnel_state
from hive.settings import Settings
from hive.store.connection import reachable

_REMOVE_S = 300.0


@dataclass(frozen=True)
class Removed:
    """A removed worker; `left` tells what is still on the machine and why, "" for nothing."""

    name: str
    destination: str
    left: str = ""


def remove(settings: Settings, name: str, *, is_gone: bool = False) -> Removed:
    """Stop a worker, remove its files from its machine, revoke its identity and close its tunnel.

    With `is_gone` the machine no longer exists and is not contacted. If it does not answer, everything on this side is
    done, and the record stays so that the removal can be repeated.

    Raises
    ------
    NotFoundError
        There is no such deployment.
    DeployError
        The machine answers, but its files cannot be removed.
    """
    record = records.find_or_refuse(settings, name)
    left = ""
    if not is_gone:
        try:
            with Connection(record.destination, record.ssh_config) as connection:
                _remove_files(connection, name)
        except UnreachableError as error:
            left = str(error)
    close_tunnel(settings, name)
    revoke(settings, name)
    if left:
        records.save(settings, dataclasses.replace(record, is_left=True))
    else:
        records.forget(settings, name)
    return Removed(name, record.destination, left)


def _remove_files(connection: Connection, name: str) -> None:
    """Remove everything that a deployment has copied to a machine."""
    values = {"HIVE_DEPLOY_NAME": name, "HIVE_DEPLOY_ACTION": "remove"}
    connection.run(bundle.script("control.sh"), values, timeout_s=_REMOVE_S)


_REPORT_S, _POLL_S = 120.0, 0.2
_POLL_HOST_S = 3.0
_MAX_ENDS = 2


def worker_names(record: Record) -> list[str]:
    """The names of a deployment's workers: one for each capability."""
    return [f"{node.capability}@{record.name}" for node in nodes_of(record.capabilities)]


def reports(session: Session, record: Record) -> dict[str, Mapping[str, Any]]:
    """The last reports of a deployment's workers, by name."""
    with reachable(session.settings):
        by_name = {report["name"]: report for report in session.registry.workers()}
    return {name: by_name[name] for name in worker_names(record) if name in by_name}


def wait_for_workers(
    settings: Settings, record: Record, before: Mapping[str, Mapping[str, Any]], look: Callable[[], Host]
) -> tuple[Mapping[str, Any], ...]:
    """Wait until every worker reports from another process than `before`; returns the reports.

    Raises
    ------
    DeployError
        They do not; the error has the last line of their log.
    """
    deadline = time.monotonic() + _REPORT_S
    next_look = time.monotonic() + _POLL_HOST_S
    names, session = worker_names(record), Session(settings)
    while time.monotonic() < deadline:
        current = reports(session, record)
        if all(name in current and current[name]["pid"] != before.get(name, {}).get("pid") for name in names):
            return tuple(current[name] for name in names)
        if time.monotonic() > next_look and _is_failing(host := look()):
            raise DeployError(_explanation(settings, record, host))
        next_look = next_look if time.monotonic() < next_look else time.monotonic() + _POLL_HOST_S
        time.sleep(_POLL_S)
    raise DeployError(_explanation(settings, record, look()))


def _is_failing(host: Host) -> bool:
    return not host.is_running or host.ends >= _MAX_ENDS


def _explanation(settings: Settings, record: Record, host: Host) -> str:
    tunnel = tunnel_state(settings, record.name)
    if tunnel is not None and tunnel.state != "up":
        return f"The tunnel to {record.destination} is {tunnel.state}: {tunnel.error or 'ssh printed nothing'}."
    place = f"{host.home}/.hive-worker/{record.name}/worker.log"
    last_line = f" The last line of its log: {host.log.rstrip('.')}." if host.log else ""
    failure = "exits right after it starts" if _is_failing(host) else f"does not report within {_REPORT_S:g} s"
    return f"The worker on {record.destination} {failure}.{last_line} Its log there: {place}."


# Receives each step in a few words.
Observer = Callable[[str], None]
_DEFAULT_CAPABILITIES = "gis"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_INSTALL_S = 3600.0


@dataclass(frozen=True)
class Deployed:
    """A worker on a machine: its reports, and whether anything was changed for it."""

    record: Record
    host: Host
    workers: tuple[Mapping[str, Any], ...]
    is_changed: bool

    def to_json(self) -> dict[str, Any]:
        """The fields of `--json`."""
        return self.record.to_json() | {
            "is_changed": self.is_changed,
            "host": self.host.to_json(),
            "workers": [dict(report) for report in self.workers],
        }


def deploy(settings: Settings, target: Target, observer: Observer) -> Deployed:
    """Install a worker on a machine, or update the one there. A repeated call changes only what has changed.

    Raises
    ------
    SettingError, UnknownNameError
        The target is invalid.
    DeployError
        The machine cannot take such a worker, or the worker does not start.
    UnreachableError
        The Mac side does not run, or the machine cannot be reached, or the connection broke.
    """
    record = _new_record(settings, target)
    refuse_unready(settings)
    with Connection(record.destination, record.ssh_config) as connection:
        return _Deployment(settings, record, connection, observer).run()


def _new_record(settings: Settings, target: Target) -> Record:
    """The record of the deployment: the target, completed from the earlier record."""
    name = target.name or name_for(target.destination)
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"{name!r} cannot be a worker's name. Use lower-case letters, digits and hyphens, such as studio."
        )
    earlier = records.find(settings, name)
    if earlier is None:
        refuse_foreign(settings, name)
        earlier = Record(
            name, target.destination, "", _DEFAULT_CAPABILITIES, Runtime.VENV, settings.deploy_python, False, None
        )
        has_tunnel = network_access(settings) is None
    else:
        has_tunnel = earlier.ports is not None
    if earlier.destination != target.destination:
        raise SettingError(f"{name} is deployed to {earlier.destination}. Choose another name: --name NAME.")
    has_tunnel = has_tunnel if target.has_tunnel is None else target.has_tunnel
    if not has_tunnel and network_access(settings) is None:
        raise SettingError(
            "This Mac side is not open to the network. Open it: hive down, then hive up --lan. Or pass --tunnel."
        )
    requested: dict[str, Any] = {
        "capabilities": target.capabilities and format_nodes(nodes_of(target.capabilities)),
        "runtime": target.runtime,
        "python": target.python if target.python is not None else settings.deploy_python or None,
        "allows_scripts": target.allows_scripts,
    }
    changes = {key: value for key, value in requested.items() if value is not None}
    ports = (earlier.ports or (0, 0)) if has_tunnel else None
    is_rented = bool(earlier.more)  # then only the config that was written for it has its host key
    ssh_config = str(settings.ssh_config) if settings.ssh_config and not is_rented else earlier.ssh_config
    record = dataclasses.replace(earlier, **changes, ports=ports, ssh_config=ssh_config, is_left=False)
    return dataclasses.replace(record, capabilities=format_nodes(nodes_of(record.capabilities)))


def refuse_unready(settings: Settings) -> None:
    """Refuse what would fail because something is missing here, before any machine is contacted.

    Raises
    ------
    UnreachableError
        The Mac side does not run, or its home is elsewhere and cannot be reached.
    DeployError
        A file to copy is missing, or ssh.
    """
    if home := elsewhere(settings):
        wait_for_tunnel(settings, home)
    elif redis_server.running_pid(settings) is None or gateway_process.running_pid(settings) is None:
        raise UnreachableError(
            "Redis and the gateway do not both run here, and the worker needs both. Start them: hive up."
        )
    refuse_no_ssh()
    bundle.source()


class _Deployment:
    """One deployment, over one connection."""

    def __init__(self, settings: Settings, record: Record, connection: Connection, observer: Observer) -> None:
        self._settings, self._record = settings, record
        self._connection, self._observe = connection, observer
        self._earlier = records.find(settings, record.name)

    def run(self) -> Deployed:
        host = self._look()
        self._observe(host.summary)
        if self._earlier is not None and self._earlier.runtime != self._record.runtime:
            self._observe(f"removing the worker in {self._earlier.runtime}")
            _remove_files(self._connection, self._record.name)
            host = self._look()
        return self._install(host)

    def _install(self, host: Host) -> Deployed:
        self._choose_ports()
        records.save(self._settings, self._record)
        capabilities = [node.capability for node in nodes_of(self._record.capabilities)]
        installed = bundle.digest(bundle.source(), *capabilities, self._record.runtime, self._record.python)
        before = reports(Session(self._settings), self._record)
        if host.is_running and is_outdated(self._settings, self._record):
            self._control("prepare")  # it must not lose its connections while it works
        home = home_files(self._settings, self._record, identity_for(self._settings, self._record))
        files = self._files(host, home, installed)
        configured = bundle.digest(files)
        is_changed = (installed, configured) != (host.installed, host.configured)
        if is_changed:
            self._copy(files | _assignment("CONFIGURED", configured, files), installed != host.installed)
        open_tunnel(self._settings, self._record)
        if is_changed or not host.is_running:
            self._observe("starting the worker")
            self._control("start")
            is_changed = True
        else:
            before = {}
        workers = wait_for_workers(self._settings, self._record, before, self._look)
        self._refuse_exposed()
        return Deployed(self._record, host, workers, is_changed)

    def _refuse_exposed(self) -> None:
        """Refuse a tunnel that sshd opens to the whole network: it would carry passwords unencrypted."""
        if self._record.ports is not None and self._look().is_exposed:
            close_tunnel(self._settings, self._record.name)
            raise DeployError(
                f"The sshd of {self._record.destination} opens the tunnel to its whole network, so Hive has closed it. "
                "Set GatewayPorts no in its sshd_config."
            )

    def _look(self) -> Host:
        record = self._record
        host = look_at(self._connection, record.name, record.python, record.ports[0] if record.ports else None)
        capabilities = [node.capability for node in nodes_of(record.capabilities)]
        refuse_unfit(host, record.destination, Runtime(record.runtime), capabilities, record.python)
        return host

    def _choose_ports(self) -> None:
        if self._record.ports is None:
            close_tunnel(self._settings, self._record.name)
        else:
            ports = choose_ports(self._settings, self._record, self._connection)
            self._record = dataclasses.replace(self._record, ports=ports)

    def _files(self, host: Host, home: Mapping[str, bytes], installed: str) -> dict[str, bytes]:
        values = {
            "NAME": self._record.name,
            "VIA": str(self._record.runtime),
            "CAPABILITIES": ",".join(node.capability for node in nodes_of(self._record.capabilities)),
            "PYTHON": self._record.python,
            "GPUS": "all" if host.gpus else "",
            "INSTALLED": installed,
        }
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        return {"control.sh": bundle.script("control.sh").encode(), "deployed.conf": lines.encode(), **home}

    def _copy(self, files: Mapping[str, bytes], has_new_source: bool) -> None:
        self._observe("copying Hive and the worker's identity" if has_new_source else "copying the worker's settings")
        self._control("prepare")
        if has_new_source:
            self._connection.send(bundle.archive(bundle.source(), "source.new/"), self._record.name)
        self._connection.send(bundle.archive(files), self._record.name)
        if has_new_source:
            self._observe(f"installing for {self._record.capabilities}")
            self._control("install", _INSTALL_S)

    def _control(self, action: str, timeout_s: float = 120.0) -> None:
        values = {"HIVE_DEPLOY_NAME": self._record.name, "HIVE_DEPLOY_ACTION": action}
        self._connection.run(bundle.script("control.sh"), values, on_line=self._observe, timeout_s=timeout_s)


def _assignment(name: str, value: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The settings of control.sh with one more assignment."""
    return {"deployed.conf": files["deployed.conf"] + f"{name}={shlex.quote(value)}\n".encode()}

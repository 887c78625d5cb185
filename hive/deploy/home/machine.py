"""The machine that a home moves to: what is put there, and the few things that are asked of it."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hive.deploy import bundle
from hive.deploy.home import transfer
from hive.deploy.home.settings import home_files
from hive.deploy.home.transfer import Sizes
from hive.deploy.host import Host, look_at, refuse_unfit
from hive.deploy.ssh import Connection
from hive.deploy.target import Via
from hive.errors import DeployError, ServiceError
from hive.orchestrator.home import Home
from hive.orchestrator.service import HOST
from hive.orchestrator.tunnels import alone
from hive.settings import Settings

Observer = Callable[[str], None]
Counts = Mapping[str, int]
KIND = "home"
# Longer than a large Redis takes to write everything down; it ends with the process anyway.
PAUSE_S = 30.0
_INSTALL_S, _START_S, _REACH_S = 3600.0, 120.0, 30.0
_LOOK_EVERY_S = 0.3
_MOST_ENDS = 2
_QUESTION = b"PING\r\nQUIT\r\n"
# It comes with the files, for a home must not run before its data is there.
_PARKED = {"parked": b""}


class HomeMachine:
    """One machine, over one connection."""

    def __init__(self, settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
        self._settings, self._home, self._connection, self._tell = settings, home, connection, observer

    def look(self) -> Host:
        """What it is and has.

        Raises
        ------
        DeployError
            It cannot be a home.
        """
        home = self._home
        host = look_at(self._connection, home.name, home.python, home.ports[0] or None, KIND)
        refuse_unfit(host, home.destination, Via(home.via), [KIND], home.python)
        return host

    def bring(self, host: Host) -> bool:
        """Install Hive and the settings of the home where they have changed; returns whether they had.

        What is new there is parked; what runs is stopped first.
        """
        home = self._home
        files = home_files(self._settings, home)
        installed = bundle.digest(bundle.source(), KIND, home.via, home.python)
        values = {"NAME": home.name, "KIND": KIND, "VIA": home.via, "CAPABILITIES": KIND, "PYTHON": home.python}
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in (values | {"INSTALLED": installed}).items())
        files |= {"control.sh": bundle.script("control.sh").encode(), "deployed.conf": lines.encode()}
        lasting = {name: content for name, content in files.items() if not name.endswith(".identity")}
        configured = bundle.digest(lasting)
        if (installed, configured) == (host.installed, host.configured):
            return False
        files["deployed.conf"] += f"CONFIGURED={shlex.quote(configured)}\n".encode()
        self._copy(files, installed != host.installed, is_new=not host.installed)
        return True

    def _copy(self, files: Mapping[str, bytes], has_new_source: bool, is_new: bool) -> None:
        self.control("prepare")
        if has_new_source:
            self._tell("copying Hive")
            self._connection.send(bundle.archive(bundle.source(), "source.new/"), self._home.name, KIND)
        self._connection.send(bundle.archive({**files, **(_PARKED if is_new else {})}), self._home.name, KIND)
        if has_new_source:
            self._tell("installing Redis and the gateway")
            self.control("install", timeout_s=_INSTALL_S)

    def control(self, action: str, timeout_s: float = 120.0, **values: str) -> str:
        """Let control.sh do something there; returns what it prints."""
        given = {"HIVE_DEPLOY_NAME": self._home.name, "HIVE_DEPLOY_ACTION": action, "HIVE_DEPLOY_KIND": KIND, **values}
        return self._connection.run(bundle.script("control.sh"), given, on_line=self._tell, timeout_s=timeout_s)

    def begin(self) -> None:
        """Start Redis and the gateway there, and let them be started after each restart of the machine."""
        self.control("unpark")
        self.control("start")

    def try_out(self) -> Counts:
        """Start Redis and the gateway there for a moment, while they are not the home yet; returns what Redis holds.

        Raises
        ------
        DeployError
            They do not start, or the sshd there lets nobody through to them.
        """
        try:
            found: dict[str, int] = json.loads(self.control("try_out"))
            self._refuse_closed()
        finally:
            self.control("park")
        del found["gateway"]
        return found

    def leave(self) -> Counts:
        """Stop Redis and the gateway there, for good; returns what Redis holds.

        Raises
        ------
        DeployError
            They do not end.
        """
        self.control("park")
        found: dict[str, int] = json.loads(self.control("measure", PAUSE_S=f"{PAUSE_S:g}"))
        del found["gateway"]
        return found

    def await_start(self) -> None:
        """Wait until Redis and the gateway answer there.

        Raises
        ------
        DeployError
            They do not; the text has the last words of their log.
        """
        end, last = time.monotonic() + _START_S, ""
        while time.monotonic() < end:
            try:
                found: dict[str, int] = json.loads(self.control("count"))
                if found["gateway"]:
                    return
            except DeployError as error:
                last = str(error)
            host = self.look()
            if host.ends >= _MOST_ENDS or not host.is_running:
                words = host.log.removeprefix("hive: ").rstrip(".") or last
                raise DeployError(f"Redis and the gateway do not start on {self._home.destination}. {words}.")
            time.sleep(_LOOK_EVERY_S)
        raise DeployError(f"Redis and the gateway do not answer on {self._home.destination}. {last}")

    def _refuse_closed(self) -> None:
        """Refuse a machine whose sshd lets nobody through to its own ports.

        Raises
        ------
        DeployError
            Says what to change there.
        """
        through = ["-W", f"{HOST}:{self._home.ports[0]}"]
        try:
            ended = subprocess.run(  # noqa: S603  a list of words; what is a host has been checked
                [*alone(self._home.ssh_config), *through, "--", self._home.destination],
                input=_QUESTION, capture_output=True, check=False, timeout=_REACH_S,
            )  # fmt: skip
            answers = ended.stdout.startswith((b"+", b"-"))
        except subprocess.TimeoutExpired:
            answers = False
        if not answers:
            raise DeployError(
                f"The sshd of {self._home.destination} lets no tunnel through to Redis there. Let it: "
                "AllowTcpForwarding, PermitOpen in its sshd_config."
            )

    def files(self, part: str) -> Sizes:
        """What it keeps."""
        return transfer.read_list(self.control("list"), part)

    def send(self, part: str) -> None:
        """Bring it what it lacks of a part of the home.

        Raises
        ------
        DeployError
            There is no room, or it cannot be written.
        """
        home, has = self._settings.home, self.files(part)
        missing = transfer.lacking(transfer.files_of(home, part), {} if part == transfer.REDIS else has)
        host = look_at(self._connection, self._home.name, self._home.python, None, KIND)
        if host.free_bytes < sum(missing.values()):
            raise DeployError(
                f"{self._home.destination} has {host.free_bytes / 1e9:.2f} GB free in {host.home}; this home still "
                f"needs {sum(missing.values()) / 1e9:.2f} GB there. Make room there."
            )
        if missing:
            self._tell(f"copying {'jobs' if part == transfer.REDIS else 'files of jobs'} ({transfer.words(missing)})")
        for batch in [missing] if part == transfer.REDIS else transfer.batches(missing):
            self.control("clear")
            self._try_put(batch)
            self.control("take", timeout_s=600.0)
        if part == transfer.REDIS and self.files(part) != missing:
            raise DeployError(f"{self._home.destination} has not got all that Redis holds. Run this again.")

    def _try_put(self, batch: Sizes) -> None:
        try:
            transfer.put(self._connection, self._home.name, self._settings.home, batch)
        except OSError as error:
            raise ServiceError(
                f"{error.filename or 'A file'} cannot be read ({error.strerror}). Run this again."
            ) from error

    def fetch(self, part: str) -> None:
        """Bring here what is missing here of a part of the home; Redis' data as a whole.

        Raises
        ------
        DeployError
            Not all of it came.
        """
        home, has = self._settings.home, self.files(part)
        if part == transfer.STORE:
            missing = transfer.lacking(has, transfer.files_of(home, part))
            if missing:
                self._tell(f"bringing files of jobs ({transfer.words(missing)})")
            for batch in transfer.batches(missing):
                self._try_get(home, batch)
            return
        self._tell(f"bringing jobs ({transfer.words(has)})")
        incoming = home / "redis" / "incoming"
        self._try_get(incoming, has)
        transfer.exchange(incoming / part, home / part)

    def _try_get(self, folder: Path, batch: Sizes) -> None:
        try:
            transfer.get(self._connection, self._home.name, folder, batch)
        except OSError as error:
            raise ServiceError(f"{folder} cannot be written ({error.strerror}). Make room here.") from error

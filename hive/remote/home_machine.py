"""The machine that a home moves to: its settings, the transfer of files, and the control of Redis and the gateway.

Files take their place only when they have arrived completely. Files that the other side already has are not sent again,
so an interrupted move resumes.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from hive.errors import DeployError, ServiceError
from hive.home.keys import ELSEWHERE
from hive.home.location import Home
from hive.home.service import HOST
from hive.home.tunnels import unshared_ssh
from hive.home.users import identities, identity_file
from hive.remote import bundle
from hive.remote.host import Host, Runtime, look_at, refuse_unfit
from hive.remote.records import changed, toml
from hive.remote.ssh import Connection
from hive.settings import ROLES, Settings
from hive.versions import store_kind

# Settings that Redis and the gateway read.
_SHARED = ("lease_s", "max_attempts", "keep_days", "log_lines", "budget_usd_per_day", "budget_usd_per_month")
# Jobs are still signed here: access/submitter.key does not leave this machine.
_SECRETS = ("redis.password", "gateway.token", "access/gateway.key", "access/trusted.json")
_HEAD = "# Written by `hive home`. This folder is the HIVE_HOME of Redis and the gateway.\n"


def home_files(settings: Settings, home: Home) -> dict[str, bytes]:
    """The files of the home there: passwords and keys of the gateway, identities of workers, and settings."""
    names = [*_SECRETS, *(f"access/{role}.password" for role in ROLES if role != "admin")]
    files = [settings.home / name for name in names]
    files += [identity_file(settings, identity.name) for identity in identities(settings)]
    contents = {f"home/{file.relative_to(settings.home).as_posix()}": file.read_bytes() for file in files}
    return contents | {f"home/access/{ELSEWHERE}": b"", "home/config.toml": _config(settings, home)}


def keeps_files(settings: Settings) -> bool:
    """Whether the files of jobs are in the home and move with it."""
    return store_kind(settings.store) in ("folder", "gateway")


def _config(settings: Settings, home: Home) -> bytes:
    values: dict[str, object] = {"redis_port": home.ports[0], "gateway_port": home.ports[1]}
    values |= changed(settings, _SHARED)
    if not keeps_files(settings):
        values["store"] = settings.store
    return (_HEAD + "".join(f"{name} = {toml(value)}\n" for name, value in values.items())).encode()


REDIS, STORE = "redis/appendonlydir", "store"
# File names of Redis and the store; none leads out of the folder.
_NAME = re.compile(
    r"redis/appendonlydir/[\w-][\w.-]*|store/(?:sha256|checkpoint/[0-9a-f]+)/[0-9a-f]{2}/[0-9a-f]+", re.ASCII
)
_LINE = re.compile(r"\s*(\d+) (\S+)")
_BATCH_BYTES, _BATCH_FILES = 256 << 20, 1000
_MIN_TIMEOUT_S, _MIN_BYTES_PER_S = 120.0, 50_000
_BLOCK_BYTES = 1 << 20
_PUT = """sh -c 'umask 077; cd "$HOME/.hive-home/{name}" && mkdir -p incoming && tar -xf - -C incoming'"""
_GET = """sh -c 'tar -cf - -C "$HOME/.hive-home/{name}/home" -T -'"""

Sizes = Mapping[str, int]


def files_of(home: Path, part: str) -> Sizes:
    """The files of a part of a home: sizes [bytes] by name."""
    files = {file.relative_to(home).as_posix(): file for file in (home / part).rglob("*") if file.is_file()}
    return {name: file.stat().st_size for name, file in sorted(files.items()) if _NAME.fullmatch(name)}


def read_list(text: str, part: str) -> Sizes:
    r"""Read the list of files that the other side prints.

    >>> read_list("  12 store/sha256/ab/abcd\n 7 store/../../x\n 19 total\n", "store")
    {'store/sha256/ab/abcd': 12}
    """
    matches = [match for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    sizes = {match[2]: int(match[1]) for match in matches}
    return {name: size for name, size in sizes.items() if name.startswith(f"{part}/") and _NAME.fullmatch(name)}


def missing_files(source: Sizes, target: Sizes) -> Sizes:
    """The files that the target lacks, or has incompletely."""
    return {name: size for name, size in source.items() if target.get(name) != size}


def put(connection: Connection, name: str, home: Path, batch: Sizes) -> None:
    """Send files; they wait in a folder until `control.sh take` moves them to their place."""

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            for name_ in batch:
                tar.add(home / name_, name_, recursive=False, filter=_private)

    connection.stream(_PUT.format(name=name), write, _timeout_s(batch))


def get(connection: Connection, name: str, folder: Path, batch: Sizes) -> None:
    """Download files into a folder; each appears there when it is complete.

    Raises
    ------
    DeployError
        Some did not arrive.
    """
    names = "".join(f"{name_}\n" for name_ in batch).encode()
    remaining = dict(batch)
    connection.read(_GET.format(name=name), names, lambda stream: _unpack(stream, folder, remaining), _timeout_s(batch))
    if remaining:
        raise DeployError(
            f"{len(remaining)} of {len(batch)} files did not arrive from {connection.destination}. Run this again."
        )


def batches(sizes: Sizes) -> Iterator[Sizes]:
    """Split files into batches, so that little is sent again after an interruption.

    >>> [list(batch) for batch in batches({"a": 1, "b": 300 << 20, "c": 1})]
    [['a'], ['b'], ['c']]
    """
    batch: dict[str, int] = {}
    for name, size in sizes.items():
        if batch and (sum(batch.values()) + size > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch = {}
        batch[name] = size
    if batch:
        yield batch


def format_amount(sizes: Sizes) -> str:
    """Number and size of files in words."""
    return f"{len(sizes)} {'file' if len(sizes) == 1 else 'files'}, {sum(sizes.values()) / 1e6:.1f} MB"


def replace_folder(target: Path, source: Path) -> None:
    """Replace a folder by another one."""
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)


def _private(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Let the file belong to whoever unpacks it, and nobody else read it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def _unpack(stream: IO[bytes], folder: Path, remaining: dict[str, int]) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            if content is None or remaining.get(entry.name) != entry.size:
                continue  # was not requested
            _write(content, folder / entry.name)
            del remaining[entry.name]


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, _BLOCK_BYTES)
    partial.replace(path)


def _timeout_s(batch: Sizes) -> float:
    return _MIN_TIMEOUT_S + sum(batch.values()) / _MIN_BYTES_PER_S


Observer = Callable[[str], None]
Counts = Mapping[str, int]
KIND = "home"
# Longer than a large Redis takes to write its data to disk; it ends with the process anyway.
PAUSE_S = 30.0
_INSTALL_S, _START_S, _REACH_S = 3600.0, 120.0, 30.0
_POLL_S = 0.3
_MAX_ENDS = 2
_QUESTION = b"PING\r\nQUIT\r\n"
# Sent with the files: a home must not run before its data is there.
_PARKED = {"parked": b""}


class HomeMachine:
    """The machine of a home, over one connection."""

    def __init__(self, settings: Settings, home: Home, connection: Connection, observer: Observer) -> None:
        self._settings, self._home, self._connection, self._observe = settings, home, connection, observer

    def look(self) -> Host:
        """Read the facts of the machine.

        Raises
        ------
        DeployError
            It cannot be a home.
        """
        home = self._home
        host = look_at(self._connection, home.name, home.python, home.ports[0] or None, KIND)
        refuse_unfit(host, home.destination, Runtime(home.via), [KIND], home.python)
        return host

    def install(self, host: Host) -> bool:
        """Install Hive and the settings of the home if they have changed; returns whether they had.

        A new home is parked; a running one is stopped first.
        """
        home = self._home
        files = home_files(self._settings, home)
        installed = bundle.digest(bundle.source(), KIND, home.via, home.python)
        values = {"NAME": home.name, "KIND": KIND, "VIA": home.via, "CAPABILITIES": KIND, "PYTHON": home.python}
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in (values | {"INSTALLED": installed}).items())
        files |= {"control.sh": bundle.script("control.sh").encode(), "deployed.conf": lines.encode()}
        stable = {name: content for name, content in files.items() if not name.endswith(".identity")}
        configured = bundle.digest(stable)
        if (installed, configured) == (host.installed, host.configured):
            return False
        files["deployed.conf"] += f"CONFIGURED={shlex.quote(configured)}\n".encode()
        self._copy(files, installed != host.installed, is_new=not host.installed)
        return True

    def _copy(self, files: Mapping[str, bytes], has_new_source: bool, is_new: bool) -> None:
        self.control("prepare")
        if has_new_source:
            self._observe("copying Hive")
            self._connection.send(bundle.archive(bundle.source(), "source.new/"), self._home.name, KIND)
        self._connection.send(bundle.archive({**files, **(_PARKED if is_new else {})}), self._home.name, KIND)
        if has_new_source:
            self._observe("installing Redis and the gateway")
            self.control("install", timeout_s=_INSTALL_S)

    def control(self, action: str, timeout_s: float = 120.0, **values: str) -> str:
        """Run an action of control.sh there; returns its output."""
        assignments = {
            "HIVE_DEPLOY_NAME": self._home.name,
            "HIVE_DEPLOY_ACTION": action,
            "HIVE_DEPLOY_KIND": KIND,
            **values,
        }
        return self._connection.run(
            bundle.script("control.sh"), assignments, on_line=self._observe, timeout_s=timeout_s
        )

    def start(self) -> None:
        """Start Redis and the gateway there, now and after each restart of the machine."""
        self.control("unpark")
        self.control("start")

    def try_out(self) -> Counts:
        """Start Redis and the gateway there for a moment, while they are not the home yet; returns the counts of Redis.

        Raises
        ------
        DeployError
            They do not start, or the sshd there forwards no connection to them.
        """
        try:
            counts: dict[str, int] = json.loads(self.control("try_out"))
            self._refuse_closed()
        finally:
            self.control("park")
        del counts["gateway"]
        return counts

    def leave(self) -> Counts:
        """Stop Redis and the gateway there for good; returns the counts of Redis.

        Raises
        ------
        DeployError
            They do not stop.
        """
        self.control("park")
        counts: dict[str, int] = json.loads(self.control("measure", PAUSE_S=f"{PAUSE_S:g}"))
        del counts["gateway"]
        return counts

    def await_start(self) -> None:
        """Wait until Redis and the gateway answer there.

        Raises
        ------
        DeployError
            They do not; the error has the last line of their log.
        """
        deadline, last = time.monotonic() + _START_S, ""
        while time.monotonic() < deadline:
            try:
                counts: dict[str, int] = json.loads(self.control("count"))
                if counts["gateway"]:
                    return
            except DeployError as error:
                last = str(error)
            host = self.look()
            if host.ends >= _MAX_ENDS or not host.is_running:
                reason = host.log.removeprefix("hive: ").rstrip(".") or last
                raise DeployError(f"Redis and the gateway do not start on {self._home.destination}. {reason}.")
            time.sleep(_POLL_S)
        raise DeployError(f"Redis and the gateway do not answer on {self._home.destination}. {last}")

    def _refuse_closed(self) -> None:
        """Refuse a machine whose sshd forwards no connection to its own ports.

        Raises
        ------
        DeployError
            The message tells what to change there.
        """
        forwarding = ["-W", f"{HOST}:{self._home.ports[0]}"]
        try:
            ended = subprocess.run(  # noqa: S603  a list of arguments; the host has been checked
                [*unshared_ssh(self._home.ssh_config), *forwarding, "--", self._home.destination],
                input=_QUESTION, capture_output=True, check=False, timeout=_REACH_S,
            )  # fmt: skip
            answers = ended.stdout.startswith((b"+", b"-"))
        except subprocess.TimeoutExpired:
            answers = False
        if not answers:
            raise DeployError(
                f"The sshd of {self._home.destination} forwards no connection to Redis there. Allow it: "
                "AllowTcpForwarding, PermitOpen in its sshd_config."
            )

    def files(self, part: str) -> Sizes:
        """The files of a part of the home there."""
        return read_list(self.control("list"), part)

    def send(self, part: str) -> None:
        """Upload the files that it lacks of a part of the home.

        Raises
        ------
        DeployError
            The disk is full, or the files cannot be written.
        """
        home, present = self._settings.home, self.files(part)
        missing = missing_files(files_of(home, part), {} if part == REDIS else present)
        host = look_at(self._connection, self._home.name, self._home.python, None, KIND)
        if host.free_bytes < sum(missing.values()):
            raise DeployError(
                f"{self._home.destination} has {host.free_bytes / 1e9:.2f} GB free in {host.home}; this home still "
                f"needs {sum(missing.values()) / 1e9:.2f} GB there. Free some disk space there."
            )
        if missing:
            self._observe(f"copying {'jobs' if part == REDIS else 'files of jobs'} ({format_amount(missing)})")
        for batch in [missing] if part == REDIS else batches(missing):
            self.control("clear")
            self._try_put(batch)
            self.control("take", timeout_s=600.0)
        if part == REDIS and self.files(part) != missing:
            raise DeployError(f"Some data of Redis did not arrive on {self._home.destination}. Run this again.")

    def _try_put(self, batch: Sizes) -> None:
        try:
            put(self._connection, self._home.name, self._settings.home, batch)
        except OSError as error:
            raise ServiceError(
                f"{error.filename or 'A file'} cannot be read ({error.strerror}). Run this again."
            ) from error

    def fetch(self, part: str) -> None:
        """Download the files that this machine lacks of a part of the home; the data of Redis as a whole.

        Raises
        ------
        DeployError
            Some files did not arrive.
        """
        home, present = self._settings.home, self.files(part)
        if part == STORE:
            missing = missing_files(present, files_of(home, part))
            if missing:
                self._observe(f"downloading files of jobs ({format_amount(missing)})")
            for batch in batches(missing):
                self._try_get(home, batch)
            return
        self._observe(f"downloading jobs ({format_amount(present)})")
        incoming = home / "redis" / "incoming"
        self._try_get(incoming, present)
        replace_folder(home / part, incoming / part)

    def _try_get(self, folder: Path, batch: Sizes) -> None:
        try:
            get(self._connection, self._home.name, folder, batch)
        except OSError as error:
            raise ServiceError(f"{folder} cannot be written ({error.strerror}). Free some disk space here.") from error

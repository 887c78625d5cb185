"""What the tests share: a real Hive under a folder of its own, with real workers."""

import atexit
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import psutil
import pytest
import redis

from hive.settings import Settings, load_settings
from hive.store import JobStore
from hive.store.connection import connect
from tests.launcher import Launcher, Started
from tests.patience import patient

BIN = Path(sys.executable).parent
DATA = Path(__file__).parent / "data"
TILE = DATA / "gis" / "autzen_trim.laz"


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI: a test that never runs proves nothing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing; in CI every part must be there")
    pytest.skip(f"{what} is missing here")


def require_program(name: str) -> str:
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        missing(f"the program {name}")
    return str(found)


def redis_with_tls(folder: Path) -> str:
    """The PATH with a redis-server in front that has TLS: Debian's, which is one program under several names."""
    program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if program is None:
        missing("a redis-server with TLS (package redis-tools)")
    folder.mkdir(exist_ok=True)
    (folder / "redis-server").symlink_to(str(program))
    return os.pathsep.join([str(folder), str(BIN), os.environ["PATH"]])


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = 30.0) -> Any:
    """Wait for a condition; the result of the condition is returned. A slow machine has longer than it says."""
    start, limit_s = time.monotonic(), deadline_s
    while True:
        if result := condition():
            return result
        passed_s = time.monotonic() - start
        if passed_s >= limit_s:
            limit_s = patient(deadline_s)
            if passed_s >= limit_s:
                raise AssertionError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.05)


@cache
def launcher() -> Launcher:
    """Starts programs for this process of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="hive-"))
    server = Launcher(folder)

    def end() -> None:
        server.close()
        shutil.rmtree(folder)

    atexit.register(end)
    return server


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(
    command: list[str], environment: Mapping[str, str], timeout_s: float, cwd: Path | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, by the launcher where it can."""
    if more or not launcher().can_start(environment):
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd, **more
        )
    with Path(os.devnull).open() as nothing, TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = launcher().start(command, environment, [nothing, output, errors], cwd)
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            process.wait()
            errors.seek(0)
            raise subprocess.TimeoutExpired(command, timeout_s, stderr=errors.read()) from expired
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, code, output.read(), errors.read())


class Hive:
    """One Hive: `hive` and `celery` of this environment, with a home, a port and a store of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port, self.gateway_port = free_port(), free_port()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HIVE_", "WORKER_", "MAX_CONC"))
        }
        self.environment = kept | {
            "HIVE_HOME": str(home),
            "HIVE_REDIS_PORT": str(self.port),
            "HIVE_GATEWAY_PORT": str(self.gateway_port),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "default",
            "HIVE_PRELOAD": "0",  # a second for each of hundreds of workers; tests of the capabilities turn it on
            "COLUMNS": "110",
            **environment,
        }

    @property
    def settings(self) -> Settings:
        return load_settings(environment=self.environment)

    def settings_of(self, role: str) -> Settings:
        """The settings of a process that is somebody else to Redis than `hive` is."""
        return load_settings({"role": role}, self.environment)

    @property
    def traces(self) -> Path:
        """Where its workers write traces, and look for the gates of probes."""
        return Path(self.environment.get("HIVE_TRACE_DIR", self.home / "traces"))

    def open_gate(self, name: str) -> None:
        """Let a probe end that was sent with `--gate NAME`."""
        (self.traces / name).touch()

    @property
    def redis(self) -> redis.Redis:
        """Redis as its admin sees it: a test may look at everything."""
        return connect(self.settings_of("admin"))

    def command(self, *arguments: str | Path) -> list[str]:
        return [str(BIN / "hive"), *map(str, arguments)]

    def run(
        self, *arguments: str | Path, code: int | None = 0, timeout_s: float = 60.0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `hive`; the exit code must be as said (None: any)."""
        environment = self.environment | more.pop("environment", {})
        ended = _run(self.command(*arguments), environment, timeout_s, **more)
        assert "Traceback" not in ended.stderr, ended.stderr
        assert code is None or ended.returncode == code, (
            f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        )
        return ended

    def python(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a Python script in a folder, as somebody who uses the Python API."""
        command = [sys.executable, "-c", textwrap.dedent(script)]
        return subprocess.run(command, env=self.environment, cwd=folder, capture_output=True, text=True, check=False)

    @contextmanager
    def python_beside(self, script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
        """Run a Python script beside the test, until the block ends."""
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            env=self.environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def json(self, *arguments: str | Path, code: int = 0, **more: Any) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code, **more).stdout)

    def record(self, job_id: str) -> dict[str, Any]:
        """What `hive show --json` says, without starting it; for loops."""
        return JobStore(self.redis).get(job_id).to_json()

    def submit(self, *arguments: str | Path) -> str:
        """Submit without waiting; returns the id."""
        return self.run("submit", *arguments, "--detach").stdout.strip()

    def wait(self, job_id: str, code: int | None = None) -> dict[str, Any]:
        """Wait for a job; returns its record."""
        return dict(
            json.loads(
                self.run("wait", job_id, "--timeout", f"{patient(50):.0f}", "--json", code=code, timeout_s=60).stdout
            )
        )

    @contextmanager
    def up(self, *, gateway: bool = False) -> Iterator["Hive"]:
        """Start the Mac side until the block ends; the gateway only where a test is about it, for it takes a second."""
        try:
            self.run("up", *([] if gateway else ["--redis-only"]))
            yield self
        finally:
            self.run("down", code=None)

    @contextmanager
    def worker(
        self,
        queue: str = "gis",
        slots: int = 2,
        pool: str = "prefork",
        name: str = "w1",
        level: str = "INFO",
        *,
        traces: bool = True,
        **environment: str,
    ) -> Iterator[psutil.Process]:
        """Run a real Celery worker until the block ends, and wait until it reports."""
        if traces:
            self.traces.mkdir(parents=True, exist_ok=True)
            environment = {"HIVE_TRACE_DIR": str(self.traces)} | environment
        full_name = f"{name}@test"
        log = self.home / f"{name}.log"
        command = [
            str(BIN / "celery"),
            "-A",
            "hive",
            "worker",
            "-Q",
            queue,
            "-c",
            str(slots),
            "-P",
            pool,
            "-n",
            full_name,
        ]
        with log.open("a") as output:
            process = start([*command, "--loglevel", level], self.environment | environment, output, self.home)
        try:
            wait_until(
                lambda: process.poll() is not None or self.redis.exists(f"hive:worker:{full_name}"),
                f"worker {name} reports",
            )
            assert process.poll() is None, log.read_text()
            yield psutil.Process(process.pid)
        finally:
            end_tree(process)


def start(
    command: list[str], environment: Mapping[str, str], output: IO[Any], folder: Path
) -> subprocess.Popen[Any] | Started:
    """Start a program in a session of its own, by the launcher where it can."""
    if not launcher().can_start(environment):
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )
    with Path(os.devnull).open() as nothing:
        files: list[IO[Any]] = [nothing, output, output]
        return launcher().start(command, environment, files, folder, start_new_session=True)


@dataclass(frozen=True)
class Reply:
    """What the gateway answered."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Web:
    """The gateway of a Hive, asked with nothing but the standard library."""

    def __init__(self, hive: Hive) -> None:
        self.port, self.token = hive.gateway_port, hive.settings.token
        self.authority = hive.settings.ca_file if hive.settings.gateway_url.startswith("https:") else None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = "right",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        shown = self.token if token == "right" else token
        head = {**(headers or {}), **({} if shown is None else {"Authorization": f"Bearer {shown}"})}
        connection = self._connection()
        try:
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self.authority is None:
            return HTTPConnection("127.0.0.1", self.port, timeout=patient(30))
        context = ssl.create_default_context(cafile=self.authority)
        return HTTPSConnection("127.0.0.1", self.port, timeout=patient(30), context=context)


def end_tree(process: subprocess.Popen[Any] | Started) -> None:
    """End a process and everything below it, gently first."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

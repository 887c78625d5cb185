"""Starts `hive` and `celery` as processes of their own without loading their libraries again.

Importing Celery, Redis and Rich costs a process more than most tests do. The server (this file as a program) has
imported them and nothing of Hive that reads its environment; it forks for each start, and the child becomes the
program: its arguments, environment, folder, files, signals and exit are those of a process started as usual. Tests of
the start itself (how fast, what is imported, which Python) use `subprocess`.
"""

import atexit
import contextlib
import gc
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

BIN = Path(sys.executable).parent
_LIBRARIES = (
    "asyncio", "celery.app.amqp", "celery.app.base", "celery.app.control", "celery.app.events", "celery.app.log",
    "celery.apps.worker", "celery.backends.base", "celery.bin.celery", "celery.concurrency.prefork",
    "celery.concurrency.solo", "celery.concurrency.thread", "celery.events.state", "celery.worker.consumer",
    "celery.worker.worker", "click", "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.x509",
    "email.message", "flower.command", "http.client", "kombu.transport.redis", "obstore.store", "pathspec", "psutil",
    "redis.client", "rich.console", "rich.live", "rich.progress", "rich.table", "tomllib", "unittest", "urllib3",
)  # fmt: skip
_LENGTH_BYTES = 8
# Hive's modules that act when they are imported, or that only the gateway needs, which is always a process of its own.
_NOT_LOADED = ("hive.celery", "hive.__main__", "hive.gateway", "hive.testing")


class Started:
    """A process started by the server; to be used like `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, pid: int, arguments: Sequence[str]) -> None:
        self.pid, self.args, self.returncode = pid, arguments, None
        self._connection = connection

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._connection.settimeout(None if timeout is None else max(timeout, 1e-6))
            try:
                answer = self._connection.recv(16)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            self._connection.close()
            self.returncode = int(answer or b"-9")
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The client's side of the server; `start` starts a program."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / "launcher")
        shared = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LC_"))}
        self._environment = shared | {"PYTHONWARNINGS": "default", "PYTHONPATH": ""}
        self._lifeline, theirs = socket.socketpair()  # the server ends when this process does
        environment = os.environ | self._environment
        command = [sys.executable, str(Path(__file__)), self._address, str(theirs.fileno())]
        with theirs:
            self._server = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], cwd="/")
        if self._lifeline.recv(1) != b"+":
            raise RuntimeError("the launcher ended before it was ready")

    def close(self) -> None:
        self._lifeline.close()
        self._server.wait()

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a program of this environment is one that the server can become: PYTHON… act before any import."""
        folders = _folders_of(environment)
        theirs = {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_"))}
        has_customization = any((Path(folder) / "sitecustomize.py").exists() for folder in folders)
        return not has_customization and theirs | {"PYTHONPATH": ""} == self._environment

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        files: Sequence[IO[Any] | int],
        folder: str | Path | None = None,
        *,
        start_new_session: bool = False,
    ) -> Started:
        """Start a program of this environment's `bin`: its stdin, stdout and stderr are the files given."""
        request = {
            "command": list(command), "environment": dict(environment), "folder": str(folder or Path.cwd()),
            "apart": start_new_session,
        }  # fmt: skip
        text = json.dumps(request).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        numbers = [file if isinstance(file, int) else file.fileno() for file in files]
        socket.send_fds(connection, [len(text).to_bytes(_LENGTH_BYTES)], numbers)
        connection.sendall(text)
        return Started(connection, int.from_bytes(connection.recv(_LENGTH_BYTES)), command)


def _folders_of(environment: Mapping[str, str]) -> list[str]:
    return [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]


class _Server:
    def __init__(self, address: str, lifeline: socket.socket) -> None:
        self._lifeline = lifeline
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._running: dict[int, socket.socket] = {}
        self._woken, self._alarm = os.pipe()
        os.set_blocking(self._alarm, False)
        os.set_blocking(self._woken, False)

    def serve(self) -> dict[str, Any]:
        """Fork for each request; only the children return, each with what it is to become."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for source in (self._listener, self._lifeline, self._woken):
                selector.register(source, selectors.EVENT_READ)
            self._lifeline.send(b"+")
            while True:
                sources = {key.fileobj for key, _ in selector.select()}
                if self._lifeline in sources:
                    os._exit(0)
                if self._woken in sources:
                    self._report_ends()
                if self._listener in sources and (request := self._fork()) is not None:
                    return request

    def _fork(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        head, files, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, 3)
        text = b""
        while len(text) < int.from_bytes(head):
            text += connection.recv(1 << 20)
        if pid := os.fork():
            for file in files:
                os.close(file)
            self._running[pid] = connection
            connection.send(pid.to_bytes(_LENGTH_BYTES))
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (connection, self._listener, self._lifeline, *self._running.values()):
            other.close()
        for number in (self._woken, self._alarm):
            os.close(number)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return json.loads(text)

    def _report_ends(self) -> None:
        os.read(self._woken, 1 << 12)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                with self._running.pop(pid) as connection, contextlib.suppress(OSError):
                    connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: Mapping[str, Any]) -> None:
    """Make this process look as one that was started for the request."""
    if request["apart"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    time.tzset()
    sys.argv = request["command"]
    sys.path[1:1] = _folders_of(os.environ)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115  for as long as the process lives
        is_prompt = number == 2 or raw.isatty()
        errors = "backslashreplace" if number == 2 else "strict"
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=is_prompt)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(program: str) -> None:
    if program == "hive":
        from hive.cli import main
    else:
        from celery.__main__ import main
    try:
        ended = main()
    except SystemExit as end:
        ended = end.code
    if isinstance(ended, str):
        sys.stderr.write(f"{ended}\n")
    # As the interpreter ends, without taking a thousand modules apart, which would cost more than most commands do.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended if isinstance(ended, int) else int(ended is not None))


def _hasten_coverage() -> None:
    """Spare each child what coverage does anew after a fork, where coverage is measured.

    It notes the stack for its own debugging, for which it looks at every module; and at the end it looks for files of
    which no line has run, which is for the process of the tests to find.
    """
    if "coverage" in sys.modules:
        from coverage import Coverage, collector

        collector.short_stack = lambda *_, **__: ""
        Coverage._post_save_work = lambda _: None


def _modules_of_hive() -> Iterator[str]:
    import hive

    [folder] = map(Path, hive.__path__)
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if not any(name == other or name.startswith(f"{other}.") for other in _NOT_LOADED):
            yield name


def _serve_until_the_tests_end() -> None:
    from importlib import import_module

    address, lifeline = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    sys.path[0] = str(BIN)
    for name in (*_LIBRARIES, *_modules_of_hive()):
        with contextlib.suppress(ImportError):  # then programs import what there is instead
            import_module(name)
    _hasten_coverage()
    gc.collect()
    gc.freeze()
    request = _Server(address, lifeline).serve()
    _become(request)
    _run(Path(request["command"][0]).name)


if __name__ == "__main__":
    _serve_until_the_tests_end()

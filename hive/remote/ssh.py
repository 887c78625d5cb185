"""One connection to a machine over the system's ssh: run Hive's scripts there, send files, explain ssh's errors.

No value ever becomes part of a command line there: commands are fixed, scripts go to stdin, and values precede them as
assignments that are quoted for sh.
"""

import contextlib
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from hive.errors import DeployError, HiveError, UnreachableError
from hive.home.tunnels import forwardings, ssh_command, unshared_ssh
from hive.settings import Settings

_SSH_FAILED = 255
_CONNECT_S, _TIMEOUT_S = 40.0, 60.0
_POLL_S = 0.02
_PREFIX = "install: "
# What ssh prints, and what Hive prints instead. The first match counts.
_MEANINGS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host key of {host} has changed: it was set up again, or somebody intercepts the connection. Ask its "
        "owner; if the new key is right, forget the old one: ssh-keygen -R {host}.",
    ),
    (
        "Host key verification failed",
        "The host key of {host} is unknown here. Check and accept it once: ssh {host}.",
    ),
    (
        "Permission denied",
        "{host} accepts none of the ssh keys of this machine. Try: ssh {host}. Add your key there: ssh-copy-id {host}.",
    ),
    ("Could not resolve", "There is no host {host}. Is the name right, and is this machine online?"),
    ("Connection refused", "{host} refuses ssh: no sshd runs there, or it listens on another port."),
    ("timed out", "{host} does not answer. Is it switched on and online?"),
    ("No route to host", "{host} cannot be reached from here. Is it switched on and online?"),
    ("Network is unreachable", "{host} cannot be reached: this machine has no route to its network."),
    ("Bad configuration option", "ssh cannot read its config: {message}."),
    ("Can't open user config file", "ssh cannot read its config: {message}."),
)


class Connection:
    """A connection to one machine, opened at the start of a `with` block and shared by everything in it."""

    def __init__(self, destination: str, ssh_config: str = "") -> None:
        self.destination = destination
        self._ssh_config = ssh_config
        self._folder = Path(tempfile.mkdtemp(prefix="hive-ssh-"))
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Connection":
        """Connect, and explain why if ssh cannot."""
        refuse_no_ssh()
        try:
            self._connect()
        except BaseException:  # Ctrl-C too must not leave a connection open
            self.__exit__(None, None, None)
            raise
        return self

    def _connect(self) -> None:
        log_file = self._folder / "log"
        with log_file.open("wb") as log:
            self._master = subprocess.Popen(  # noqa: S603  a list of arguments; the host has been checked
                [*self._ssh("yes"), "-N", "--", self.destination], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _CONNECT_S
        while not self._socket.exists():
            if self._master.poll() is not None or time.monotonic() > deadline:
                raise explained(self.destination, log_file.read_text(errors="replace") or "timed out")
            time.sleep(_POLL_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._master is not None:
            self._master.terminate()
            self._master.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        script: str,
        values: Mapping[str, str] | None = None,
        *,
        on_line: Callable[[str], None] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> str:
        """Run one of Hive's scripts with sh there; returns its output.

        Raises
        ------
        DeployError
            The script failed; the error has its last message.
        UnreachableError
            The connection broke.
        """
        assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in (values or {}).items())
        return self._run("sh -s", (assignments + script).encode(), on_line, timeout_s)

    def send(self, archive: bytes, name: str, kind: str = "worker") -> None:
        """Unpack an archive in the folder of a worker; `name` has lower-case letters, digits and hyphens only."""
        folder = f'"$HOME/.hive-{kind}/{name}"'
        command = f"sh -c 'umask 077 && mkdir -p {folder} && tar -xzf - -C {folder}'"
        self._run(command, archive, None, 10 * _TIMEOUT_S)

    def stream(self, command: str, write: Callable[[IO[bytes]], None], timeout_s: float) -> None:
        """Run a fixed command there; `write` writes its stdin."""
        self._run(command, write, None, timeout_s)

    def read(self, command: str, stdin: bytes, take: Callable[[IO[bytes]], None], timeout_s: float) -> None:
        """Run a fixed command there with this stdin; `take` reads its output."""
        self._run(command, stdin, None, timeout_s, take)

    def can_forward(self, settings: Settings, ports: tuple[int, int]) -> bool:
        """Whether these ports of the machine are free for a tunnel.

        Raises
        ------
        UnreachableError
            The machine does not answer.
        """
        command = [
            *unshared_ssh(self._ssh_config),
            *forwardings(settings, ports),
            "--",
            self.destination,
            "echo",
            "open",
        ]
        with subprocess.Popen(  # noqa: S603  as above
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            # Do not wait for its end: ssh stays as long as a worker there uses the ports.
            timer = threading.Timer(_CONNECT_S, process.kill)
            timer.start()
            answer = process.stdout.readline() if process.stdout is not None else b""
            is_late = not timer.is_alive()
            timer.cancel()
            process.terminate()
        if is_late and not answer:
            raise UnreachableError(f"{self.destination} no longer answers. Try: ssh {self.destination}.")
        return answer == b"open\n"

    @property
    def _socket(self) -> Path:
        return self._folder / "socket"

    def _ssh(self, master: str) -> list[str]:
        return [*ssh_command(self._ssh_config), "-o", f"ControlMaster={master}", "-o", f"ControlPath={self._socket}"]

    def _run(
        self,
        command: str,
        content: bytes | Callable[[IO[bytes]], None],
        on_line: Callable[[str], None] | None,
        timeout_s: float,
        take: Callable[[IO[bytes]], None] | None = None,
    ) -> str:
        process = subprocess.Popen(  # noqa: S603  as above
            [*self._ssh("no"), "--", self.destination, command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        stdin, stdout, stderr = (cast(IO[bytes], pipe) for pipe in (process.stdin, process.stdout, process.stderr))
        lines: list[str] = []
        listener = threading.Thread(target=_listen, args=(stderr, lines, on_line), daemon=True)
        writer = _Writer(stdin, content)
        alarm = threading.Timer(timeout_s, process.kill)
        for thread in (listener, writer, alarm):
            thread.start()
        answer = ""
        try:
            with process:
                if take is not None:
                    take(stdout)
                answer = stdout.read().decode(errors="replace")
                listener.join()
                writer.join()
        except tarfile.ReadError:  # the connection broke; the exit code of ssh tells why
            process.wait()
            listener.join()
        finally:
            alarm.cancel()
        self._refuse(process.returncode, "\n".join(lines))
        if writer.error is not None:
            raise writer.error
        return answer

    def _refuse(self, code: int, stderr: str) -> None:
        if code == _SSH_FAILED:
            raise explained(self.destination, stderr)
        if code < 0:
            raise UnreachableError(f"{self.destination} did not answer in time.")
        if code > 0:
            last = stderr.strip().rpartition("\n")[2].removeprefix(_PREFIX) or f"exit code {code}"
            raise DeployError(f"{self.destination}: {last.rstrip('.')}.")


def refuse_no_ssh() -> None:
    """Refuse to connect without the system's ssh.

    Raises
    ------
    DeployError
        ssh is not installed.
    """
    if shutil.which("ssh") is None:
        raise DeployError("There is no ssh on this machine. Install the OpenSSH client.")


def explained(destination: str, stderr: str) -> HiveError:
    """The error that ssh's output stands for.

    >>> print(explained("studio", "ssh: connect to host studio port 22: Connection refused"))
    studio refuses ssh: no sshd runs there, or it listens on another port.
    """
    last = stderr.strip().rpartition("\n")[2].rstrip(".\r")
    for part, sentence in _MEANINGS:
        if part in stderr:
            return UnreachableError(sentence.format(host=destination, message=last))
    return UnreachableError(f"The connection to {destination} broke{f': {last}' if last else ''}.")


def _listen(stream: IO[bytes], lines: list[str], on_line: Callable[[str], None] | None) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        lines.append(text)
        if on_line is not None and text.startswith(_PREFIX):
            on_line(text.removeprefix(_PREFIX))


class _Writer(threading.Thread):
    """Writes the stdin of a process in a thread; `error` tells why it could not write everything."""

    def __init__(self, stream: IO[bytes], content: bytes | Callable[[IO[bytes]], None]) -> None:
        super().__init__(daemon=True)
        self._stream, self._content = stream, content
        self.error: OSError | None = None

    def run(self) -> None:
        """Write everything, and close."""
        try:
            if callable(self._content):
                self._content(self._stream)
            else:
                self._stream.write(self._content)
            self._stream.close()
        except BrokenPipeError:
            self._close()  # ssh has ended; its exit code tells why
        except OSError as error:
            self.error = error
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

"""One connection to a machine over the system's ssh: run a script of ours there, send files, say plainly what is wrong.

Nothing that comes from outside is ever part of a command line there: each command is fixed, scripts come on stdin, and
values come before them as assignments that are quoted for sh.
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
_CONNECT_S, _USUAL_S = 40.0, 60.0
_LOOK_EVERY_S = 0.02
_LINE = "install: "
# What ssh says, and what a person is told. The first that fits counts.
_MEANINGS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "{host} shows another host key than before: it was set up anew, or somebody sits between. Ask its owner; where "
        "it is right, forget the old key: ssh-keygen -R {host}.",
    ),
    (
        "Host key verification failed",
        "The host key of {host} is not known here. Look at it and accept it once: ssh {host}.",
    ),
    (
        "Permission denied",
        "{host} lets nobody in with the keys of this machine. Try: ssh {host}. Give it yours: ssh-copy-id.",
    ),
    ("Could not resolve", "There is no host {host}. Is its name right, and is this machine in a network?"),
    ("Connection refused", "{host} refuses ssh: no sshd runs there, or it listens at another port."),
    ("timed out", "{host} does not answer. Is it switched on, and in the network?"),
    ("No route to host", "{host} cannot be reached from here. Is it switched on, and in the network?"),
    ("Network is unreachable", "{host} cannot be reached: this machine is in no network that leads there."),
    ("Bad configuration option", "Ssh cannot read its settings: {words}."),
    ("Can't open user config file", "Ssh cannot read its settings: {words}."),
)


class Connection:
    """A connection to one machine, made when the block begins and shared by everything in it."""

    def __init__(self, destination: str, ssh_config: str = "") -> None:
        self.destination = destination
        self._ssh_config = ssh_config
        self._folder = Path(tempfile.mkdtemp(prefix="hive-ssh-"))
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Connection":
        """Connect, and refuse what ssh refuses."""
        refuse_no_ssh()
        try:
            self._connect()
        except BaseException:  # Ctrl-C too must not leave a connection that nobody holds
            self.__exit__(None, None, None)
            raise
        return self

    def _connect(self) -> None:
        said = self._folder / "said"
        with said.open("wb") as log:
            self._master = subprocess.Popen(  # noqa: S603  a list of words; what is a host has been checked
                [*self._ssh("yes"), "-N", "--", self.destination], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + _CONNECT_S
        while not self._socket.exists():
            if self._master.poll() is not None or time.monotonic() > end:
                raise meaning(self.destination, said.read_text(errors="replace") or "timed out")
            time.sleep(_LOOK_EVERY_S)

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
        timeout_s: float = _USUAL_S,
    ) -> str:
        """Run a script of ours by sh there; returns what it prints.

        Raises
        ------
        DeployError
            The script has found something wrong; the text has its words.
        UnreachableError
            The connection broke.
        """
        given = "".join(f"{name}={shlex.quote(value)}\n" for name, value in (values or {}).items())
        return self._run("sh -s", (given + script).encode(), on_line, timeout_s)

    def send(self, archive: bytes, name: str, kind: str = "worker") -> None:
        """Unpack an archive in the folder of the worker of that name; `name` holds small letters, digits and dashes."""
        folder = f'"$HOME/.hive-{kind}/{name}"'
        command = f"sh -c 'umask 077 && mkdir -p {folder} && tar -xzf - -C {folder}'"
        self._run(command, archive, None, 10 * _USUAL_S)

    def stream(self, command: str, write: Callable[[IO[bytes]], None], timeout_s: float) -> None:
        """Run a fixed command there, whose stdin is what `write` writes."""
        self._run(command, write, None, timeout_s)

    def read(self, command: str, given: bytes, take: Callable[[IO[bytes]], None], timeout_s: float) -> None:
        """Run a fixed command there with that on its stdin; `take` reads what it prints."""
        self._run(command, given, None, timeout_s, take)

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
            # Its end is not waited for: ssh stays for as long as somebody there uses the ports, as a worker does.
            timer = threading.Timer(_CONNECT_S, process.kill)
            timer.start()
            said = process.stdout.readline() if process.stdout is not None else b""
            is_late = not timer.is_alive()
            timer.cancel()
            process.terminate()
        if is_late and not said:
            raise UnreachableError(f"{self.destination} does not answer any more. Look: ssh {self.destination}.")
        return said == b"open\n"

    @property
    def _socket(self) -> Path:
        return self._folder / "socket"

    def _ssh(self, master: str) -> list[str]:
        return [*ssh_command(self._ssh_config), "-o", f"ControlMaster={master}", "-o", f"ControlPath={self._socket}"]

    def _run(
        self,
        command: str,
        given: bytes | Callable[[IO[bytes]], None],
        on_line: Callable[[str], None] | None,
        timeout_s: float,
        take: Callable[[IO[bytes]], None] | None = None,
    ) -> str:
        process = subprocess.Popen(  # noqa: S603  as above
            [*self._ssh("no"), "--", self.destination, command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        stdin, stdout, stderr = (cast(IO[bytes], one) for one in (process.stdin, process.stdout, process.stderr))
        words: list[str] = []
        listener = threading.Thread(target=_listen, args=(stderr, words, on_line), daemon=True)
        writer = _Writer(stdin, given)
        alarm = threading.Timer(timeout_s, process.kill)
        for one in (listener, writer, alarm):
            one.start()
        answer = ""
        try:
            with process:
                if take is not None:
                    take(stdout)
                answer = stdout.read().decode(errors="replace")
                listener.join()
                writer.join()
        except tarfile.ReadError:  # it broke off, and the code of ssh says why
            process.wait()
            listener.join()
        finally:
            alarm.cancel()
        self._refuse(process.returncode, "\n".join(words))
        if writer.error is not None:
            raise writer.error
        return answer

    def _refuse(self, code: int, words: str) -> None:
        if code == _SSH_FAILED:
            raise meaning(self.destination, words)
        if code < 0:
            raise UnreachableError(f"{self.destination} was silent for too long, and was given up.")
        if code > 0:
            last = words.strip().rpartition("\n")[2].removeprefix(_LINE) or f"exit code {code}"
            raise DeployError(f"{self.destination}: {last.rstrip('.')}.")


def refuse_no_ssh() -> None:
    """Refuse to go anywhere without the system's ssh.

    Raises
    ------
    DeployError
        It is not installed.
    """
    if shutil.which("ssh") is None:
        raise DeployError("There is no ssh here. Install OpenSSH's client.")


def meaning(destination: str, words: str) -> HiveError:
    """What ssh's words mean for who deploys.

    >>> print(meaning("studio", "ssh: connect to host studio port 22: Connection refused"))
    studio refuses ssh: no sshd runs there, or it listens at another port.
    """
    said = words.strip().rpartition("\n")[2].rstrip(".\r")
    for part, sentence in _MEANINGS:
        if part in words:
            return UnreachableError(sentence.format(host=destination, words=said))
    return UnreachableError(f"The connection to {destination} broke{f': {said}' if said else ''}.")


def _listen(stream: IO[bytes], words: list[str], on_line: Callable[[str], None] | None) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        words.append(text)
        if on_line is not None and text.startswith(_LINE):
            on_line(text.removeprefix(_LINE))


class _Writer(threading.Thread):
    """Writes to a process beside whoever reads from it; `error` is what kept it from writing all."""

    def __init__(self, stream: IO[bytes], given: bytes | Callable[[IO[bytes]], None]) -> None:
        super().__init__(daemon=True)
        self._stream, self._given = stream, given
        self.error: OSError | None = None

    def run(self) -> None:
        """Write it all, and close."""
        try:
            if callable(self._given):
                self._given(self._stream)
            else:
                self._stream.write(self._given)
            self._stream.close()
        except BrokenPipeError:
            self._close()  # ssh has ended, and its code says why
        except OSError as error:
            self.error = error
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

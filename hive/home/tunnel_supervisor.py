"""Hold one tunnel open: start ssh, restart it when it ends, and record its state.

A program of its own, run as a file with nothing but the standard library, so that it stays small and outlives the
command that starts it. Its only argument is the file for its state. Its work comes as JSON on stdin: the `command` that
is the tunnel, and `clear`, the command that ends what an earlier tunnel has left on the other side.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# What the other side prints when the tunnel is up: ssh runs the command once its forwardings are there.
UP = "hive: the tunnel is up"
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 8.0
_CLEAR_TIMEOUT_S = 20
_PORT_IN_USE = "forwarding failed"


class TunnelSupervisor:
    """Holds one tunnel."""

    def __init__(self, file: Path, command: Sequence[str], clear: Sequence[str]) -> None:
        self._file, self._command, self._clear = file, command, clear
        self._drops = 0
        self._since = time.time()
        self._state = "connecting"

    def run(self) -> NoReturn:
        """Hold it until this process is terminated."""
        pause_s = _FIRST_PAUSE_S
        self._record("connecting")
        while True:
            words = self._hold()
            if self._state == "up":
                self._drops += 1
                pause_s = _FIRST_PAUSE_S
            self._record("down", words)
            if _PORT_IN_USE in words:
                # The other side has not noticed yet that an earlier tunnel is gone, and keeps its ports.
                self._end_earlier()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _hold(self) -> str:
        """Run ssh until it ends; returns its last words. It ends with this process, whose end closes its stdin."""
        words = ""
        with subprocess.Popen(  # noqa: S603  a list of words that `tunnels` has made
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        ) as ssh:
            try:
                assert ssh.stdout is not None  # noqa: S101  it is a pipe
                for line in ssh.stdout:
                    text = line.decode(errors="replace").strip()
                    if text == UP:
                        self._record("up", ssh=ssh.pid)
                    words = text or words
            finally:
                ssh.kill()
        return "" if words == UP else words

    def _end_earlier(self) -> None:
        try:
            subprocess.run(  # noqa: S603  as above
                self._clear, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_CLEAR_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return  # the next attempt tries again

    def _record(self, state: str, error: str = "", ssh: int | None = None) -> None:
        """Write its state to the file, for `hive workers`, `hive deploy ls` and `hive doctor`."""
        if state != self._state:
            self._since = time.time()
        self._state = state
        record = {
            "pid": os.getpid(),
            "command": self._command,
            "state": state,
            "since_s": self._since,
            "drops": self._drops,
            "error": error,
            "ssh_pid": ssh,
        }
        unfinished = self._file.with_name(f"{self._file.name}.new")
        unfinished.write_text(json.dumps(record))
        unfinished.replace(self._file)


def main() -> None:
    """Hold the tunnel that stdin describes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    os.umask(0o077)
    work = json.load(sys.stdin)
    TunnelSupervisor(Path(sys.argv[1]), work["command"], work["clear"]).run()


if __name__ == "__main__":
    main()

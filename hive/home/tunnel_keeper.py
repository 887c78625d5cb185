"""Hold one tunnel open: start ssh, start it again when it ends, and write down how it is.

A program of its own, run as a file with nothing but the standard library, so that it stays small and outlives the
command that starts it. Its only word is the file to write its state to. Its work comes as JSON on stdin: the `command`
that is the tunnel, and `clear`, the command that ends what an earlier tunnel has left on the other side.
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

# What the other side says when the tunnel is there: ssh runs the command once it has what it asks for.
UP = "hive: the tunnel is up"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_CLEAR_S = 20
_TAKEN = "forwarding failed"


class Keeper:
    """Holds one tunnel."""

    def __init__(self, file: Path, command: Sequence[str], clear: Sequence[str]) -> None:
        self._file, self._command, self._clear = file, command, clear
        self._drops = 0
        self._since = time.time()
        self._state = "connecting"

    def run(self) -> NoReturn:
        """Hold it until told to end."""
        pause_s = _FIRST_PAUSE_S
        self._tell("connecting")
        while True:
            words = self._hold()
            if self._state == "up":
                self._drops += 1
                pause_s = _FIRST_PAUSE_S
            self._tell("down", words)
            if _TAKEN in words:
                # The other side has not noticed yet that the network of an earlier tunnel is gone, and keeps its ports.
                self._end_earlier()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _hold(self) -> str:
        """Run ssh until it ends; returns its last words. It ends with this process, whose end closes its stdin."""
        words = ""
        with subprocess.Popen(  # noqa: S603  a list of words that `tunnels` has made
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        ) as ssh:
            try:
                assert ssh.stdout is not None  # noqa: S101  it is a pipe
                for line in ssh.stdout:
                    said = line.decode(errors="replace").strip()
                    if said == UP:
                        self._tell("up", ssh=ssh.pid)
                    words = said or words
            finally:
                ssh.kill()
        return "" if words == UP else words

    def _end_earlier(self) -> None:
        try:
            subprocess.run(  # noqa: S603  as above
                self._clear, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_CLEAR_S
            )
        except subprocess.TimeoutExpired:
            return  # the next attempt tries again

    def _tell(self, state: str, error: str = "", ssh: int | None = None) -> None:
        """Write down how it is, for `hive workers`, `hive deploy ls` and `hive doctor`."""
        if state != self._state:
            self._since = time.time()
        self._state = state
        told = {
            "pid": os.getpid(),
            "command": self._command,
            "state": state,
            "since_s": self._since,
            "drops": self._drops,
            "error": error,
            "ssh_pid": ssh,
        }
        unfinished = self._file.with_name(f"{self._file.name}.new")
        unfinished.write_text(json.dumps(told))
        unfinished.replace(self._file)


def main() -> None:
    """Hold the tunnel that stdin describes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    os.umask(0o077)
    work = json.load(sys.stdin)
    Keeper(Path(sys.argv[1]), work["command"], work["clear"]).run()


if __name__ == "__main__":
    main()

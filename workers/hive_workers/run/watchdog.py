"""The child process of an attempt that ends a script's processes when the attempt's own process is killed.

It reads the number of the script's process from its standard input, and then waits: for the word that all is well, or
for the end of the input, which comes when whoever holds the other end is no more. Without it a script would compute on
for nobody. Nothing but the standard library is imported before that, so that it takes a few megabytes.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Guard one process, its group, and all that is below it."""
    process = sys.stdin.readline().strip()
    if process and not sys.stdin.readline():
        end_family(int(process))


def end_family(leader: int) -> None:
    """End a process that leads a group, the group, and what it has started elsewhere."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(leader).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    main()

"""Running a script, or a program that it needs: its output streams, and its end is the end of all that it started.

No shell comes near it: a word with spaces, quotes or `$(…)` arrives as it is.
"""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from hive.errors import StoppedError
from hive.task import progress, stopping
from hive_workers.run import watchdog

_LOOK_EVERY_S = 0.2
# What a process that outlives its group may still write; nobody waits for it.
_DRAIN_S = 10.0
_BLOCK = 1 << 16
_LAST_LINES = 20
_STDOUT, _STDERR = 1, 2
# Characters of a unit or message that are kept.
_LONGEST = 200
# `::progress DONE TOTAL [UNIT [MESSAGE]]`, where a `-` stands for a total that nobody knows.
_PROGRESS = re.compile(rb"::progress[ ]+(\S+)[ ]+(\S+)(?:[ ]+(\S+)(?:[ ]+(.*?))?)?\s*")


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, less than 0 for a signal, and the last lines of its standard error."""

    code: int
    errors: tuple[str, ...]

    @property
    def signal(self) -> str:
        """The signal that ended it, such as SIGSEGV; empty where it ended on its own."""
        if self.code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


def run_program(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Ended:
    """Run a program in a folder until it ends, and end whatever it leaves running.

    Its output goes to this process's own; lines on standard output that begin with `::progress` become the progress of
    the job. When the worker wants to stop, the program gets SIGTERM and the rest of the grace period.

    Raises
    ------
    StoppedError
        It was told to stop; whatever it has done since, it shall be started again elsewhere.
    """
    errors: deque[str] = deque(maxlen=_LAST_LINES)
    with _watchdog() as guard:
        process = subprocess.Popen(  # noqa: S603  words of the user's own, run as a script that they chose
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        try:
            guard(process.pid)
            streams = [
                _pump(process.stdout, _STDOUT, _take_progress),
                _pump(process.stderr, _STDERR, lambda line: _remember(line, errors)),
            ]
            was_told = _wait(process)
        finally:
            _end_group(process)
        for stream in streams:
            stream.join(_DRAIN_S)
    if was_told:
        raise StoppedError("The script was told to stop, because its worker stops.")
    return Ended(process.returncode, tuple(errors))


@contextlib.contextmanager
def _watchdog() -> Iterator[Callable[[int], object]]:
    """Have a program ended when this process is; gives what names the program."""
    # -I: its own file and what this environment has, whatever lies about.
    command = [sys.executable, "-I", watchdog.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True) as dog:  # noqa: S603
        assert dog.stdin is not None  # noqa: S101  as asked for above
        stdin = dog.stdin
        try:
            yield lambda process: stdin.write(b"%d\n" % process)
        finally:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(b"done\n")


def _wait(process: "subprocess.Popen[bytes]") -> bool:
    """Wait for a program to end; returns whether it was told to."""
    was_told = False
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            return was_told
        if stopping() and not was_told:
            process.send_signal(signal.SIGTERM)
            was_told = True


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where all of the group are zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pump(pipe: IO[bytes] | None, target: int, take: Callable[[bytes], bool]) -> Thread:
    """Pass a program's output on line by line, without those lines that `take` wants to itself."""
    assert pipe is not None  # noqa: S101  as asked for in `run_program`
    context = copy_context()  # `progress` shall know the attempt in that thread too
    thread = Thread(target=lambda: context.run(_pass_on, pipe, target, take), daemon=True, name="script-output")
    thread.start()
    return thread


def _pass_on(pipe: IO[bytes], target: int, take: Callable[[bytes], bool]) -> None:
    with pipe:
        for lines in _lines(pipe):
            _write(target, b"".join(line for line in lines if not take(line)))


def _lines(pipe: IO[bytes]) -> Iterator[list[bytes]]:
    """Whole lines as they come, several at once; a longer one than a block comes in pieces."""
    rest = b""
    while block := pipe.read(_BLOCK):
        lines = (rest + block).splitlines(keepends=True)
        is_cut = not lines[-1].endswith((b"\n", b"\r")) and len(lines[-1]) < _BLOCK
        rest = lines.pop() if is_cut else b""
        yield lines
    if rest:
        yield [rest + b"\n"]


def _write(target: int, content: bytes) -> None:
    """Write all of it; a log that cannot be written is no reason to stop a script."""
    left = memoryview(content)
    with contextlib.suppress(OSError):
        while left:
            left = left[os.write(target, left) :]


def _remember(line: bytes, errors: deque[str]) -> bool:
    if text := line.decode(errors="replace").strip():
        errors.append(text)
    return False


def _take_progress(line: bytes) -> bool:
    match = _PROGRESS.fullmatch(line)
    if match is None:
        return False
    done, total, unit, message = (part.decode(errors="replace") for part in match.groups(default=b""))
    try:
        numbers = float(done), None if total == "-" else float(total)
    except ValueError:
        return False
    if not all(math.isfinite(number) for number in numbers if number is not None):
        return False
    progress(*numbers, unit[:_LONGEST], message[:_LONGEST])
    return True

"""The task to check a fleet with, and the fault tests' probe."""

import logging
import os
import platform
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from hive.errors import BadParameterError, HiveError, StoppedError
from hive.task import AnyOutput, Attempt, checkpoint, current_attempt, progress, replaced_atomically, stopping
from hive.units import AtLeast, Bytes, Help, Matching, Seconds
from hive_workers.test import test

logger = logging.getLogger(__name__)
_LIBRARIES = ("celery", "kombu", "redis", "torch", "pdal", "laspy", "rasterio", "obspy", "open3d")
_PAGE = 4096
_STATE = "seconds.txt"
_BLOCK = 1 << 20
_PlainName = Matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "a plain file name of letters, digits, '.', '_' and '-'")


@dataclass(frozen=True)
class Probe:
    """Where the probe ran, and what it found there."""

    message: str
    host: str
    worker: str
    attempt: int
    python: str
    libraries: dict[str, str]


@test.task
def probe(
    output: AnyOutput | None = None,
    *,
    seconds: Annotated[Seconds, AtLeast(0), Help("Work that long, and report progress.")] = 0.0,
    save: Annotated[bool, Help("Save the time worked, and go on from there in the next attempt.")] = False,
    message: Annotated[str, Help("Text that the result repeats.")] = "",
    fail: Annotated[bool, Help("Raise an error at the end.")] = False,
    crash: Annotated[Literal["child", "worker"] | None, Help("Kill the pool child, or the whole worker.")] = None,
    memory: Annotated[Bytes, AtLeast(0), Help("Hold that much memory while working.")] = 0,
    log_lines: Annotated[int, AtLeast(0), Help("Write that many log lines.")] = 0,
    output_bytes: Annotated[Bytes, AtLeast(0), Help("Write a file of that size to OUTPUT.")] = 0,
    trace: Annotated[
        str | None, _PlainName, Help("Append a line at start and end to this file in the worker's trace folder.")
    ] = None,
    gate: Annotated[str | None, _PlainName, Help("Work on until this file is in the worker's trace folder.")] = None,
) -> Probe:
    """Check that jobs reach a worker, run there and come back.

    Without options it answers at once: who ran it, and which versions it has.
    """
    _write_trace(trace, "start")
    done = _load(save)
    held = bytearray(memory)
    held[::_PAGE] = b"\1" * len(held[::_PAGE])  # touch every page: memory that is only asked for costs nothing
    for number in range(log_lines):
        logger.info("line %d of %d", number + 1, log_lines)
    _work(seconds, done, save, None if gate is None else _traced_attempt()[1] / gate)
    if crash is not None:
        _crash(crash)
    if fail:
        raise HiveError(f"The probe failed because it was told to. {message}".rstrip())
    if output is not None:
        _write_output(output, output_bytes)
    _write_trace(trace, "end")
    attempt = current_attempt()
    return Probe(
        message=message,
        host=platform.node(),
        worker=attempt.worker if attempt else "",
        attempt=attempt.number if attempt else 1,
        python=platform.python_version(),
        libraries=_libraries(),
    )


def _work(seconds: float, done: float, save: bool, gate: Path | None) -> None:
    """Wait, and report progress ten times a second at most."""
    start = time.monotonic() - done
    while (passed := time.monotonic() - start) < seconds or not (gate is None or gate.exists()):
        if seconds:
            progress(round(min(passed, seconds), 1), seconds, "s", "working")
        if save:
            _save(passed)
            if stopping():
                raise StoppedError(f"Saved after {passed:.1f} s.")
        time.sleep(min(0.1, seconds - passed) if passed < seconds else 0.1)
    if seconds:
        progress(seconds, seconds, "s", "done")


def _load(save: bool) -> float:
    """Time that earlier attempts have worked [s]."""
    state = checkpoint() / _STATE if save else None
    return float(state.read_text()) if state is not None and state.exists() else 0.0


def _save(passed: float) -> None:
    with replaced_atomically(checkpoint() / _STATE) as unfinished:
        unfinished.write_text(str(passed))


def _crash(what: Literal["child", "worker"]) -> None:
    attempt = current_attempt()
    if what == "worker" and attempt is not None:
        os.kill(attempt.worker_pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _write_output(output: Path, size: int) -> None:
    """Write random bytes, so that no store can make them smaller."""
    with replaced_atomically(output) as unfinished, unfinished.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - start)))


def _write_trace(name: str | None, event: str) -> None:
    """Append one line in a single write, so that lines of parallel jobs do not mix."""
    if name is None:
        return
    attempt, folder = _traced_attempt()
    now = datetime.now(UTC).isoformat()
    line = f"{event} {attempt.job} {attempt.number} {os.getpid()} {attempt.host} {now}\n"
    with (folder / name).open("ab", buffering=0) as file:
        file.write(line.encode())


def _traced_attempt() -> tuple[Attempt, Path]:
    """Find the folder of traces and gates, and the attempt that uses it.

    Raises
    ------
    BadParameterError
        The worker's owner has not allowed traces.
    """
    attempt = current_attempt()
    if attempt is None or attempt.trace_folder is None:
        raise BadParameterError("This worker writes no traces: its owner has not set HIVE_TRACE_DIR.")
    return attempt, attempt.trace_folder


@cache
def _libraries() -> dict[str, str]:
    """Versions of the libraries that the capabilities use, as far as they are installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow, and `--help` does not need it

    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions

"""Catching what an attempt logs and prints.

A process that runs one attempt at a time, a child of the prefork pool, catches all that it and its children write:
descriptors 1 and 2 lead into the attempt's spool meanwhile. In the pools `threads` and `solo` the descriptors belong to
the whole worker. There `logging`, `print` and all else that goes through `sys.stdout` and `sys.stderr` is told apart by
the context that it comes from; what C code and child processes write stays in the worker's own log.
"""

import contextlib
import ctypes
import faulthandler
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from hive.worker.logs.spool import Spool, Writer

logger = logging.getLogger(__name__)
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
# Celery's own logger for tasks does not pass its records on to the root.
_LOGGERS = ("", "celery.task")
_LINE_BUFFERED = 1  # _IOLBF of <stdio.h>, in glibc, musl and macOS
# Two threads may begin their first attempts at once.
_PREPARING = threading.Lock()
_writer: ContextVar[Writer | None] = ContextVar("hive_log_writer", default=None)


@contextmanager
def captured(spool: Spool, module: str, *, owns_process: bool) -> Iterator[Writer | None]:
    """Catch what the block logs and prints; `module` is where its task is written.

    Where the disk refuses, the block runs all the same, with no writer.
    """
    with _PREPARING:
        tap = _tap(owns_process)
        let_information_through(module, tap)
    with contextlib.ExitStack() as stack:
        writer = None
        try:
            writer = stack.enter_context(spool.open())
            stack.enter_context(_descriptors_into(writer) if owns_process else contextlib.nullcontext())
        except OSError as error:
            logger.warning("what %s logs and prints cannot be kept: %s", spool.name, error)
        stack.enter_context(tap.into(writer, owns_process))
        yield writer


class Tap(logging.Handler):
    """Copies each record into the spool of the attempt that it comes from."""

    def __init__(self) -> None:
        super().__init__()
        self._of_process: Writer | None = None

    @contextmanager
    def into(self, writer: Writer | None, owns_process: bool) -> Iterator[None]:
        """Copy the records of this process, or of this context, as long as the block runs."""
        token = _writer.set(writer)
        self._of_process = writer if owns_process else None
        try:
            yield
        finally:
            self._of_process = None
            _writer.reset(token)

    def emit(self, record: logging.LogRecord) -> None:
        """Copy one record."""
        writer = self._of_process or _writer.get()
        if writer is None:
            return
        try:
            writer.record(int(record.created * 1000), _level(record.levelno), self.format(record))
        except Exception:  # as every handler of `logging`: a task does not fail for its log
            self.handleError(record)


def _level(number: int) -> str:
    """The usual level that a level of one's own belongs to.

    >>> _level(35)
    'WARNING'
    """
    return logging.getLevelName(next((level for level in _LEVELS if number >= level), logging.DEBUG))


@cache
def _tap(owns_process: bool) -> Tap:
    """Prepare this process, once."""
    tap = Tap()
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if owns_process and isinstance(handler, logging.StreamHandler):
                _lead_past(handler)
        logging.getLogger(name).addHandler(tap)
    if owns_process:
        _write_whole_lines()
        faulthandler.enable(2)  # what Python was at when C code crashed is the last thing in the log
    else:
        # For the whole process, which is the worker's own: threads share these names, and each attempt has its context.
        sys.stdout = _parted(1, sys.stdout)
        sys.stderr = _parted(2, sys.stderr)
    return tap


def _lead_past(handler: "logging.StreamHandler[Any]") -> None:
    """Let a handler that writes to descriptor 2 go on doing so when that leads into a spool."""
    if handler.stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        own = os.dup(handler.stream.fileno())
        handler.setStream(open(own, "w", buffering=1, errors="backslashreplace"))  # noqa: SIM115, PTH123  for good


def _write_whole_lines() -> None:
    """Let Python and C hand over each line at once, though they do not write to a terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    name = "__stdoutp" if sys.platform == "darwin" else "stdout"
    with contextlib.suppress(ValueError):  # a C library that calls it otherwise
        _c().setvbuf(ctypes.c_void_p.in_dll(_c(), name), None, _LINE_BUFFERED, ctypes.c_size_t(0))


@contextmanager
def _descriptors_into(writer: Writer) -> Iterator[None]:
    """Lead descriptors 1 and 2 into the spool, and back in every case."""
    _flush()
    own = [(number, os.dup(number)) for number in (1, 2)]
    try:
        os.dup2(writer.out, 1)
        os.dup2(writer.err, 2)
        yield
    finally:
        _flush()
        for number, descriptor in own:
            os.dup2(descriptor, number)
            os.close(descriptor)


def _flush() -> None:
    """Hand over what Python and C still hold."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    _c().fflush(None)


@cache
def _c() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _Parted(io.RawIOBase):
    """A stream of the worker in which each attempt has its own part."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Any) -> int:  # noqa: ANN401  any buffer
        writer = _writer.get()
        own = self._descriptor if writer is None else (writer.out if self._descriptor == 1 else writer.err)
        return os.write(own, data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor


def _parted(descriptor: int, stream: Any) -> io.TextIOWrapper:  # noqa: ANN401
    stream.flush()
    parted: Any = _Parted(descriptor)  # `python -u` puts a raw stream there as well
    return io.TextIOWrapper(parted, encoding="utf-8", errors="backslashreplace", write_through=True)


def let_information_through(module: str, tap: logging.Handler) -> None:
    """Let a task's INFO reach its job's log although the worker keeps to warnings.

    That is the level of `celery worker` where no other is asked for. The worker's own log stays at its level, and so do
    libraries; what the logger of the task's own package was set to is respected.
    """
    root, own = logging.getLogger(), logging.getLogger(module.partition(".")[0])
    if own.level != logging.NOTSET or root.level <= logging.INFO:
        return
    for handler in root.handlers:
        if handler is not tap and handler.level == logging.NOTSET:
            handler.setLevel(root.level)
    own.setLevel(logging.INFO)

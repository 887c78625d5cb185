"""Injecting faults into real processes, and counting what was lost.

The evidence is a file that the jobs themselves append to (`hive submit test --trace`); no fault touches it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from hive_workers.test.probe import probe

from hive.client import Session, make_request
from hive.home import running_pid
from hive.options import JobOptions
from hive.wire.job import JobRecord, State
from tests.support import BIN, Hive, end_tree, free_port, missing, wait_until


@dataclass(frozen=True)
class Row:
    """One line of the table: what was injected and what came of it."""

    fault: str
    jobs: int
    lost: int
    finished_twice: int
    kept: int
    restart_s: float | None = None


class Field:
    """A Hive under test: many probes in, and what the trace and the records say of them."""

    def __init__(self, folder: Path, lease_s: float, **environment: str) -> None:
        self.traces = folder / "traces"
        self.traces.mkdir()
        self.lease_s = lease_s
        self.hive = Hive(
            folder / "home", HIVE_LEASE_S=str(lease_s), HIVE_TRACE_DIR=str(self.traces), HIVE_GRACE_S="2", **environment
        )
        self.ids: list[str] = []

    @cached_property
    def session(self) -> Session:
        return Session(self.hive.settings)

    def submit(self, count: int = 1, queue: str = "gis", **parameters: object) -> list[str]:
        """Send probes that leave a trace."""
        session = self.session
        request = make_request(probe, {"trace": "log", **parameters}, JobOptions(queue=queue))
        ids = [session.submit(request) for _ in range(count)]
        self.ids += ids
        return ids

    @contextmanager
    def supervised(self, **slots: int) -> Iterator[None]:
        """Run `hive worker`, which starts its workers again when they die."""
        capabilities = ",".join(f"{name}={count}" for name, count in slots.items())
        process = subprocess.Popen(
            self.hive.command("worker", "--capabilities", capabilities, "--name", "studio"),
            env=self.hive.environment, start_new_session=True, stderr=subprocess.DEVNULL, cwd=self.hive.home,
        )  # fmt: skip
        try:
            wait_until(lambda: self.hive.json("workers"), "a worker reports")
            yield
        finally:
            end_tree(process)

    def job(self, job_id: str) -> JobRecord:
        return self.session.jobs.get(job_id)

    def wait_for_all(self, deadline_s: float) -> list[JobRecord]:
        """Wait until every job is finished; returns their records, finished or not."""
        jobs = self.session.jobs
        left = set(self.ids)

        def is_over() -> bool:
            for job_id in list(left):
                if jobs.get(job_id).state.is_final:
                    left.discard(job_id)
            return not left

        with contextlib.suppress(AssertionError):
            wait_until(is_over, "all jobs are finished", deadline_s)
        return [jobs.get(job_id) for job_id in self.ids]

    def trace(self) -> list[tuple[str, str, int, float]]:
        """Every line that a job wrote: event, job, attempt, time."""
        file = self.traces / "log"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [
            (event, job, int(attempt), datetime.fromisoformat(at).timestamp())
            for event, job, attempt, _, _, at in lines
        ]

    def row(self, fault: str, jobs: list[JobRecord], restart_s: float | None = None) -> Row:
        """Count what happened."""
        ends = Counter(job for event, job, _, _ in self.trace() if event == "end")
        return Row(
            fault=fault,
            jobs=len(jobs),
            lost=sum(job.state is not State.SUCCEEDED for job in jobs),
            finished_twice=sum(ends[job.id] > 1 for job in jobs),
            kept=sum(job.state is State.SUCCEEDED for job in jobs),
            restart_s=None if restart_s is None else round(restart_s, 1),
        )

    def started(self, job_id: str, attempt: int = 1) -> float | None:
        """When an attempt began, by its own trace."""
        return next(
            (at for event, job, number, at in self.trace() if (event, job, number) == ("start", job_id, attempt)), None
        )


@contextmanager
def redis_paused(hive: Hive, seconds: float) -> Iterator[list[float]]:
    """Kill Redis, keep it away for a while, and start it again with what it had written down.

    What it yields has, after the block, the time at which Redis was told to come back.
    """
    pid = running_pid(hive.settings)
    psutil.Process(pid).kill()
    wait_until(lambda: running_pid(hive.settings) is None, "Redis is gone")
    told: list[float] = []
    yield told
    time.sleep(seconds)  # the fault itself: so long nobody can reach Redis
    told.append(time.time())
    hive.run("up", "--redis-only")


def kill_tree(worker: psutil.Process) -> None:
    """End a worker and all its children at once, as a machine does that loses its power."""
    family = [worker, *worker.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


class Proxy:
    """Forwards a port of another address to a local one, so that a network namespace can reach it; counts the bytes."""

    def __init__(self, address: str, target_port: int) -> None:
        self.address, self.port, self._target = address, free_port(), target_port
        self.up_bytes = self.down_bytes = 0  # towards the local port, and back
        self.was_cut = False
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Proxy":
        self._listening = socket.create_server((self.address, self.port))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits for the next connection
        self._threads[0].join()
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Break every connection, as a router does that forgets them."""
        self.was_cut = True
        for one in list(self._open):
            _break(one)

    def _start(self, call: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    here.close()
                    continue
                self._open |= {here, there}
                self._start(self._serve, here, there)

    def _serve(self, here: socket.socket, there: socket.socket) -> None:
        with here, there:
            back = self._start(self._copy, there, here, "down_bytes")
            self._copy(here, there, "up_bytes")
            back.join()
            self._open -= {here, there}

    def _copy(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                target.sendall(data)
                setattr(self, counter, getattr(self, counter) + len(data))
        for one in (source, target):
            _break(one)


def _break(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def far_environment(hive: Hive, gateway: Proxy) -> Mapping[str, str]:
    """What a machine is told that reaches the files of a Hive through its gateway."""
    return {"HIVE_GATEWAY_URL": f"http://{gateway.address}:{gateway.port}", "HIVE_TOKEN": hive.settings.token}


class Host:
    """Another machine: a network namespace with one cable to this one. Pulling the cable sends no goodbye."""

    def __init__(self, number: int) -> None:
        self.name = f"hive{os.getpid() % 10000}x{number}"
        process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))  # side by side, networks differ
        self.outside, self.inside = f"10.{200 + process}.{number}.1", f"10.{200 + process}.{number}.2"
        self._cable = f"hv{os.getpid() % 10000}x{number}"

    def __enter__(self) -> "Host":
        if os.geteuid() != 0 or shutil.which("ip") is None:
            missing("root and the program ip (package iproute2), for network namespaces,")
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self._ip("addr", "add", f"{self.outside}/30", "dev", self._cable)
        self._ip("link", "set", self._cable, "up")
        self._ip("-n", self.name, "addr", "add", f"{self.inside}/30", "dev", "eth0")
        self._ip("-n", self.name, "link", "set", "eth0", "up")
        self._ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._ip("netns", "del", self.name)

    def pull_cable(self) -> None:
        self._ip("link", "set", self._cable, "down")

    def mend_cable(self) -> None:
        self._ip("link", "set", self._cable, "up")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["/usr/bin/env", "ip", *arguments], check=True, capture_output=True)

    @contextmanager
    def worker(
        self,
        field: Field,
        name: str,
        queue: str = "gis",
        slots: int = 2,
        gateway: Proxy | None = None,
    ) -> Iterator[psutil.Process]:
        """Run a worker on that machine; it reaches Redis, and a gateway where it is given one, through its cable."""
        hive = field.hive
        with Proxy(self.outside, hive.port) as proxy:
            secret = (hive.home / "access" / "worker.password").read_text()
            environment = hive.environment | {
                "HIVE_BROKER_URL": f"redis://worker:{secret}@{proxy.address}:{proxy.port}/0",
                "HIVE_CACHE": str(hive.home / f"cache-{name}"),
            }
            environment |= {"HIVE_TRUST_FILE": str(hive.home / "access" / "trusted.json")}
            if gateway is not None:  # then it has nothing else of this machine, its home neither
                environment |= far_environment(hive, gateway) | {"HIVE_HOME": str(hive.home.with_name(f"home-{name}"))}
            command = ["ip", "netns", "exec", self.name, str(BIN / "celery"), "-A", "hive", "worker", "-Q", queue]
            with (hive.home / f"{name}.log").open("a") as log:
                process = subprocess.Popen(
                    [*command, "-c", str(slots), "-n", f"{name}@test", "--loglevel", "INFO"],
                    env=environment, stdout=log, stderr=log, cwd=hive.home, start_new_session=True,
                )  # fmt: skip
            try:
                wait_until(lambda: hive.redis.exists(f"hive:worker:{name}@test"), "the worker reports")
                yield psutil.Process(process.pid)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

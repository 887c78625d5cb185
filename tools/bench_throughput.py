"""Throughput of no-op jobs beside plain Celery on the same machine, interleaved: `make bench`.

The peer is Celery with late acknowledgement and task events on, which is what Flower needs; both run a real worker
with two children against a redis-server with an AOF. Submission is timed apart, so that only the worker's side counts.
"""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hive_workers.test.probe import probe

from hive.client.send import Sender
from hive.home import start, stop
from hive.settings import Settings, load_settings
from hive.store import JobStore, new_id
from hive.store.connection import connect, held_keys
from hive.task import Limits
from hive.wire.job import Specification, State

BIN = Path(sys.executable).parent
JOBS = 2000
ROUNDS = 3
PLAIN = """
from celery import Celery
import os
app = Celery("plain", broker=os.environ["HIVE_BROKER_URL"], backend=os.environ["HIVE_BROKER_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, worker_send_task_events=True,
                task_send_sent_event=True, task_track_started=True)
@app.task(name="plain.nothing")
def nothing():
    return {"message": ""}
"""


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def worker(module: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker that will take what is queued."""
    command = [str(BIN / "celery"), "-A", module, "worker", "-c", "2", "-Q", "bench", "--loglevel", "WARNING"]
    with (folder / f"{module}.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def drained_s(settings: Settings, module: str, folder: Path, environment: dict[str, str]) -> float:
    """Seconds from the first job's start to the last one's end."""
    redis = connect(settings)
    lists, held = ["bench", "bench\x06\x163"], ["unacked", held_keys(settings)["unacked_key"]]

    def left() -> int:
        return sum(int(redis.llen(name)) for name in lists) + sum(int(redis.hlen(one)) for one in held)  # type: ignore[arg-type,misc]

    process = worker(module, folder, environment)
    try:
        while left() > JOBS - 20:
            time.sleep(0.01)
        begin, before = time.monotonic(), left()
        while left():
            time.sleep(0.02)
        return (time.monotonic() - begin) * JOBS / before
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def fill_plain(folder: Path, environment: dict[str, str]) -> None:
    """Queue the peer's jobs."""
    code = f"from plain import nothing\nfor _ in range({JOBS}): nothing.apply_async(queue='bench')"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=folder)


def fill_hive(settings: Settings) -> list[str]:
    """Queue Hive's jobs; returns their ids."""
    asked = Specification(
        "test",
        "test.probe",
        "bench",
        probe.check({}) | {},
        {},
        {},
        Limits(attempts=3),  # type: ignore[arg-type]
    )
    sender = Sender(settings, JobStore(connect(settings)))
    ids = [new_id() for _ in range(JOBS)]
    for job_id in ids:
        sender.send(job_id, asked)
    return ids


def main() -> None:
    """Run both in turn and print jobs per second and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain.py").write_text(PLAIN)
        flags = {"home": folder / "home", "redis_port": free_port()}
        start(load_settings(flags, {}), with_gateway=False)
        own = load_settings(flags, {})
        settings = load_settings(flags | {"role": "admin"}, {})  # plain Celery's keys are no other user's
        environment = os.environ | {
            "HIVE_HOME": str(settings.home), "HIVE_BROKER_URL": settings.broker_url, "PYTHONPATH": str(folder),
        }  # fmt: skip
        try:
            ratios = []
            for number in range(ROUNDS):
                fill_plain(folder, environment)
                plain = JOBS / drained_s(settings, "plain", folder, environment)
                ids = fill_hive(own)
                hive = JOBS / drained_s(settings, "hive", folder, environment)
                if set(JobStore(connect(settings)).states(ids)) != {State.SUCCEEDED}:
                    raise SystemExit(f"not every job has succeeded; see {folder}/hive.log")
                ratios.append(hive / plain)
                print(f"round {number + 1}: hive {hive:.0f}/s, plain Celery {plain:.0f}/s, ratio {hive / plain:.2f}")
            print(f"median ratio {statistics.median(ratios):.2f}")
        finally:
            stop(settings)


if __name__ == "__main__":
    main()

"""What the Mac side costs while nothing happens, beside plain Redis and Flower: `make bench`.

Each side runs with as many real workers as are asked for; none is simulated, for 50 take no more than 3 GB. They have
the pool `solo`, which asks Redis for as much as the others do. After the workers are there and have settled, the CPU
time of Redis and of the web process is read twice, a window apart. The peer is redis-server, `celery worker` and
`celery flower` with their defaults. Rounds are interleaved.

`--jobs-seen 50000` measures the memory of Hive's Mac side after so many jobs, made by real workers, with the whole
history still there. They are sent 2500 at a time: what waits takes memory too, and Redis hardly gives that back.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
from hive_workers.test.probe import probe

from hive.client import Session, make_request
from hive.client.observer import Observer
from hive.home import start, stop
from hive.home.gateway_process import running_pid as gateway_pid
from hive.home.redis_server import find_redis_server
from hive.home.redis_server import running_pid as redis_pid
from hive.options import JobOptions
from hive.settings import Settings, load_settings
from hive.store import keys, new_id
from tools.bench_throughput import free_port

BIN = Path(sys.executable).parent
SETTLE_S = 15.0
SENT_AT_ONCE = 2_500
MB = 1e6
# Most CPU [% of a core] and memory [MB] of both processes together, by the number of idle workers.
GOALS = {4: (0.20, 110.0), 12: (0.27, 110.0), 50: (0.40, 120.0)}
GOAL_SEEN_MB = 140.0
PLAIN = """
import os
from celery import Celery
app = Celery("plain", broker=os.environ["HIVE_BROKER_URL"])
"""


@dataclass(frozen=True)
class Cost:
    """What Redis and the web process took in a window: CPU of each [% of a core], memory of both [MB]."""

    redis_percent: float
    web_percent: float
    memory_mb: float

    @property
    def percent(self) -> float:
        """CPU of both."""
        return self.redis_percent + self.web_percent


@dataclass(frozen=True)
class Side:
    """One Mac side under test: its Redis, its web process, and how a worker of it is started."""

    broker_url: str
    redis: psutil.Process
    web: psutil.Process
    module: str
    environment: dict[str, str]
    folder: Path


def main() -> int:
    """Print a table; exit code 1 where a goal is missed."""
    asked = arguments()
    print("Idle Mac side: CPU of one core over a window, memory (RSS) of Redis and web process together")
    results = [idle(count, asked.rounds, asked.seconds) for count in asked.workers]
    if asked.jobs_seen:
        results.append(seen(asked.jobs_seen))
    return 0 if all(results) else 1


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[4, 12], metavar="N", help="idle workers")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a window")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs-seen", type=int, default=0, metavar="N", help="memory after so many jobs")
    return parser.parse_args()


def idle(count: int, rounds: int, window_s: float) -> bool:
    """Measure both sides in turn; returns whether the goal is met."""
    costs: dict[str, list[Cost]] = {"hive": [], "plain": []}
    for number in range(rounds):
        for name, side in (("hive", hive_side), ("plain", plain_side)):
            cost = measure(side, count, window_s)
            costs[name].append(cost)
            print(
                f"{count:3} workers, round {number + 1}, {name:5}: redis {cost.redis_percent:.3f} %, "
                f"web {cost.web_percent:.3f} %, together {cost.percent:.3f} %, {cost.memory_mb:.0f} MB",
                flush=True,
            )
    own, plain = (statistics.median(one.percent for one in costs[name]) for name in ("hive", "plain"))
    memory_mb = statistics.median(one.memory_mb for one in costs["hive"])
    ratio = statistics.median(a.percent / b.percent for a, b in zip(costs["hive"], costs["plain"], strict=True))
    goal_percent, goal_mb = GOALS.get(count, (float("inf"), float("inf")))
    is_met = own <= goal_percent and memory_mb <= goal_mb
    print(
        f"{count:3} workers: {own:.3f} % (goal {goal_percent:.2f}), {memory_mb:.0f} MB (goal {goal_mb:.0f}); "
        f"plain {plain:.3f} %, ratio {ratio:.2f}: {'met' if is_met else 'MISSED'}",
        flush=True,
    )
    return is_met


def measure(side: Callable[[Path], "contextmanager[Side]"], count: int, window_s: float) -> Cost:  # type: ignore[type-arg]
    """Start a side and its workers, let them settle, and read what the Mac side takes."""
    with tempfile.TemporaryDirectory() as name, side(Path(name)) as one, workers(one, count):
        time.sleep(SETTLE_S)
        before = [cpu_s(process) for process in (one.redis, one.web)]
        began = time.monotonic()
        time.sleep(window_s)
        passed_s = time.monotonic() - began
        used = [cpu_s(process) - was for process, was in zip((one.redis, one.web), before, strict=True)]
        return Cost(100 * used[0] / passed_s, 100 * used[1] / passed_s, memory_mb(one))


def cpu_s(process: psutil.Process) -> float:
    """CPU time of all threads [s]; by the scheduler's own clock where Linux tells it, for a tick is 10 ms."""
    files = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if files:
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9
    used = process.cpu_times()
    return used.user + used.system


def memory_mb(side: Side) -> float:
    """Resident memory of both processes [MB]."""
    return sum(process.memory_info().rss for process in (side.redis, side.web)) / MB


@contextmanager
def hive_side(folder: Path) -> Iterator[Side]:
    """Hive's Mac side as `hive up` starts it."""
    settings = start_hive(folder)
    redis_process, gateway = redis_pid(settings), gateway_pid(settings)
    if redis_process is None or gateway is None:
        sys.exit("bench_idle: the Mac side ended at once")
    environment = os.environ | {
        "HIVE_HOME": str(settings.home), "HIVE_REDIS_PORT": str(settings.redis_port), "HIVE_PRELOAD": "0",
    }  # fmt: skip
    processes = psutil.Process(redis_process), psutil.Process(gateway)
    try:
        yield Side(settings.broker_url, *processes, "hive", environment, folder)
    finally:
        stop(settings)


def start_hive(folder: Path) -> Settings:
    """Start a Mac side of its own; returns the settings that reach it."""
    flags = {"home": folder / "home", "redis_port": free_port(), "gateway_port": free_port()}
    start(load_settings(flags, {}))
    return load_settings(flags, {})


@contextmanager
def plain_side(folder: Path) -> Iterator[Side]:
    """redis-server and Flower with their defaults."""
    (folder / "plain.py").write_text(PLAIN)
    port, web_port = free_port(), free_port()
    broker = f"redis://127.0.0.1:{port}/0"
    environment = os.environ | {"HIVE_BROKER_URL": broker, "PYTHONPATH": str(folder)}
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen([find_redis_server(), "--port", str(port)], cwd=folder, stdout=log, stderr=log)
        wait_until(lambda: answers(broker))
        command = [BIN / "celery", "-A", "plain", "flower", f"--port={web_port}", "--address=127.0.0.1"]
        flower = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: is_open(f"http://127.0.0.1:{web_port}/healthcheck"))
        yield Side(broker, psutil.Process(server.pid), psutil.Process(flower.pid), "plain", environment, folder)
    finally:
        for process in (flower, server):
            process.terminate()
            process.wait()


@contextmanager
def workers(side: Side, count: int, pool: str = "solo", slots: int = 1) -> Iterator[None]:
    """Run workers that serve one queue, and wait until all of them listen."""
    started = []
    with (side.folder / "workers.log").open("ab") as log:
        for number in range(count):
            command = [BIN / "celery", "-A", side.module, "worker", "-Q", "bench", "-P", pool, "-c", str(slots)]
            command += ["-n", f"w{number}@bench", "--loglevel", "INFO"]
            started.append(
                subprocess.Popen(
                    command, env=side.environment, cwd=side.folder, stdout=log, stderr=log, start_new_session=True
                )
            )
    try:
        wait_until(lambda: (side.folder / "workers.log").read_text().count(" ready.") >= count, 30 + 5 * count)
        yield
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait()


def seen(jobs: int) -> bool:
    """Memory after many jobs, all of whose records are still there; returns whether the goal is met."""
    with tempfile.TemporaryDirectory() as name, hive_side(Path(name)) as side:
        session = Session(load_settings({"home": Path(name, "home"), "broker_url": side.broker_url}, {}))

        def ended() -> int:
            return int(session.broker.zcard(keys.finished("bench")))  # type: ignore[arg-type]

        before_mb = memory_mb(side)
        [asked] = session.specify([make_request(probe, {}, JobOptions(queue="bench"))], Observer())
        with workers(side, 1, "prefork", slots=os.cpu_count() or 2):
            for sent in range(0, jobs, SENT_AT_ONCE):
                session.sender.send_many([(new_id(), asked) for _ in range(min(SENT_AT_ONCE, jobs - sent))])
                wait_until(lambda sent=sent: ended() >= sent, 60 + SENT_AT_ONCE / 20)
            wait_until(lambda: ended() >= jobs, 60 + SENT_AT_ONCE / 20)
        time.sleep(SETTLE_S)
        after_mb = memory_mb(side)
    is_met = after_mb <= GOAL_SEEN_MB
    print(
        f"{jobs} jobs seen: {before_mb:.0f} MB before, {after_mb:.0f} MB after (goal {GOAL_SEEN_MB:.0f}): "
        f"{'met' if is_met else 'MISSED'}"
    )
    return is_met


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    """Wait for a condition; give up with an error after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench_idle: not within {deadline_s:.0f} s; the logs are gone with their folder")
        time.sleep(0.2)


def answers(broker_url: str) -> bool:
    """Whether a Redis is there."""
    try:
        return bool(redis.Redis.from_url(broker_url).ping())
    except redis.ConnectionError:
        return False


def is_open(address: str) -> bool:
    """Whether a web page is there."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310  our own
            return answer.status == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())

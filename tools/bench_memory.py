"""Memory of workers with four slots, each of which has run a task, with and without HIVE_PRELOAD: `make bench`.

PSS counts a page that several processes share once, in equal parts; the sum is what the machine must have.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from hive_workers.geophysics.detect import detect
from hive_workers.training.fit import fit

from hive.client import Session, make_request
from hive.home import start, stop
from hive.settings import Settings, load_settings
from hive.store.connection import connect
from hive.task import Task
from tools.bench_throughput import free_port

BIN = Path(sys.executable).parent
DATA = Path(__file__).parents[1] / "tests" / "data"
SLOTS = 4
ROUNDS = 3


def main() -> None:
    """Measure each capability, in turn with and without."""
    for name, task, values in (
        ("geophysics", detect, {"waveforms": sorted(map(str, (DATA / "geophysics").glob("BW.UH*.gz")))}),
        ("training", fit, {"files": [str(DATA / "training" / "digits.csv.gz")], "epochs": 1}),
    ):
        ratios = []
        for number in range(ROUNDS):
            own, plain = (memory_mb(name, task, values, preload) for preload in ("1", "0"))
            ratios.append(own / plain)
            print(f"{name}, round {number + 1}: {own:.0f} MB, in each process {plain:.0f} MB, {own / plain:.2f}")
        print(f"{name}: median ratio {statistics.median(ratios):.2f}")


def memory_mb(queue: str, task: Task, values: dict[str, object], preload: str) -> float:  # type: ignore[type-arg]
    """PSS of a worker whose processes have run a task each [MB]."""
    with tempfile.TemporaryDirectory() as name:
        flags = {"home": Path(name, "home"), "redis_port": free_port()}
        start(load_settings(flags, {}), with_gateway=False)
        settings = load_settings(flags, {})
        environment = os.environ | {
            "HIVE_HOME": str(settings.home), "HIVE_REDIS_PORT": str(settings.redis_port), "HIVE_PRELOAD": preload,
        }  # fmt: skip
        command = [BIN / "celery", "-A", "hive", "worker", "-c", str(SLOTS), "-Q", queue, "--loglevel", "WARNING"]
        with Path(name, "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=name, stdout=log, stderr=log, start_new_session=True
            )
        try:
            run_everywhere(settings, task, values, Path(name))
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            return sum(one.memory_full_info().pss for one in family) / 1e6
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            stop(settings)


def run_everywhere(settings: Settings, task: Task, values: dict[str, object], folder: Path) -> None:  # type: ignore[type-arg]
    """Run the task often enough, at once, that each process has had one."""
    session = Session(settings)
    ids = []
    for number in range(2 * SLOTS):
        ids.append(session.submit(make_request(task, {**values, **places(task, folder, str(number))})))
    while not all(session.jobs.get(one).state.is_final for one in ids):
        time.sleep(0.2)
    states = {str(session.jobs.get(one).state) for one in ids}
    if states != {"succeeded"}:
        sys.exit(f"bench_memory: jobs ended as {states}: {[session.jobs.get(one).error for one in ids][:1]}")
    connect(settings).close()


def places(task: Task, folder: Path, begin: str) -> dict[str, str]:  # type: ignore[type-arg]
    """Where a task writes what it must write, by parameter."""
    found = {}
    for one in task.writes:
        if one.is_required:
            suffix = (one.file.suffixes or ("",))[0] if one.file else ""
            found[one.name] = str(folder / f"{begin}.{one.name}{suffix}")
    return found


if __name__ == "__main__":
    main()

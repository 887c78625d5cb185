"""Each task through Hive beside the same work in a plain script, on inputs of 20 s or more, interleaved: `make bench`.

Hive's side is the whole command `hive submit`: start, hash, upload, the job on a waiting worker, and results brought
back. The plain side is a script that imports the task's function and calls it on the same files. Each run has an input
that the store has not seen, so it is sent. `python -m tools.bench_tasks gis.dtm training.fit` runs only these.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hive.catalog import all_tasks
from hive.home import stop
from hive.task import Task
from tools.bench_idle import start_hive
from tools.bench_inputs import make_inputs

BIN = Path(sys.executable).parent
ROUNDS = 3
WANTED = 1.10
PLAIN = """
import json, sys
from pathlib import Path
from hive.catalog import all_tasks
task = next(one for one in all_tasks() if one.wire_name == sys.argv[1])
values = json.loads(sys.argv[2])
for one in (*task.reads, *task.writes):
    given = values.get(one.name)
    if given is not None:
        values[one.name] = [Path(path) for path in given] if isinstance(given, list) else Path(given)
task(**values)
"""


def main() -> None:
    """Print seconds and ratios of each task; exit code 1 where one costs more than wanted."""
    names = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        inputs = make_inputs(folder)
        medians = {task: measure(folder, task, inputs[task]) for task in names or inputs}
    for task, median in medians.items():
        print(f"{task}: median ratio {median:.3f} (wanted: {WANTED:g} or less)")
    sys.exit(any(median > WANTED for median in medians.values()))


def measure(folder: Path, task: str, values: dict[str, Any]) -> float:
    """Run a task in turn, plain and through a Hive of its own; returns the median of the ratios."""
    ratios = []
    found = next(one for one in all_tasks() if one.wire_name == task)
    for number in range(ROUNDS):
        plain = seconds(
            [sys.executable, "-c", PLAIN, task, json.dumps(values | results(found, folder, f"plain-{task}"))]
        )
        own = through_hive(folder / f"{task}-{number}", task, values | results(found, folder, f"hive-{task}"))
        ratios.append(own / plain)
        print(
            f"{task}, round {number + 1}: hive submit {own:.1f} s, plain {plain:.1f} s, {own / plain:.3f}", flush=True
        )
    return statistics.median(ratios)


def results(task: Task[Any, Any], folder: Path, begin: str) -> dict[str, str]:
    """Where a task writes its results, the pictures too, by parameter."""
    suffixes = {one.name: (one.file.suffixes or ("",))[0] if one.file else "" for one in task.writes}
    return {name: str(folder / f"{begin}.{name}{suffix}") for name, suffix in suffixes.items()}


def through_hive(folder: Path, task: str, values: dict[str, Any]) -> float:
    """Start a Hive whose store is empty and a worker; returns how long the command took [s]."""
    settings = start_hive(folder)
    home = settings.home
    environment = os.environ | {
        "HIVE_HOME": str(home), "HIVE_REDIS_PORT": str(settings.redis_port),
        "HIVE_GATEWAY_PORT": str(settings.gateway_port), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    queue = task.partition(".")[0]
    command = [BIN / "celery", "-A", "hive", "worker", "-c", "1", "-Q", queue, "--loglevel", "WARNING"]
    with (home / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        subprocess.run([BIN / "hive", "submit", "test", "--queue", queue], env=environment, check=True, timeout=120,
                       capture_output=True)  # fmt: skip
        words = ["submit", "--type", task, "--params", json.dumps(values), "--force", "--json"]
        return seconds([str(BIN / "hive"), *words], environment)
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait()
        stop(settings)


def seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Wall time of a command that must succeed [s]."""
    begin = time.perf_counter()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"bench_tasks: {command[:4]} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

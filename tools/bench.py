"""Measure Hive beside a named peer, interleaved: `make bench` prints medians and their ratios."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent
ROUNDS = 15
# Each command of Hive beside what a user of plain Celery would type.
PAIRS = (
    (["hive", "--help"], ["celery", "--help"]),
    (["hive", "submit", "gis", "dtm", "--help"], ["celery", "-A", "hive", "call", "--help"]),
)


def cpu_ms(command: list[str], home: str) -> float:
    """CPU time of one run of a command [ms]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [str(BIN / command[0]), *command[1:]], check=True, capture_output=True, env=os.environ | {"HIVE_HOME": home}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(ours: list[str], theirs: list[str], home: str) -> str:
    """Run both in turn; returns one row of the table."""
    pairs = [(cpu_ms(ours, home), cpu_ms(theirs, home)) for _ in range(ROUNDS)]
    own, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return f"{' '.join(ours):34} {own:5.0f} ms   {' '.join(theirs):32} {peer:5.0f} ms   {ratio:.2f} x"


def main() -> None:
    """Print the table."""
    print(f"CPU time, median of {ROUNDS} interleaved runs, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as home:
        for ours, theirs in PAIRS:
            print(compare(ours, theirs, home))


if __name__ == "__main__":
    main()

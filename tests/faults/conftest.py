"""How long and how often: short in `make test`, in full in `make faults`. The table is printed at the end."""

import platform
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.faults.harness import Field, Row

ROWS: list[Row] = []
PAGE = """# Faults, and what they cost

Written by `make faults` on {date} ({system}, 2 cores, lease 15 s, grace 2 s). Each line is real: a real redis-server,
real Celery workers, the fault injected from outside. *Lost* counts jobs that did not succeed; *finished twice* counts
jobs whose code ran to its end more than once, of which one result was kept. What is promised: [promises](promises.md).

{table}
"""


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether faults are injected as long and as often as the promises say."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def lease_s(full: bool) -> float:
    return 15.0 if full else 3.0


@pytest.fixture
def field(tmp_path: Path, lease_s: float) -> Iterator[Field]:
    """A Hive with Redis and no worker yet."""
    made = Field(tmp_path, lease_s)
    with made.hive.up():
        yield made


@pytest.fixture
def note() -> Callable[[Row], Row]:
    """Keep a row for the table."""

    def keep(row: Row) -> Row:
        ROWS.append(row)
        return row

    return keep


def table(rows: list[Row]) -> str:
    lines = ["| fault | jobs | lost | finished twice | results kept | restarted after |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        restart = "" if row.restart_s is None else f"{row.restart_s:.1f} s"
        lines.append(f"| {row.fault} | {row.jobs} | {row.lost} | {row.finished_twice} | {row.kept} | {restart} |")
    return "\n".join(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not ROWS:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table(ROWS))
    if page := config.getoption("--table"):
        page.write_text(PAGE.format(date=date.today(), system=platform.platform(), table=table(ROWS)))

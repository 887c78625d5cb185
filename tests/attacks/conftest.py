"""Each attack is really tried; the table of what was refused is printed at the end, and kept in docs/attacks.md."""

import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

ROWS: dict[str, list[bool]] = {}
PAGE = """# Attacks, and what came of them

Written by `make attacks` on {date} ({system}). Each line was really tried, against a real redis-server, real Celery
workers and the real gateway, with what the attacker in question would have. Why it is so, and what a stolen identity
can still do: [security](../SECURITY.md).

{table}
"""


@pytest.fixture
def attack() -> Callable[[str, Callable[[], bool]], bool]:
    """Try an attack; it counts as refused where the step says so, and is shown in the table either way."""

    def tried(name: str, step: Callable[[], bool]) -> bool:
        outcomes = ROWS.setdefault(name, [])
        outcomes.append(False)
        outcomes[-1] = step() is True
        return outcomes[-1]

    return tried


def table() -> str:
    lines = ["| attack | tried | refused |", "|---|--:|--:|"]
    lines += [f"| {name} | {len(outcomes)} | {sum(outcomes)} |" for name, outcomes in sorted(ROWS.items())]
    return "\n".join(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("attacks")
    terminalreporter.write_line(table())
    if page := os.environ.get("HIVE_ATTACKS_PAGE"):
        Path(page).write_text(PAGE.format(date=date.today(), system=platform.platform(), table=table()))

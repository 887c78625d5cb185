"""A real browser on Hive's page, which tells of everything that goes wrong in it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support import Hive, require_program

AXE = "4.14.1"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1360, "height": 860}
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    program = require_program("chromium")
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium's own walls cannot be set up.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One visit of one person: a page, and what went wrong while it was open."""

    def __init__(self, browser: Browser, hive: Hive, **more: Any) -> None:
        self.hive = hive
        self.url = f"http://127.0.0.1:{hive.gateway_port}"
        self.context = browser.new_context(**{"viewport": DESK, **more})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", lambda line: line.type == "error" and self.wrong.append(f"console: {line.text}"))

    def log_in(self) -> Page:
        """Come in by the log-in page, as people do."""
        self.page.goto(self.url)
        self.page.get_by_label("Bearer token").fill(self.hive.settings.token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("status").filter(has_text="Live").wait_for()
        return self.page

    def row(self, job_id: str) -> Any:
        """The line of a job in the list."""
        return self.page.locator(f'li[data-job="{job_id}"]')

    def open(self, job_id: str) -> Any:
        """Open a job by its line; returns its dialog."""
        self.row(job_id).get_by_role("link").click()
        dialog = self.page.get_by_role("dialog")
        dialog.wait_for()
        return dialog

    def close(self) -> None:
        self.context.close()


@contextmanager
def visiting(browser: Browser, hive: Hive, **more: Any) -> Iterator[Visit]:
    """Visit a page; nothing may go wrong in it meanwhile."""
    visit = Visit(browser, hive, **more)
    try:
        yield visit
    finally:
        visit.close()
    assert visit.wrong == []


def axe(cache: pytest.Cache) -> str:
    """The source of axe-core, which checks whether everybody can use a page."""
    folder = Path(cache.mkdir(f"axe-core-{AXE}"))
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        npm = require_program("npm")
        command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), f"axe-core@{AXE}"]
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    return source.read_text()


def barriers(page: Page, source: str) -> list[str]:
    """What keeps somebody from using the page as it is now, where that is serious."""
    page.evaluate(source)
    found = page.evaluate("axe.run().then((found) => found.violations)")
    return [
        f"{one['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]

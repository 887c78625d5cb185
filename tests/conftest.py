"""Fixtures: one Hive with one worker for tests that leave it as it was, a fresh one for those that break it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import make_subprocesses_patient
from tests.support import Hive, Web

# Files whose tests take minutes, and folders in the order of how long they take: side by side, the short ones come last
# and fill the gaps.
_FIRST = (
    "containers", "wire/test_deploy", "faults/test_workers", "wire/test_fit", "wire/test_parts", "faults",
    "science/test_dtm_tiles", "wire/test_access", "wire/test_map", "wire", "fleet", "science", "attacks", "acceptance",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((at for at, name in enumerate(_FIRST) if f"tests/{name}" in item.nodeid), 99))
    for item in items:
        if item.get_closest_marker("full") and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="long; make faults runs it"))


def pytest_configure() -> None:
    make_subprocesses_patient()
    # A shell that starts tests in the background lets them ignore Ctrl-C, and so would every command that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    """A Hive with Redis and one worker for gis; shared, so leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("farm"))
    with hive.up(), hive.worker("gis", slots=2):
        yield hive


@pytest.fixture(scope="module")
def mac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    """A Mac side with a gateway and no worker, for a file of tests; shared, so leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(gateway=True):
        yield hive


@pytest.fixture
def web(mac: Hive) -> Web:
    """Its gateway."""
    return Web(mac)


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    """A Hive of its own that nothing has been started for."""
    return Hive(tmp_path / "home")


@pytest.fixture
def hive_up(hive: Hive) -> Iterator[Hive]:
    """A Hive of its own with Redis and no worker."""
    with hive.up():
        yield hive


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="inject faults as long and as often as the promises say")
    parser.addoption("--table", type=Path, help="write the table of faults to this page")

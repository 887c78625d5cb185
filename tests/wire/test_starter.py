"""`hive worker`: checks what is needed, starts one node per capability, and keeps them running."""

import signal
import subprocess

import psutil
import pytest

from hive.errors import SettingError
from hive.worker.starter import Node, read_nodes
from tests.support import BIN, end_tree, wait_until

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("text", ["", " , ", "gis=0", "gis=x", "gis=-1", "gis="])
def test_a_list_of_capabilities_that_cannot_be_read_is_refused(text):
    with pytest.raises(SettingError, match="gis=2"):
        read_nodes(text, 4)


def test_each_capability_has_its_own_cap():
    assert read_nodes("training=1, gis=4,test", 2) == [Node("training", 1), Node("gis", 4), Node("test", 2)]


@pytest.fixture
def started(hive_up):
    process = subprocess.Popen(
        hive_up.command("worker", "--capabilities", "gis=1,test=2", "--name", "studio"),
        env=hive_up.environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        cwd=hive_up.home,
    )
    yield process
    end_tree(process)


def nodes(hive):
    return {one["name"]: one for one in hive.json("workers")}


def test_it_starts_one_node_for_each_capability_and_restarts_what_dies(hive_up, started):
    wait_until(lambda: set(nodes(hive_up)) == {"gis@studio", "test@studio"}, "both nodes report")
    assert {name: one["slots"] for name, one in nodes(hive_up).items()} == {"gis@studio": 1, "test@studio": 2}
    first = nodes(hive_up)["gis@studio"]["pid"]
    psutil.Process(first).kill()
    wait_until(lambda: nodes(hive_up).get("gis@studio", {}).get("pid", first) != first, "the node is back")
    assert hive_up.json("submit", "test", "--queue", "gis")["worker"] == "gis@studio"
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=30) == 0
    assert nodes(hive_up) == {}


def test_a_capability_whose_program_is_missing_is_refused_in_one_sentence(hive_up, tmp_path):
    venv_only = tmp_path / "bin"
    venv_only.mkdir()
    (venv_only / "python").symlink_to(BIN / "python")
    code = (
        "import sys; sys.executable = sys.argv.pop(1)\n"
        "from hive.cli import main\nmain(['worker', '--capabilities', 'gis=1'])"
    )
    ended = subprocess.run(
        [BIN / "python", "-c", code, str(venv_only / "python")],
        env=hive_up.environment | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "hive: gis needs the program pdal. Install it, for example: conda install -c conda-forge pdal.\n"
    )


def test_an_unknown_capability_is_refused(hive_up):
    said = hive_up.run("worker", "--capabilities", "gsi=1", code=2).stderr
    assert "There is no capability 'gsi'. Known capabilities: 3d-generation, geophysics, gis, " in said


def test_nothing_to_serve_is_said(hive_up):
    assert "set WORKER_CAPABILITIES" in hive_up.run("worker", code=2).stderr

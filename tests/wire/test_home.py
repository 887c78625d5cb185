"""`hive home` to a real sshd on a machine of its own: Redis and the gateway move there and back, nothing is lost."""

import os
import signal
import subprocess
import sys
from itertools import count

import pytest

from hive.home import inventory
from hive.home.location import elsewhere
from tests.faults.harness import Host
from tests.studio import hive_with, machine
from tests.support import TILE, Web, is_gone, wait_until

pytestmark = pytest.mark.wire

_NUMBERS = count(60)


@pytest.fixture
def host():
    with Host(next(_NUMBERS)) as made:
        yield made


@pytest.fixture
def studio(tmp_path, host):
    with machine(tmp_path, host) as made:
        yield made


@pytest.fixture
def mac(tmp_path, studio):
    """A Mac side with a gateway, whose ssh knows the studio."""
    hive = hive_with(studio, tmp_path / "mac", HIVE_DEPLOY_PYTHON=sys.executable)
    with hive.up(gateway=True):
        yield hive


def held(mac):
    """What Redis of this Hive holds, wherever it is."""
    return inventory.count(mac.settings)


def states(mac):
    return {one["id"]: one["state"] for one in mac.json("jobs")}


def fetch(mac, job_id, folder):
    """Bring the files of a job."""
    folder.mkdir()
    mac.run("fetch", job_id, folder)
    assert list(folder.glob("*.tif"))


def pid_of(mac, name):
    return int((mac.home / name / f"{name}.pid").read_text())


def test_a_home_moves_and_works_with_a_closed_lid_and_comes_back(mac, studio, tmp_path):
    mac.json("deploy", "ssh", "studio", "--capabilities", "gis=1", timeout_s=180)
    done = mac.json("submit", "gis", "dtm", TILE, tmp_path / "here.tif", "--cell", "4", timeout_s=120)
    waiting = [mac.submit("test", "--queue", "training") for _ in range(5)]
    old, before, known = [pid_of(mac, name) for name in ("redis", "gateway")], held(mac), states(mac)

    moved = mac.json("home", "studio", timeout_s=180)
    assert (moved["host"], moved["is_moved"], moved["repointed"]) == ("studio", True, ["studio"])
    assert moved["moved"] == held(mac) == before
    assert (states(mac), all(map(is_gone, old))) == (known, True)
    fetch(mac, done["id"], tmp_path / "again")  # the files have moved along
    assert mac.run("logs", done["id"]).stdout
    assert Web(mac).ask("GET", "/status").json()["queued"] == 5
    assert not list(studio.home.glob(".hive-home/*/home/access/submitter.key"))
    secrets = [one for one in studio.home.glob(".hive-home/*/home/**/*") if one.is_file()]
    assert [one for one in secrets if one.stat().st_mode & 0o077 and one.parent.name != "gateway"] == []
    assert mac.json("status")["home"]["host"] == mac.json("home")["host"] == "studio"
    assert "at home on studio; the tunnel there is up" in mac.run("doctor", code=None).stdout
    assert mac.json("home", "studio", timeout_s=90)["is_moved"] is False  # again, and nothing is new

    late = mac.submit("gis", "dtm", TILE, tmp_path / "late.tif", "--cell", "2")
    queued = mac.submit("test", "--queue", "gis", "--seconds", "1")
    assert {one["name"] for one in mac.json("down")["stopped"]} == {"tunnel home"}  # the lid is closed
    [far] = studio.home.glob(".hive-home/*/home")
    there = hive_with(studio, far, HIVE_REDIS_PORT="", HIVE_GATEWAY_PORT="")
    inside = ["nsenter", "--target", str(studio.processes()[0].pid), "--net", "--", sys.executable, "-m", "hive"]

    def show(job_id):
        said = subprocess.run(
            [*inside, "show", job_id], env=there.environment, capture_output=True, text=True, check=False
        )
        return said.stdout

    wait_until(lambda: "succeeded" in show(queued) and "succeeded" in show(late), "jobs run without this laptop", 60)
    refused = mac.run("status", code=4).stderr
    assert "hive up" in refused
    mac.run("up")
    fetch(mac, late, tmp_path / "back")

    before = held(mac)
    back = mac.json("home", "--back", timeout_s=180)
    assert (back["host"], back["moved"], back["repointed"]) == (None, before, ["studio"])
    assert held(mac) == before
    assert {states(mac)[one] for one in waiting} == {"queued"}
    assert not list(studio.home.glob(".hive-home"))
    assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"
    fetch(mac, late, tmp_path / "third")
    assert mac.json("home", "--back")["is_moved"] is False
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)


def break_when(mac, word, do, *words):
    """Run a command, and do something to it when it says that word; returns its code and what it said."""
    with subprocess.Popen(mac.command(*words), env=mac.environment, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(word):
                do(process)
    return process.returncode, said


@pytest.mark.full
def test_a_move_that_breaks_leaves_everything_where_it_was(mac, studio, host):
    waiting = mac.submit("test", "--queue", "training")
    before = held(mac)
    code, said = break_when(mac, "copying jobs", lambda _: host.pull_cable(), "home", "studio")
    assert (code, said[-1].startswith("hive: "), "studio" in said[-1]) == (4, True, True), said[-3:]
    assert (elsewhere(mac.settings), held(mac), mac.json("status")["gateway"]["state"]) == (None, before, "up")
    host.mend_cable()

    code, _ = break_when(mac, "starting Redis and the gateway there", lambda command: command.kill(), "home", "studio")
    mac.run("up")  # it had no time to say or mend anything
    assert (code, elsewhere(mac.settings), held(mac)) == (-signal.SIGKILL, None, before)

    studio.mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(studio.home))
    assert "Free some disk space there." in mac.run("home", "studio", code=1).stderr
    studio.stop()
    studio.start(more="PermitOpen none")
    said = mac.run("home", "studio", code=1, timeout_s=90).stderr
    assert "forwards no connection to Redis there" in said.splitlines()[-1]
    assert (held(mac), elsewhere(mac.settings), states(mac)[waiting]) == (before, None, "queued")
    wait_until(lambda: studio.processes() == [], "nothing of it runs there")

    studio.stop()
    studio.start()
    mac.run("home", "studio", timeout_s=120)
    assert held(mac) == before
    refused = mac.run("up", "--lan", code=1).stderr
    assert "The home of this Hive is studio" in refused
    code, said = break_when(mac, "downloading jobs", lambda _: host.pull_cable(), "home", "--back")
    assert (code, mac.json("home")["host"]) == (4, "studio"), said
    host.mend_cable()
    mac.run("home", "--back", timeout_s=120)  # it goes on from there
    assert (held(mac), mac.json("home")["host"], list(studio.home.iterdir())) == (before, None, [])


@pytest.mark.full
def test_nothing_is_started_here_while_the_home_is_elsewhere_and_it_comes_up_again_there(mac, studio):
    mac.run("access", "add", "early", "--capabilities", "gis")
    with mac.worker():
        assert "w1@test stores files in this home" in mac.run("home", "studio", code=1).stderr
    mac.run("home", "studio", timeout_s=120)
    mac.run("access", "add", "late", "--capabilities", "gis")
    mac.run("access", "remove", "early")
    assert (("late" in mac.redis.acl_users()), "early" in mac.redis.acl_users()) == (True, False)
    [log] = studio.home.glob(".hive-home/*/home/redis/redis.pid")
    os.kill(int(log.read_text()), signal.SIGKILL)
    wait_until(lambda: mac.run("status", code=None).returncode == 0, "it is started again", 30)
    assert ("late" in mac.redis.acl_users(), "early" in mac.redis.acl_users()) == (True, False)
    mac.run("restart")
    assert not (mac.home / "redis" / "redis.pid").exists()
    assert "started again" not in mac.run("home").stdout
    mac.run("home", "--back", "--gone")  # as if the machine were no more
    assert mac.json("home")["host"] is None
    mac.run("up")

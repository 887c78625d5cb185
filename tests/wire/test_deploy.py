"""`hive deploy ssh` to a real sshd on a machine of its own: a network namespace, from which nothing leads here."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from hive.home import tunnels
from tests.faults.harness import Host
from tests.studio import hive_with, machine, without_docker
from tests.support import TILE, is_gone, redis_with_tls, wait_until

pytestmark = pytest.mark.wire


_NUMBERS = count(40)  # the cable of a test may hang on for a moment, until its last process has ended


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


def deploy(mac, *words, **more):
    return mac.json("deploy", "ssh", "studio", *words, timeout_s=180, **more)


def tunnel(mac):
    [found] = tunnels.states(mac.settings)
    return found


def test_a_worker_is_deployed_works_through_its_tunnel_and_is_taken_away_again(mac, studio, tmp_path):
    first = deploy(mac, "--capabilities", "gis=2")
    assert (first["name"], first["is_changed"]) == ("studio", True)
    assert [(one["name"], one["slots"]) for one in first["workers"]] == [("gis@studio", 2)]
    assert first["host"]["system"] == "Linux"
    [private] = studio.home.glob(".hive-worker/*/home/redis.password")
    assert private.stat().st_mode & 0o077 == 0
    job = mac.json("submit", "gis", "dtm", TILE, tmp_path / "dtm.tif", "--cell", "2", timeout_s=120)
    assert (job["worker"], job["measures"]["points"]) == ("gis@studio", 110_000)

    second = deploy(mac)  # nothing is new
    assert (second["is_changed"], second["workers"][0]["pid"]) == (False, first["workers"][0]["pid"])

    held = json.loads((mac.home / "tunnels" / "studio.json").read_text())
    os.kill(held["ssh_pid"], signal.SIGKILL)
    wait_until(lambda: tunnel(mac).drops == 1 and tunnel(mac).state == "up", "the tunnel is back", 15)
    assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"
    assert mac.json("workers")[0]["tunnel"]["state"] == mac.json("deploy", "ls")[0]["tunnel"]["state"] == "up"

    studio.stop()
    wait_until(lambda: tunnel(mac).state == "down", "it is noticed")
    found = {one["check"]: one for one in mac.json("doctor", code=1)}["tunnels"]
    assert (found["state"], "hive deploy ssh studio" in found["todo"]) == ("problem", True)
    studio.start()
    wait_until(lambda: tunnel(mac).state == "up", "it is up again", 20)

    assert deploy(mac, "--capabilities", "gis=1,test")["workers"][0]["slots"] == 1  # the settings are new
    assert mac.json("access", "ls") == [{"name": "studio", "capabilities": ["gis", "test"]}]
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
    assert list(studio.home.iterdir()) == []
    assert studio.processes() == []
    assert is_gone(held["pid"])
    assert "studio" not in mac.redis.acl_users()
    assert mac.json("deploy", "ls") == mac.json("access", "ls") == mac.json("workers") == []
    assert list((mac.home / "tunnels").iterdir()) == list((mac.home / "deployed").iterdir()) == []


@pytest.mark.full
def test_tunnels_end_with_down_and_come_back_with_up_also_after_a_cut_without_goodbye(mac, host):
    deploy(mac)
    stopped = {one["name"] for one in mac.json("down")["stopped"]}
    assert stopped == {"tunnel studio", "gateway", "redis"}
    assert "tunnel studio" in {one["name"] for one in mac.json("up")["services"]}
    wait_until(lambda: tunnel(mac).state == "up", "the tunnel is back")
    host.pull_cable()
    wait_until(lambda: tunnel(mac).state == "down", "silence is noticed", 30)
    host.mend_cable()  # its sshd still holds the ports of the tunnel before
    wait_until(lambda: tunnel(mac).state == "up", "the tunnel is back", 30)
    assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"


def test_a_worker_in_the_same_network_comes_by_itself_with_its_certificate(studio, host, tmp_path):
    path = redis_with_tls(tmp_path / "programs")
    mac = hive_with(studio, tmp_path / "mac", HIVE_DEPLOY_PYTHON=sys.executable, PATH=path)
    try:
        mac.run("up", "--lan", "--address", host.outside)
        assert deploy(mac)["workers"][0]["name"] == "gis@studio"
        config = (studio.home / ".hive-worker" / "studio" / "home" / "config.toml").read_text()
        assert f"rediss://studio@{host.outside}:" in config
        assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"
        assert mac.json("deploy", "ls")[0]["tunnel"] is None
        assert mac.json("workers")[0]["tunnel"] is None
        assert deploy(mac, "--tunnel")["is_changed"] is True  # and back: over TLS, through a tunnel
        assert tunnel(mac).state == "up"
        mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
    finally:
        mac.run("down", code=None)


def refused(mac, *words, code=1):
    said = mac.run("deploy", "ssh", *words, code=code, timeout_s=90).stderr.strip().splitlines()
    return said[-1]


def test_what_stands_against_a_deployment_is_one_clear_sentence_and_leaves_nothing(mac, studio, tmp_path):
    known = studio.folder / "known_hosts"
    right = known.read_text()
    studio.make_key("other")
    known.write_text(" ".join([right.split()[0], *(studio.folder / "other.pub").read_text().split()[:2], "\n"]))
    assert "The host key of studio has changed" in refused(mac, "studio", code=4)
    known.write_text("")
    assert "The host key of studio is unknown here." in refused(mac, "studio", code=4)
    known.write_text(right)
    (studio.folder / "authorized_keys").write_text("")
    assert "studio accepts none of the ssh keys of this machine." in refused(mac, "studio", code=4)
    shutil.copy(studio.folder / "user.pub", studio.folder / "authorized_keys")
    assert "Did you mean 'gis'?" in refused(mac, "studio", "--capabilities", "gsi", code=2)
    assert "is not an ssh host" in refused(mac, "studio;reboot", code=2)
    assert "is not an ssh host" in refused(mac, "--", "-oProxyCommand=reboot", code=2)
    assert "cannot be a worker's name" in refused(mac, "studio", "--name", "../x", code=2)
    assert "cannot be called worker" in refused(mac, "studio", "--name", "worker")
    assert "Open it: hive down, then hive up --lan." in refused(mac, "studio", "--direct", code=2)
    assert "Nothing is deployed as 'studio'." in refused(mac, "studio", "--remove", code=3)
    assert (
        "does not run systemd" in refused(mac, "studio", "--runtime", "systemd") or Path("/run/systemd/system").exists()
    )
    assert "is not Python 3.11 to 3.13" in refused(
        mac, "studio", "--name", "x", "--python", "/bin/false'; touch \"$HOME/owned\"; '"
    )
    mac.run("deploy", "ssh", "studio", "--name", "x", "--remove")
    studio.mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(studio.home))
    assert "Free some disk space there." in refused(mac, "studio")
    studio.mount("-o", "remount,ro", str(studio.home))
    assert "root cannot write to" in refused(mac, "studio")
    studio.stop()
    studio.start(path=without_docker(tmp_path / "programs"))
    studio.mount("-t", "tmpfs", "tmpfs", "/usr/local/bin")
    assert "studio has no Docker." in refused(mac, "studio", "--runtime", "docker")
    studio.stop()
    studio.start(more="AllowTcpForwarding no")
    assert "The sshd of studio refuses to forward a port." in refused(mac, "studio")
    studio.stop()
    assert "studio refuses ssh" in refused(mac, "studio", code=4)
    assert mac.json("deploy", "ls") == mac.json("access", "ls") == []
    assert list(studio.home.iterdir()) == []
    assert not (mac.home / "tunnels").exists() or not list((mac.home / "tunnels").iterdir())


@pytest.mark.full
def test_a_tunnel_that_the_machine_opens_to_its_network_is_closed_again(mac, studio):
    studio.stop()
    studio.start(more="GatewayPorts yes")
    assert "opens the tunnel to its whole network" in refused(mac, "studio")
    assert list((mac.home / "tunnels").iterdir()) == []
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)


@pytest.mark.full
def test_a_deployment_that_breaks_half_way_goes_on_and_one_that_is_away_is_removed_later(mac, studio, host):
    command = mac.command("deploy", "ssh", "studio")
    with subprocess.Popen(command, env=mac.environment, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("copying"):
                host.pull_cable()
    assert (process.returncode, "studio" in said[-1], len(said)) == (4, True, 3), said
    host.mend_cable()
    assert deploy(mac)["workers"][0]["name"] == "gis@studio"
    studio.stop()
    assert "its files and its process are still there" in refused(mac, "studio", "--remove", code=4)
    assert mac.json("access", "ls") == []
    assert mac.json("deploy", "ls")[0]["is_left"] is True
    studio.start()
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
    assert (list(studio.home.iterdir()), studio.processes(), mac.json("deploy", "ls")) == ([], [], [])

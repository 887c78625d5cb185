"""`hive deploy ssh` to a real sshd on a machine of its own: a network namespace, from which nothing leads here."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.harness import Host
from tests.support import TILE, Hive, free_port, missing, wait_until

pytestmark = pytest.mark.wire

SSHD = "/usr/sbin/sshd"
SERVER = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
SetEnv HOME={home} PATH={path}
"""
CLIENT = """\
Host studio
  HostName {address}
  Port {port}
  User root
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


class Studio:
    """Another machine with an sshd: own host key, own port, own home, own list of who may come in."""

    def __init__(self, folder: Path, host: Host) -> None:
        if not Path(SSHD).exists():
            missing("sshd (package openssh-server)")
        self.host, self.folder, self.home = host, folder / "ssh", folder / "home of studio"
        self.folder.mkdir()
        self.home.mkdir()
        self._tools = folder / "tools"
        self._tools.mkdir()
        self.port = free_port()
        for name in ("host", "user"):
            self.make_key(name)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[{host.inside}]:{self.port} {kind} {key}\n")
        (self.folder / "config").write_text(CLIENT.format(address=host.inside, port=self.port, folder=self.folder))
        self._sshd: subprocess.Popen[bytes] | None = None

    def make_key(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def start(self, **more: str) -> None:
        """Start its sshd; `PATH` is what programs are found by there."""
        values = {"home": f'"{self.home}"', "path": os.environ["PATH"]} | more
        text = SERVER.format(port=self.port, address=self.host.inside, folder=self.folder, **values)
        (self.folder / "sshd_config").write_text(text)
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("a") as log:
            self._sshd = subprocess.Popen(
                ["ip", "netns", "exec", self.host.name, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: (self.folder / "sshd.pid").exists(), "sshd listens")

    def stop(self) -> None:
        """End its sshd, with every connection."""
        if self._sshd is not None:
            for process in [*psutil.Process(self._sshd.pid).children(recursive=True)]:
                if "sshd" in process.name():
                    process.kill()
            self._sshd.kill()
            self._sshd.wait()
            (self.folder / "sshd.pid").unlink(missing_ok=True)
            self._sshd = None

    def processes(self) -> list[psutil.Process]:
        """What runs of a deployed worker."""
        own = str(self.home)
        found = []
        for one in psutil.process_iter(["cmdline", "environ"]):
            words = [*(one.info["cmdline"] or ()), *(one.info["environ"] or {}).values()]
            if any(own in word and ".hive-worker" in word for word in words):
                found.append(one)
        return found


@contextmanager
def machine(folder: Path, number: int) -> Iterator[Studio]:
    with Host(number) as host:
        studio = Studio(folder, host)
        try:
            studio.start()
            yield studio
        finally:
            studio.stop()
            for one in studio.processes():
                one.kill()


@pytest.fixture
def studio(tmp_path):
    with machine(tmp_path, 40) as made:
        yield made


@pytest.fixture
def mac(tmp_path, studio):
    """A Mac side with a gateway, whose ssh knows the studio."""
    hive = Hive(
        tmp_path / "mac",
        HIVE_SSH_CONFIG=str(studio.folder / "config"),
        HIVE_DEPLOY_PYTHON=sys.executable,
        HIVE_LEASE_S="5",
    )
    with hive.up(gateway=True):
        yield hive


def deploy(mac, *words, **more):
    return mac.json("deploy", "ssh", "studio", *words, timeout_s=180, **more)


def tunnel(mac):
    return mac.json("deploy", "ls")[0]["tunnel"]


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
    wait_until(lambda: tunnel(mac)["drops"] == 1 and tunnel(mac)["state"] == "up", "the tunnel is back", 15)
    assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"
    assert mac.json("workers")[0]["tunnel"]["state"] == "up"

    studio.stop()
    wait_until(lambda: tunnel(mac)["state"] == "down", "it is noticed")
    found = {one["check"]: one for one in mac.json("doctor", code=1)}["tunnels"]
    assert (found["state"], "hive deploy ssh studio" in found["todo"]) == ("problem", True)
    studio.start()
    wait_until(lambda: tunnel(mac)["state"] == "up", "it is up again", 20)

    keeper = psutil.Process(held["pid"])
    assert deploy(mac, "--capabilities", "gis=1,test")["workers"][0]["slots"] == 1  # the settings are new
    assert mac.json("access", "ls") == [{"name": "studio", "capabilities": ["gis", "test"]}]
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
    assert list(studio.home.iterdir()) == []
    assert studio.processes() == []
    assert not keeper.is_running()
    assert "studio" not in mac.redis.acl_users()
    assert mac.json("deploy", "ls") == mac.json("access", "ls") == mac.json("workers") == []
    assert list((mac.home / "tunnels").iterdir()) == list((mac.home / "deployed").iterdir()) == []


def test_tunnels_end_with_down_and_come_back_with_up_also_after_a_cut_without_goodbye(mac, studio):
    deploy(mac)
    stopped = {one["name"] for one in mac.json("down")["stopped"]}
    assert stopped == {"tunnel studio", "gateway", "redis"}
    assert "tunnel studio" in {one["name"] for one in mac.json("up")["services"]}
    wait_until(lambda: tunnel(mac)["state"] == "up", "the tunnel is back")
    studio.host.pull_cable()
    wait_until(lambda: tunnel(mac)["state"] == "down", "silence is noticed", 30)
    studio.host.mend_cable()  # its sshd still holds the ports of the tunnel before
    wait_until(lambda: tunnel(mac)["state"] == "up", "the tunnel is back", 30)
    assert mac.json("submit", "test", "--queue", "gis", timeout_s=60)["worker"] == "gis@studio"


def refused(mac, *words, code=1):
    said = mac.run("deploy", "ssh", *words, code=code, timeout_s=90).stderr.strip().splitlines()
    return said[-1]


def test_what_stands_against_a_deployment_is_one_clear_sentence_and_leaves_nothing(mac, studio, tmp_path):
    known = studio.folder / "known_hosts"
    right = known.read_text()
    studio.make_key("other")
    known.write_text(" ".join([right.split()[0], *(studio.folder / "other.pub").read_text().split()[:2], "\n"]))
    assert "studio shows another host key than before" in refused(mac, "studio", code=4)
    known.write_text("")
    assert "The host key of studio is not known here." in refused(mac, "studio", code=4)
    known.write_text(right)
    (studio.folder / "authorized_keys").write_text("")
    assert "studio lets nobody in with the keys of this machine." in refused(mac, "studio", code=4)
    shutil.copy(studio.folder / "user.pub", studio.folder / "authorized_keys")
    assert "Did you mean 'gis'?" in refused(mac, "studio", "--capabilities", "gsi", code=2)
    assert "is no host for ssh" in refused(mac, "studio;reboot", code=2)
    assert "cannot be called worker" in refused(mac, "studio", "--name", "worker")
    assert "Open it: hive down, then hive up --lan." in refused(mac, "studio", "--direct", code=2)
    assert "Nothing is deployed as 'studio'." in refused(mac, "studio", "--remove", code=3)
    assert "does not run systemd" in refused(mac, "studio", "--via", "systemd") or Path("/run/systemd/system").exists()
    assert "is no Python 3.11 to 3.13" in refused(mac, "studio", "--name", "x", "--python", "/bin/true")
    mac.run("deploy", "ssh", "studio", "--name", "x", "--remove")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(studio.home)], check=True)
    try:
        assert "Make room there." in refused(mac, "studio")
        subprocess.run(["mount", "-o", "remount,ro", str(studio.home)], check=True)
        assert "root may not write in" in refused(mac, "studio")
    finally:
        subprocess.run(["umount", "-l", str(studio.home)], check=True)
    studio.stop()
    studio.start(path="/usr/bin:/bin" if not Path("/usr/bin/docker").exists() else f'"{tmp_path / "tools"}"')
    assert "studio has no Docker." in refused(mac, "studio", "--via", "docker")
    studio.stop()
    assert "studio refuses ssh" in refused(mac, "studio", code=4)
    assert mac.json("deploy", "ls") == mac.json("access", "ls") == []
    assert list(studio.home.iterdir()) == []
    assert not (mac.home / "tunnels").exists() or not list((mac.home / "tunnels").iterdir())


def test_a_machine_that_is_away_when_it_is_removed_is_out_at_once_and_removed_later(mac, studio):
    deploy(mac)
    studio.stop()
    assert "its files and its process are still there" in refused(mac, "studio", "--remove", code=4)
    assert mac.json("access", "ls") == []
    assert mac.json("deploy", "ls")[0]["is_left"] is True
    studio.start()
    mac.run("deploy", "ssh", "studio", "--remove", timeout_s=90)
    assert (list(studio.home.iterdir()), studio.processes(), mac.json("deploy", "ls")) == ([], [], [])

"""Machines that are reached by ssh: moto in Amazon's place, and a real sshd in a network of its own for the machine."""

import base64
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import count

import psutil
import pytest

from tests.faults.harness import Host
from tests.fleet.clouds import run_script
from tests.studio import machine, run
from tests.support import Hive, is_gone, wait_until

pytestmark = pytest.mark.wire
_NUMBERS = count(70)
TYPE = ["fleet", "up", "aws", "--type", "g4dn.xlarge", "--region", "us-east-1"]
ASK = [*TYPE, "--ssh-from", "10.192.0.0/11", "--yes"]


@pytest.fixture(scope="module")
def mac(tmp_path_factory, line_to_moto):
    """A Mac side that nobody can reach, and that rents from Amazon."""
    hive = Hive(
        tmp_path_factory.mktemp("mac") / "the home",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{line_to_moto.port}",
        AWS_ACCESS_KEY_ID="AKIATEST",
        AWS_SECRET_ACCESS_KEY="a-secret",
        HIVE_DEPLOY_PYTHON=sys.executable,
        HIVE_FLEET_CAPABILITIES="test=1",
        HIVE_FLEET_GC_PAUSE_S="0.5",
        HIVE_FLEET_REPORT_S="60",
        HIVE_LEASE_S="5",
    )
    with hive.up(gateway=True):
        yield hive


class Rented:
    """What the machine does: it runs its script, and its sshd then has the keys that the script has given it."""

    def __init__(self, folder, studio, host, line, stand_ins):
        self.folder, self.studio, self.host, self.line, self.stand_ins = folder, studio, host, line, stand_ins
        self.script = self.ended = self.root = None

    def begin(self, address):
        """As an image begins: at its address, with an sshd whose key nobody knows yet."""
        run("ip", "-n", self.host.name, "address", "add", f"{address}/32", "dev", "lo")
        run("ip", "route", "replace", f"{address}/32", "via", self.host.inside)
        self.studio.stop()
        self.studio.port, self.studio.address = 22, address
        self._start()
        log = self.studio.folder / "log"
        wait_until(lambda: "Connection closed by" in log.read_text(), "Hive does not trust it", 30)

    def install(self):
        """Run the script, and serve ssh with what it has left."""
        self.script = base64.b64decode(self.line.asked("RunInstances")[0].fields["UserData"]).decode()
        self.ended, self.root = run_script(self.folder, self.stand_ins, self.script)
        shutil.copy(self.root / "etc/ssh/ssh_host_ed25519_key", self.studio.folder / "host")
        shutil.copy(self.root / "var/lib/hive/.ssh/authorized_keys", self.studio.folder / "authorized_keys")
        self.studio.stop()
        self._start()

    def _start(self):
        users = self.folder / "passwd"
        users.write_text(
            f"hive:*:0:0::{self.studio.home}:/bin/sh\nroot:*:0:0::{self.studio.home}:/bin/sh\n"
            "sshd:*:65534:65534::/run/sshd:/usr/sbin/nologin\nnobody:*:65534:65534::/:/bin/false\n"
        )
        self.studio.start()
        self.studio.mount("--bind", str(users), "/etc/passwd")


@pytest.fixture
def rented(tmp_path, line, running, stand_ins):
    """The machine, once there is an instance; what goes wrong in it is what the test must hear."""
    with Host(next(_NUMBERS)) as host, machine(tmp_path, host) as studio:
        yield Rented(tmp_path, studio, host, line, stand_ins)


@contextmanager
def at_work(rented, running):
    """The machine lives beside the command that rents it."""
    errors = []

    def live():
        try:
            [instance] = wait_until(running, "there is an instance")
            rented.begin(instance["PublicIpAddress"])
            rented.install()
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    yield
    thread.join()
    assert not errors


def left(mac):
    """What a machine leaves on the Mac side: identity, tunnel, deployment, what ssh was told of it."""
    folders = [mac.home / "tunnels", mac.home / "deployed", *(mac.home / "fleet" / "ssh").glob("*.machine")]
    files = [file.name for folder in folders if folder.exists() for file in folder.iterdir()]
    return mac.json("access", "ls") + files


def test_a_machine_that_cannot_come_here_gets_its_worker_over_ssh(mac, rented, running):
    with at_work(rented, running):
        said = mac.run(*ASK, "--json", timeout_s=180)
    [started] = json.loads(said.stdout)
    name = started["name"]
    assert f"{name}: its worker reports" in said.stderr
    assert (rented.ended.returncode, rented.ended.stderr) == (0, "")
    calls = (rented.folder / "calls").read_text().splitlines()
    assert calls.index("systemctl enable --now hive-expiry.timer") < calls.index("systemctl restart ssh")
    assert "systemctl enable --now hive-unused.timer" in calls
    assert "HIVE_IDENTITY" not in rented.script
    [access] = (mac.home / "access").glob(f"{name}/redis.password")
    assert access.read_text() not in rented.script

    config = (rented.studio.home / ".hive-worker" / name / "home" / "config.toml").read_text()
    assert 'end_command = "sudo /usr/local/sbin/hive-end"' in config
    assert f'expires_at = "{started["expires_at"]}"' in config
    assert (mac.json("fleet", "ls")[0]["state"], mac.json("deploy", "ls")[0]["tunnel"]["state"]) == ("idle", "up")
    assert mac.json("submit", "test", timeout_s=60)["worker"] == f"test@{name}"
    again = mac.json("deploy", "ssh", f"hive@{name}", timeout_s=90)
    assert again["is_changed"] is False

    held = json.loads((mac.home / "tunnels" / f"{name}.json").read_text())
    mac.run("fleet", "down", name)
    assert (running(), left(mac)) == ([], [])
    assert is_gone(held["pid"])
    assert name not in mac.redis.acl_users()
    assert rented.studio.home.exists()


def test_a_machine_that_cannot_take_a_worker_is_ended(mac, rented, running):
    with at_work(rented, running):
        said = mac.run(*ASK, code=1, timeout_s=180, environment={"HIVE_DEPLOY_PYTHON": "/bin/false"}).stderr
    assert "was ended: hive@aws-" in said.splitlines()[-1]
    assert "is not Python 3.11 to 3.13" in said.splitlines()[-1]
    assert (running(), left(mac)) == ([], [])


def knocking(pid):
    """Everything below a process, once ssh is there."""
    found = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):  # each attempt is a new one
        return found if "ssh" in [one.name() for one in found] else []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_nobody_waits_any_more(mac, line, running, number):
    command = mac.command(*ASK, "--count", "2")
    with subprocess.Popen(command, env=mac.environment, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for text in process.stderr:
            said.append(text)
            if "-2: waiting until" in text:
                children = wait_until(lambda: knocking(process.pid), "ssh knocks", 20)
                process.send_signal(number)
    assert (process.returncode, running(), left(mac)) == (130, [], []), said
    assert "ending aws-" in "".join(said)
    assert all(is_gone(one.pid) for one in children)


def test_a_machine_that_never_opens_is_ended(mac, line, running):
    said = mac.run(*ASK, "--count", "2", code=1, environment={"HIVE_FLEET_REPORT_S": "3"}).stderr.splitlines()[-1]
    assert "-1, aws-" in said
    assert "-2 were ended: ssh was not accepted within 3 s" in said
    assert (running(), left(mac)) == ([], [])

"""Another machine for tests: a real sshd with its own keys, home and port, in a network namespace or here."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.faults.harness import Host
from tests.support import Hive, free_port, missing, wait_until

SSHD = "/usr/sbin/sshd"
# What pip needs to find packages.
_CARRIED = (
    "PIP_",
    "SSL_CERT",
    "REQUESTS_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
)
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
{more}
SetEnv HOME={home} PATH={path} {carried}
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


def run(*words: str) -> None:
    subprocess.run(["/usr/bin/env", *words], check=True, stdin=subprocess.DEVNULL)


def without_docker(folder: Path) -> str:
    """A PATH with the programs of the system, and no Docker."""
    folder.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("docker", "podman"):
            (folder / program.name).symlink_to(program)
    return str(folder)


class Studio:
    """A machine with an sshd: own host key, own port, own home, own list of who may come in. No host: this machine."""

    def __init__(self, folder: Path, host: Host | None) -> None:
        if not Path(SSHD).exists():
            missing("sshd (package openssh-server)")
        self.address = host.inside if host else "127.0.0.1"
        self._inside = ["ip", "netns", "exec", host.name] if host else []
        self.folder, self.home = folder / "ssh", folder / "home of studio"
        self.folder.mkdir()
        self.home.mkdir()
        self.port = free_port()
        for name in ("host", "user"):
            self.make_key(name)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[{self.address}]:{self.port} {kind} {key}\n")
        (self.folder / "config").write_text(CLIENT.format(address=self.address, port=self.port, folder=self.folder))
        self._sshd: subprocess.Popen[bytes] | None = None

    def make_key(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))

    def start(self, **more: str) -> None:
        """Start its sshd; `path` is where programs are found there, `more` further lines of its settings."""
        carried = [f'{name}="{value}"' for name, value in os.environ.items() if name.startswith(_CARRIED)]
        given = {"more": "", "home": f'"{self.home}"', "path": os.environ["PATH"], "carried": " ".join(carried)}
        values = given | more
        text = SERVER.format(port=self.port, address=self.address, folder=self.folder, **values)
        (self.folder / "sshd_config").write_text(text)
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("a") as log:
            self._sshd = subprocess.Popen(
                ["/usr/bin/env", *self._inside, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
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

    def mount(self, *words: str) -> None:
        """Mount what only this sshd and its sessions see, until it ends."""
        assert self._sshd is not None
        run("nsenter", "--target", str(self._sshd.pid), "--mount", "mount", *words)

    def processes(self) -> list[psutil.Process]:
        """What runs of a deployed worker or of a home."""
        own = str(self.home)
        found = []
        for one in psutil.process_iter(["cmdline", "environ", "cwd"]):  # Redis writes over its environment
            words = [*(one.info["cmdline"] or ()), *(one.info["environ"] or {}).values(), one.info["cwd"] or ""]
            if any(own in word and (".hive-worker" in word or ".hive-home" in word) for word in words):
                found.append(one)
        return found


@contextmanager
def machine(folder: Path, host: Host | None = None) -> Iterator[Studio]:
    """A machine with a running sshd, until the block ends."""
    studio = Studio(folder, host)
    try:
        studio.start()
        yield studio
    finally:
        studio.stop()
        left = studio.processes()
        for one in left:
            one.kill()
        psutil.wait_procs(left, 10)


def hive_with(studio: Studio, home: Path, **environment: str) -> Hive:
    """A Hive whose ssh knows the machine."""
    return Hive(home, HIVE_SSH_CONFIG=str(studio.folder / "config"), HIVE_LEASE_S="5", **environment)

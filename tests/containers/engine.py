"""What runs the containers of the tests, Docker or podman, and what is put up with it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import BIN, Hive, free_port, missing, wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BASE = "localhost/hive-test-base:1"
_FEW_S, _LONG_S = 60.0, 900.0


def run(
    command: list[str | Path], environment: Mapping[str, str], timeout_s: float = _FEW_S, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        list(map(str, command)),
        env=dict(environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert not check or ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended


@dataclass(frozen=True)
class Engine:
    """A program for containers, its compose, and the variables that both need here."""

    program: str
    compose: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    build_arguments: tuple[str, ...] = ()


def find_engine() -> Engine:
    """Docker, or podman with a base image made here; where there is neither, the test says what is missing."""
    asked = (["docker", "compose", "version"], ["docker", "info"])  # the client alone is no engine
    if shutil.which("docker") and all(run(one, os.environ, check=False).returncode == 0 for one in asked):
        return Engine("docker", ["docker", "compose"])
    if not (BIN / "podman-compose").exists():
        missing("podman-compose")
    prepared = run([HERE / "prepare.sh", BASE], os.environ, _LONG_S, check=False)
    if prepared.returncode != 0:
        missing(f"an engine for containers ({prepared.stderr.strip()})")
    environment = {
        "CONTAINERS_CONF": str(HERE / "containers.conf"),
        "BASE": BASE,
        "MICROMAMBA": BASE,  # holds none: PDAL comes as for a bare Debian
        "REDIS_IMAGE": BASE,
    }
    # A build without a namespace of its own sees this machine's network and needs no further rights.
    arguments = ("--podman-build-args", "--isolation=chroot --network=host")
    return Engine("podman", [str(BIN / "podman-compose")], environment, arguments)


class Deployment:
    """Both compose files, put up under names, ports and secrets of their own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.secrets, self.identity = folder / "secrets", folder / "of the worker"
        self.name = f"hive-test-{os.getpid()}"
        ports = {"HIVE_REDIS_PORT": str(free_port()), "HIVE_GATEWAY_PORT": str(free_port())}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE_", "WORKER_"))}
        kept["PATH"] = f"{BIN}{os.pathsep}{kept['PATH']}"
        self.environment = kept | dict(engine.environment) | ports | {
            "WORKER_CAPABILITIES": "gis=2",
            "WORKER_MEMORY": "2G",
        }  # fmt: skip
        self.run(ROOT / "tools" / "secrets.sh", self.secrets)
        self.client = Hive(self.secrets, **ports)
        self.client.port, self.client.gateway_port = map(int, ports.values())
        made = self.client.json("access", "add", "studio", "--capabilities", "gis", "--container")
        shutil.copytree(made["folder"], self.identity)

    def run(self, *command: str | Path, timeout_s: float = _FEW_S, check: bool = True, **more: str) -> str:
        return run(list(command), self.environment | more, timeout_s, check=check).stdout.strip()

    def ask(self, *words: str, check: bool = True) -> str:
        """Run docker or podman."""
        return self.run(self.engine.program, *words, check=check)

    def compose(self, side: str, *words: str, options: tuple[str, ...] = (), timeout_s: float = 120.0) -> None:
        file = ROOT / f"docker-compose.{side}.yml"
        command = [*self.engine.compose, *options, "-p", f"{self.name}-{side}", "-f", file, *words]
        # A worker gets its own secrets and no others.
        secrets = self.identity if side == "worker" else self.secrets
        self.run(*command, timeout_s=timeout_s, HIVE_SECRETS=str(secrets))

    @contextmanager
    def up(self, side: str, *services: str) -> Iterator[None]:
        """Build and start one of the files; take everything away again, also where something failed."""
        try:
            self.compose(side, "build", *services, options=self.engine.build_arguments, timeout_s=_LONG_S)
            self.compose(side, "up", "-d", "--no-build", *services)
            yield
        finally:
            if containers := self._labelled("ps", "-aq", side=side).split():
                self.ask("rm", "-f", "-v", *containers, check=False)  # at once; what is left, `down` removes
            self.compose(side, "down", "-v")

    def container(self, service: str) -> str:
        """The id of a service's container."""
        side = "worker" if service.startswith("worker") else "mac"
        [found] = self._labelled(
            "ps", "-aq", "--filter", f"label=com.docker.compose.service={service}", side=side
        ).split()
        return found

    def inspect(self, service: str) -> Any:
        return json.loads(self.ask("inspect", self.container(service)))[0]

    def inside(self, service: str, *words: str, check: bool = True) -> str:
        """Run a command in a container."""
        return self.ask("exec", self.container(service), *words, check=check)

    def crash(self, service: str) -> None:
        """Kill everything in a container, as the kernel would where memory ends; not as somebody who stops it."""
        self.inside(service, "sh", "-c", "kill -9 -1", check=False)

    def wait_for_worker(self) -> None:
        wait_until(lambda: self.client.json("workers"), "the worker reports")

    def _labelled(self, *words: str, side: str) -> str:
        return self.ask(*words, "--filter", f"label=com.docker.compose.project={self.name}-{side}")

"""Both compose files in real containers: a job goes round, and nothing is lost when a container stops or dies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.containers.engine import ROOT, Deployment, find_engine
from tests.support import TILE, Hive, Web, wait_until

pytestmark = pytest.mark.wire
SERVICES = ("redis", "gateway", "worker")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Redis, the gateway and a worker for gis, each in a container."""
    deployment = Deployment(find_engine(), tmp_path_factory.mktemp("deployment"))
    with deployment.up("mac"), deployment.up("worker", "worker"):
        deployment.wait_for_worker()
        yield deployment


@pytest.fixture
def client(deployment: Deployment) -> Hive:
    """`hive` on this machine, outside of the containers."""
    return deployment.client


def declared(service: str) -> dict[str, Any]:
    """What the compose file says of a service."""
    side = "worker" if service == "worker" else "mac"
    return dict(yaml.safe_load((ROOT / f"docker-compose.{side}.yml").read_text())["services"][service])


def healthcheck(service: str) -> list[str]:
    """The words of a service's healthcheck, as compose hands them to the container."""
    return [word.replace("$$", "$") for word in declared(service)["healthcheck"]["test"][1:]]


def start_writing(client: Hive, folder: Path, seconds: float = 6) -> str:
    """Submit a job that works, then sends a file back through the gateway; returns its id."""
    options = ["--queue", "gis", "--seconds", str(seconds), "--output-bytes", "1MB"]
    return client.submit("test", folder / "written.bin", *options)


def state(client: Hive, job_id: str) -> str:
    return str(client.json("show", job_id)["state"])


def test_a_tile_becomes_a_terrain_model_on_a_worker_in_a_container(client, tmp_path):
    ended = client.run("submit", "gis", "dtm", TILE, tmp_path / "dtm.tif", "--cell", "1", "--json")
    assert '"points": 110000' in ended.stdout
    assert (tmp_path / "dtm.tif").read_bytes()[:4] in (b"II*\0", b"II+\0")  # TIFF 6.0 and BigTIFF, little-endian
    assert (tmp_path / "dtm.png").stat().st_size > 0


def test_the_ports_refuse_whoever_has_no_secret(deployment, client):
    assert Web(client).ask("GET", "/workers", token="wrong").status == 401
    assert Web(client).ask("GET", "/workers").status == 200
    with pytest.raises(redis.AuthenticationError):
        redis.Redis("127.0.0.1", client.settings.redis_port).ping()
    for service in ("redis", "gateway"):
        ports = deployment.inspect(service)["HostConfig"]["PortBindings"].values()
        assert [one["HostIp"] for published in ports for one in published] == ["127.0.0.1"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_rights_and_shows_no_secret(deployment, service):
    status = dict(line.split(":\t") for line in deployment.inside(service, "cat", "/proc/1/status").splitlines())
    assert int(status["Uid"].split()[0]) >= 999
    assert (int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, "1")
    deployment.inside(service, "touch", "/tmp/written")  # noqa: S108  the container's own
    assert deployment.inside(service, "sh", "-c", "touch /written || echo refused").endswith("refused")
    container = deployment.container(service)
    shown = deployment.ask("inspect", container) + deployment.ask("logs", container)
    words = deployment.inside(service, "sh", "-c", "cat /proc/[0-9]*/cmdline").replace("\0", " ")
    for secret in deployment.secrets.rglob("*.*"):
        assert secret.read_text() not in shown + words


@pytest.mark.parametrize("service", SERVICES)
def test_the_limits_of_the_files_reach_the_engine(deployment, service):
    # What the engine was told. That the kernel holds to it is not tested: not every machine of the tests lets it.
    limits = deployment.inspect(service)["HostConfig"]
    assert 0 < limits["Memory"] <= 2 << 30
    assert 0 < limits["NanoCpus"] <= 2e9
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_the_healthcheck_passes(deployment, service):
    deployment.inside(service, *healthcheck(service))


@pytest.mark.parametrize(("service", "ill"), [("gateway", "HIVE_TOKEN_FILE=/dev/null"), ("worker", "HOSTNAME=nobody")])
def test_the_healthcheck_tells_an_ill_container(deployment, service, ill):
    # A gateway that refuses its own token, a worker that does not report.
    with pytest.raises(AssertionError, match=r"\]: 1\n"):
        deployment.inside(service, "env", ill, *healthcheck(service))


def test_a_stopped_worker_gives_its_job_back_at_once(deployment, client):
    job_id = client.submit("test", "--queue", "gis", "--seconds", "8", "--save")
    wait_until(lambda: (client.json("show", job_id)["progress"] or {"done": 0})["done"] >= 1, "it has worked for 1 s")
    grace_s = declared("worker")["stop_grace_period"].removesuffix("s")
    deployment.ask("stop", "-t", grace_s, deployment.container("worker"))
    assert state(client, job_id) == "queued"
    assert deployment.inspect("worker")["State"]["ExitCode"] == 0
    deployment.ask("start", deployment.container("worker"))
    client.wait(job_id, code=0)
    story = client.json("show", job_id)["story"]
    # "stopped" is what does not count as a failed attempt.
    assert [entry["event"] for entry in story] == ["submitted", "started", "stopped", "started", "succeeded"]
    deployment.wait_for_worker()


@pytest.mark.parametrize(("service", "attempts"), [("redis", 1), ("gateway", 1), ("worker", 2)])
def test_a_killed_container_comes_back_and_nothing_is_lost(deployment, client, tmp_path, service, attempts):
    jobs = [start_writing(client, tmp_path) for _ in range(3)]  # two run, one waits
    wait_until(lambda: state(client, jobs[1]) == "running", "two jobs run")
    before = deployment.inspect(service)["State"]["StartedAt"]
    deployment.crash(service)
    wait_until(lambda: deployment.inspect(service)["State"]["StartedAt"] > before, f"{service} is started again")
    ended = [client.wait(job_id, code=0) for job_id in jobs]
    assert [job["state"] for job in ended] == ["succeeded"] * 3
    assert [job["attempts"] for job in ended[:2]] == [attempts] * 2
    for job_id in jobs:
        (tmp_path / job_id).mkdir()
        client.run("fetch", job_id, tmp_path / job_id)
        [file] = (tmp_path / job_id).iterdir()
        assert file.stat().st_size == 1_000_000

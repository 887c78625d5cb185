"""Both compose files in real containers: a job goes round, and nothing is lost when a container stops or dies."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from hive.settings import load_settings
from hive.store.connection import connect
from tests.containers.engine import ROOT, Deployment, find_engine, run
from tests.patience import patient
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


def ask_for_files(client: Hive, token: str) -> int:
    return Web(client).ask("POST", "/blob/missing", b'{"digests": []}', token=token).status


def answer_in_words(connection: socket.socket) -> bytes:
    """What comes back, without TLS's own alert, which says in its protocol that this is none."""
    try:
        answer = connection.recv(1000)
    except ConnectionError:
        return b""
    return b"" if answer[:1] == b"\x15" else answer


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
        connect(dataclasses.replace(client.settings, broker_url=f"rediss://127.0.0.1:{client.port}")).ping()
    for service in ("redis", "gateway"):
        ports = deployment.inspect(service)["HostConfig"]["PortBindings"].values()
        assert [one["HostIp"] for published in ports for one in published] == ["127.0.0.1"]


def test_the_ports_speak_tls_only_and_redis_to_machines_with_a_certificate_only(client):
    for port in (client.port, client.gateway_port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\nPING\r\n")
            assert answer_in_words(plain) == b""
    stranger = dataclasses.replace(client.settings, cert_file=None, key_file=None)
    with pytest.raises(redis.ConnectionError):
        connect(stranger).ping()
    trusting_others = dataclasses.replace(client.settings, ca_file=None)
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        connect(trusting_others).ping()


def test_an_identity_is_let_in_and_revoked_while_the_containers_run(deployment, client, tmp_path):
    folder = tmp_path / "lab"
    client.run("access", "add", "lab", "--capabilities", "gis", "--out", folder)
    lab = load_settings({"home": folder}, {})
    broker = connect(lab)
    assert broker.ping()
    assert ask_for_files(client, lab.token) == 200
    assert deployment.inside("redis", "grep", "-c", "^user lab ", "/etc/hive/redis.conf") == "1"
    assert client.run("access", "remove", "lab").stderr == ""
    assert {one["user"] for one in client.redis.client_list()} >= {"studio"}
    with pytest.raises(redis.AuthenticationError):
        broker.ping()
    assert ask_for_files(client, lab.token) == 401
    assert "lab" not in deployment.inside("redis", "cat", "/etc/hive/redis.conf")
    assert [one["name"] for one in client.json("access", "ls")] == ["studio"]


def test_status_and_doctor_find_the_containers_well_here_and_inside(deployment, client):
    for status in (client.json("status"), json.loads(deployment.inside("gateway", "hive", "status", "--json"))):
        assert (status["broker"]["state"], status["gateway"]["state"], status["workers"]) == ("up", "up", 1)
    found = client.json("doctor")
    assert not [one for one in found if one["state"] == "problem"], found
    assert "speak TLS only" in next(one["message"] for one in found if one["check"] == "ports")


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
    for kind in ("password", "token", "key"):
        for secret in deployment.secrets.rglob(f"*.{kind}"):
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


@pytest.mark.parametrize(
    ("service", "attempts"),
    [
        pytest.param("redis", 1, marks=pytest.mark.full),
        pytest.param("gateway", 1, marks=pytest.mark.full),
        ("worker", 2),
    ],
)
def test_a_killed_container_comes_back_and_nothing_is_lost(deployment, client, tmp_path, service, attempts):
    jobs = [start_writing(client, tmp_path, patient(8)) for _ in range(3)]  # two run, one waits
    wait_until(lambda: [state(client, job_id) for job_id in jobs[:2]] == ["running"] * 2, "two jobs run")
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


def test_a_revoked_worker_in_a_container_is_out_at_once(deployment, client):
    client.run("access", "remove", "studio")
    assert "studio" not in {one["user"] for one in client.redis.client_list()}
    job_id = client.submit("test", "--queue", "gis")
    wait_until(lambda: "refuses" in log(deployment) or "invalid username" in log(deployment), "it is told why")
    assert state(client, job_id) == "queued"


def log(deployment: Deployment) -> str:
    ended = run([deployment.engine.program, "logs", deployment.container("worker")], deployment.environment)
    return ended.stdout + ended.stderr

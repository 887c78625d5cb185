"""Amazon as moto knows it, behind a line that is looked into."""

import gc
import json
import os
import subprocess
import warnings

import pytest

from hive.cli import main
from tests.fleet.clouds import Answer, RentedMachines, forget_machines, line_to, open_hive
from tests.support import end_tree, free_port, require_program, wait_until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9ZgFrQ0Q3c0m0yT2m2vQm1zq0pVbH0mY1n2k3Q9sTt you@mac"


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [require_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
            env=os.environ | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
            start_new_session=True,
        )
    import socket

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(lambda: process.poll() is not None or answers(), "moto answers", 60)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        end_tree(process)


@pytest.fixture(scope="session")
def line_to_moto(moto):
    with line_to(moto) as found:
        yield found


@pytest.fixture
def line(line_to_moto):
    """A line to an Amazon in which nothing has happened yet."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", line_to_moto.behind, timeout=60)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.close()
    line_to_moto.forget()
    line_to_moto.answers.append(_public_image)
    return line_to_moto


IMAGE = "ami-12c6146b"  # one that moto has


def _public_image(request):
    """The public parameters of Amazon and Canonical, which moto does not have."""
    if request.action != "GetParameter":
        return None
    body = {"Parameter": {"Name": request.json["Name"], "Type": "String", "Value": IMAGE, "Version": 1}}
    return Answer(200, json.dumps(body).encode(), "application/x-amz-json-1.1")


STAND_INS = ("systemctl", "useradd", "chown", "iptables", "apt-get", "curl", "python3", "shutdown")


@pytest.fixture
def stand_ins(tmp_path):
    """Programs that note how they were called; `curl` and `apt-get` fail where FAILS names them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in STAND_INS:
        text = f'#!/bin/bash\necho {name} "$@" >>"{tmp_path}/calls"\n[[ " $FAILS " != *" {name} "* ]] || exit 7\n'
        if name == "python3":  # makes an environment whose Python installs nothing
            text += '[[ $2 != venv ]] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "id.pub"
    file.write_text(KEY + "\n")
    return file


@pytest.fixture(scope="session")
def renter(tmp_path_factory, line_to_moto):
    """A Hive that is open to the network and rents from this Amazon."""
    with open_hive(
        tmp_path_factory.mktemp("renter"),
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{line_to_moto.port}",
        AWS_ACCESS_KEY_ID="AKIATEST",
        AWS_SECRET_ACCESS_KEY="a-secret",
        AWS_EC2_METADATA_DISABLED="true",
        HIVE_FLEET_PACKAGE_URL="https://example.org/hive_compute-0.1-py3-none-any.whl",
        HIVE_FLEET_CAPABILITIES="test=1",
        HIVE_FLEET_GC_PAUSE_S="0.5",
        HIVE_FLEET_REPORT_S="40",
        HIVE_LEASE_S="3",
    ) as hive:
        yield hive


@pytest.fixture
def rented(renter, line):
    """It has rented nothing yet."""
    forget_machines(renter)
    return renter


class Inside:
    """Runs `hive` in this process, which spares a second for each call."""

    def __init__(self, monkeypatch, capsys):
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def json(self, hive, *arguments):
        return json.loads(self(hive, *arguments, "--json").out)

    def __call__(self, hive, *arguments, code=0, **environment):
        given = hive.environment | environment
        for name in [name for name in os.environ if name.startswith("HIVE_") and name not in given]:
            self._monkeypatch.delenv(name)  # what another test has left in this process is not of this laptop
        for name, value in given.items():
            self._monkeypatch.setenv(name, value)
        self._capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # connections that a process' end would close
            try:
                main([str(word) for word in arguments])
            except SystemExit as ended:
                found = ended.code
            gc.collect()
        said = self._capsys.readouterr()
        assert found == code, said.err
        return said


@pytest.fixture
def inside(monkeypatch, capsys):
    return Inside(monkeypatch, capsys)


@pytest.fixture
def refused(inside):
    """What `hive` says on stderr."""
    return lambda *arguments, code, **environment: inside(*arguments, code=code, **environment).err


@pytest.fixture
def machines(rented, tmp_path):
    with RentedMachines(rented, tmp_path) as found:
        yield found


@pytest.fixture
def ask_for(key):
    """Words of `hive fleet up aws` that all tests share."""
    return [
        "fleet", "up", "aws", "--type", "g4dn.xlarge", "--region", "us-east-1",
        "--ssh-key", str(key), "--ssh-from", "192.0.2.7/32", "--yes",
    ]  # fmt: skip


@pytest.fixture
def running(moto):
    """The instances that cost money, as Amazon's own client counts them."""
    import boto3

    client = boto3.client(
        "ec2", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{moto}", aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip

    def look():
        found = [one for group in client.describe_instances()["Reservations"] for one in group["Instances"]]
        return [one for one in found if one["State"]["Name"] not in ("terminated", "shutting-down")]

    look.client = client
    return look

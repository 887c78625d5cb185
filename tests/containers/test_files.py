"""What the compose files say, read without an engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hive.settings import Settings
from tests.containers.engine import ROOT
from tests.support import BIN, missing

FILES = {side: ROOT / f"docker-compose.{side}.yml" for side in ("mac", "worker")}
SERVICES = [("mac", "redis"), ("mac", "gateway"), ("worker", "worker"), ("worker", "worker-gpu")]
# dclint knows the compose schema; these are its rules of style that are not those of this project.
_OTHER_STYLE = (
    "no-build-and-image",  # the image gets a name that people recognise
    "service-image-require-explicit-tag",  # of an image that is built here
    "no-quotes-in-volumes",
    "no-unbound-port-interfaces",  # it reads no variable: test_a_service_is_closed_and_comes_back does
    "require-quotes-in-ports",  # they are quoted; variables in them confuse the rule
    "service-keys-order",
    "services-alphabetical-order",
    "top-level-properties-order",
)
_UNITS = {"M": 1 << 20, "G": 1 << 30}


def service(side: str, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(FILES[side].read_text())["services"][name])


def default(text: str) -> str:
    """A value as it is where no variable is set: `${WORKER_CPUS:-2.0}` is `2.0`."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def lint(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    npx = shutil.which("npx")
    if npx is None:
        missing("npx, which comes with Node.js")
    rules = folder / "rules.json"
    rules.write_text(json.dumps({"rules": dict.fromkeys(_OTHER_STYLE, 0)}))
    command = [str(npx), "--yes", "dclint@3.1.0", "--config", str(rules), str(file)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("side", FILES)
def test_a_compose_file_keeps_to_the_schema_of_compose(side, tmp_path):
    found = lint(FILES[side], tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_misspelt_key_does_not_pass_the_schema(tmp_path):
    file = tmp_path / "docker-compose.yml"
    file.write_text(FILES["mac"].read_text().replace("    ports:", "    prots:"))
    found = lint(file, tmp_path)
    assert (found.returncode, "must NOT have additional properties" in found.stdout) == (1, True)


@pytest.mark.parametrize(("side", "name"), SERVICES)
def test_a_service_is_closed_and_comes_back(side, name):
    found = service(side, name)
    assert found["restart"] == "unless-stopped"
    assert found["read_only"] is True
    assert (found["cap_drop"], found["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert found["healthcheck"]["test"][0] == "CMD"
    assert all(default(port).startswith("127.0.0.1:") for port in found.get("ports", []))
    assert "privileged" not in found


def test_the_mac_side_has_two_cores_and_one_gigabyte_in_all():
    limits = [service("mac", name)["deploy"]["resources"]["limits"] for name in ("redis", "gateway")]
    assert sum(float(one["cpus"]) for one in limits) <= 2
    assert sum(int(one["memory"][:-1]) * _UNITS[one["memory"][-1]] for one in limits) <= 1 << 30


def test_the_redis_of_the_containers_has_the_fix_for_running_code_from_lua():
    version = default(service("mac", "redis")["image"]).removeprefix("redis:")
    assert tuple(map(int, version.split("."))) >= (8, 2, 2)  # CVE-2025-49844


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_a_worker_has_longer_to_stop_than_its_jobs_have(name):
    found = service("worker", name)
    grace_s = float(found["environment"]["HIVE_GRACE_S"])
    assert grace_s == Settings.grace_s
    assert float(found["stop_grace_period"].removesuffix("s")) >= grace_s + 10


def test_gpus_are_reserved_in_a_profile_of_their_own():
    found = service("worker", "worker-gpu")
    [device] = found["deploy"]["resources"]["reservations"]["devices"]
    assert (found["profiles"], device["capabilities"]) == (["gpu"], ["gpu"])
    assert "profiles" not in service("worker", "worker")


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_three_lines_of_the_worker_file_say_what_is_different_on_each_machine(name):
    text = FILES["worker"].read_text()
    for old, new in (
        ("mac:${HIVE_MAC:-127.0.0.1}", "mac:10.0.0.7"),
        ("${WORKER_CAPABILITIES:-gis}", "training=1"),
        ("${MAX_CONCURRENT_TASKS:-2}", "5"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    found = yaml.safe_load(text)["services"][name]
    assert found["extra_hosts"] == ["mac:10.0.0.7"]
    assert found["build"]["args"]["WORKER_CAPABILITIES"] == "training=1"
    assert found["environment"]["WORKER_CAPABILITIES"] == "training=1"
    assert found["environment"]["MAX_CONCURRENT_TASKS"] == "5"


def test_secrets_are_made_once_and_only_their_owner_gets_to_them(tmp_path):
    script = [str(ROOT / "tools" / "secrets.sh"), str(tmp_path / "secrets")]
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    made = [subprocess.run(script, env=os.environ | path, capture_output=True, text=True, check=True) for _ in range(2)]
    assert made[0].stdout == made[1].stdout
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    folder = tmp_path / "secrets"
    assert made[0].stdout == f"export HIVE_HOME={folder}\n"
    given = folder / "containers"
    own = {file.name: file for file in folder.rglob("*.*") if given not in file.parents and file.is_file()}
    assert {file.stat().st_mode & 0o777 for file in own.values()} == {0o600}
    # The containers' users are others: they may read what is for them, and none gets what is for another one.
    assert {file.stat().st_mode & 0o777 for file in given.rglob("*.*") if file.is_file()} == {0o444}
    secret = {
        str(file.relative_to(given)) for file in given.rglob("*") if file.suffix in (".password", ".token", ".key")
    }
    of_gateway = {f"gateway/access/gateway.{kind}" for kind in ("password", "token", "key")}
    assert secret == {"redis/submitter.password", *of_gateway}
    assert not any(file.read_text() in made[0].stdout + made[0].stderr for file in own.values())


def test_a_home_of_containers_is_not_started_otherwise(hive):
    hive.run("access", "containers")
    before = (hive.home / "tls" / "opened.json").read_text()
    for words in (["up"], ["up", "--lan"], ["restart"]):
        assert "runs in containers: docker compose -f docker-compose.mac.yml up -d." in hive.run(*words, code=1).stderr
    assert "Start it: docker compose" in hive.run("status", code=None).stderr
    assert (hive.home / "tls" / "opened.json").read_text() == before


def test_a_home_of_hive_up_is_not_made_one_of_containers(hive):
    (hive.home / "redis").mkdir(parents=True)
    assert "Name another: HIVE_HOME." in hive.run("access", "containers", code=1).stderr
    assert not (hive.home / "containers").exists()


def test_an_identity_of_a_closed_mac_side_fits_the_file_of_a_worker_too(hive):
    folder = Path(hive.json("access", "add", "studio", "--capabilities", "gis", "--container")["folder"])
    text = FILES["worker"].read_text()
    assert sorted(yaml.safe_load(text)["secrets"]) == sorted(file.name for file in folder.iterdir())
    assert {file.stat().st_mode & 0o777 for file in (folder, *folder.iterdir())} == {0o700, 0o444}
    config = (folder / "config.toml").read_text()
    assert f'broker_url = "redis://studio@mac:{hive.port}/0"' in config
    assert "ca_file" not in config

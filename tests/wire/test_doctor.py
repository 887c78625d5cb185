"""`hive doctor`: finds what is wrong with a real Redis, gateway and workers, and says how to mend it."""

import json
import os
import subprocess
import time

import pytest

from hive.home.doctor import CHECKS
from hive.home.redis_server import find_redis_server
from hive.settings import write_private
from hive.store import Registry
from tests.support import Hive, free_port, wait_until
from tests.wire.test_presence import report

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    """A Hive with a gateway and a worker; leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("well"))
    with hive.up(gateway=True), hive.worker("gis", slots=1):
        yield hive


def found(hive, check, code=None, **environment):
    """What the doctor says of one thing: state, message and remedy of each finding."""
    said = hive.run("doctor", "--json", code=code, environment=environment).stdout
    return [(one["state"], one["message"], one["todo"]) for one in json.loads(said) if one["check"] == check]


def worst(hive, check, code=None, **environment):
    ranks = ("ok", "warning", "problem")
    return max(found(hive, check, code, **environment), key=lambda one: ranks.index(one[0]))


def test_where_all_is_well_the_doctor_has_nothing_to_mend(well):
    findings = well.json("doctor")
    assert {one["check"] for one in findings} == {check.name for check in CHECKS}
    # The machine that runs the tests may be short of disk, and its Redis of a distribution.
    rest = [one for one in findings if one["check"] not in ("disk", "redis version")]
    assert {one["state"] for one in rest} == {"ok"}, rest
    assert all(one["todo"] == "" for one in rest)


def test_the_doctor_speaks_to_people_in_aligned_lines(well):
    ended = well.run("doctor")
    assert f"ok       redis          Redis answers at 127.0.0.1:{well.port}." in ended.stdout
    assert "0 problem" in ended.stderr
    assert "\x1b" not in ended.stdout


def test_without_redis_the_doctor_says_so_and_still_looks_at_the_rest(hive):
    state, message, todo = worst(hive, "redis", code=1)
    assert state == "problem"
    assert message == f"The broker at 127.0.0.1:{hive.port} does not answer."
    assert todo.startswith("Start it: hive up.")
    assert found(hive, "packages")[0][0] == "ok"
    assert found(hive, "clocks") == []


def test_a_wrong_token_and_a_gateway_that_is_away_are_told_apart(well):
    assert "refuses the token from environment HIVE_TOKEN" in worst(well, "gateway", 1, HIVE_TOKEN="wrong")[1]
    away = worst(well, "gateway", 1, HIVE_GATEWAY_URL="http://127.0.0.1:9")
    assert "does not answer" in away[1]
    assert "hive up" in away[2]


def test_a_secret_that_others_may_read_is_a_problem(hive_up):
    assert worst(hive_up, "secrets")[0] == "ok"
    (hive_up.home / "redis.password").chmod(0o644)
    state, message, todo = worst(hive_up, "secrets", code=1)
    assert state == "problem"
    assert f"{hive_up.home}/redis.password holds a secret and others may read it (mode 0644, not 0600)." in message
    assert "chmod 600" in todo
    (hive_up.home / "redis.password").chmod(0o600)
    hive_up.home.chmod(0o755)
    assert worst(hive_up, "secrets") == (
        "warning",
        f"Others may look into {hive_up.home}.",
        f"chmod 700 {hive_up.home}",
    )


def test_a_gateway_that_listens_to_other_machines_is_a_problem(hive):
    hive.environment["HIVE_GATEWAY_HOST"] = "0.0.0.0"  # noqa: S104  that is the fault
    assert "a gateway started now is open to others" in worst(hive, "ports")[1]
    with hive.up(gateway=True):
        state, message, _ = worst(hive, "ports", code=1)
        assert state == "problem"
        assert f"listens at 0.0.0.0 port {hive.gateway_port} without encryption" in message


@pytest.fixture
def careless(tmp_path):
    """A Redis as nobody should run it: no password, no file, and it throws jobs away."""
    port = free_port()
    command = [find_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(
        [*command, "--maxmemory-policy", "allkeys-lru"], stdout=subprocess.DEVNULL, cwd=tmp_path
    ) as one:
        hive = Hive(tmp_path / "home", HIVE_BROKER_URL=f"redis://127.0.0.1:{port}/0")
        wait_until(lambda: hive.run("jobs", code=None).returncode == 0, "it answers")
        yield hive
        one.terminate()


def test_a_redis_without_password_file_and_mercy_has_three_problems(careless):
    assert "answers to everybody" in worst(careless, "password", code=1)[1]
    assert "a restart would lose jobs" in worst(careless, "redis disk")[1]
    assert "throws jobs away when its memory is full (allkeys-lru)" in worst(careless, "redis memory")[1]


def test_jobs_that_no_worker_serves_are_a_problem(hive_up):
    assert worst(hive_up, "queues")[:2] == ("warning", "No worker is there.")
    hive_up.submit("test", "--queue", "gis")
    state, message, todo = worst(hive_up, "queues", code=1)
    assert state == "problem"
    assert message.startswith("1 job waits in gis, for up to")
    assert "hive worker --capabilities gis=2" in todo


def test_a_worker_with_other_settings_and_code_is_told_from_one_that_fits(well, tmp_path):
    assert worst(well, "workers") == ("ok", "1 worker with the settings, versions and code of this machine.", "")
    said = [
        one[1] for one in found(well, "workers", 1, HIVE_LEASE_S="30", HIVE_STORE="s3://tiles", HIVE_MAX_ATTEMPTS="5")
    ]
    assert "w1@test has a lease of 15 s (its broker option: 15 s), this machine one of 30 s" in said[0]
    assert "allows 3 attempts, this machine 5." in said[1]
    assert "keeps files in another store (folder) than this machine (s3://tiles)." in said[2]


def test_workers_of_other_versions_other_code_or_another_time_are_warned_of(hive_up):
    registry = Registry(hive_up.redis)
    with hive_up.worker("run", slots=1):
        [worker] = registry.workers()
        assert "w1@test serves run, and refuses every script." in worst(hive_up, "workers")[1]
    versions = worker["terms"]["versions"] | {"hive": "0.0.1"}
    terms = worker["terms"] | {"versions": versions, "code": {"gis": "0" * 12}}
    registry.report(report(terms=terms, clock_s=time.time() - 60))
    said = " ".join(one[1] for one in found(hive_up, "workers"))
    assert "gis@studio has hive 0.0.1; this machine has" in said
    assert "gis@studio runs other code of gis than this machine has." in said
    state, message, todo = worst(hive_up, "clocks")
    assert state == "warning"
    assert "The clock of gis@studio is 60.0 s behind that of Redis" in message
    assert "timedatectl set-ntp true" in todo


def test_a_worker_of_an_older_hive_is_no_obstacle(hive_up):
    older = '{"name": "gis@old", "host": "old", "capabilities": ["gis"], "slots": 1, "busy": 0}'
    hive_up.redis.set("hive:worker:gis@old", older, ex=60)
    hive_up.redis.zadd("hive:workers", {"gis@old": time.time()})
    assert "gis@old is of an older Hive" in worst(hive_up, "workers")[1]


def test_a_disk_that_is_nearly_full_is_warned_of(monkeypatch, hive):
    from hive.client import Session
    from hive.home.doctor import machine
    from hive.home.doctor.finding import Patient

    monkeypatch.setattr(machine, "_LEAST_BYTES", 10**18)
    monkeypatch.setattr(machine, "_LEAST_SHARE", 1.0)
    [(verdict, message, todo)] = machine.free_space(Patient(Session(hive.settings)))
    assert verdict == "warning"
    assert "(Redis, cache, store)" in message
    assert "HIVE_CACHE_MAX_BYTES" in todo


def test_a_config_with_a_password_belongs_to_the_secrets(hive):
    write_private(hive.home / "config.toml", 'broker_url = "redis://:secret@127.0.0.1:6379/0"\n')
    os.chmod(hive.home / "config.toml", 0o640)  # noqa: PTH101  as a shell does
    assert "config.toml holds a secret" in worst(hive, "secrets", code=1)[1]

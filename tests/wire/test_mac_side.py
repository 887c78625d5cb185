"""The Mac side as its owner sees it: what it costs, where it answers, what it logs."""

import psutil
import pytest

from tests.support import Hive, Web

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Mac side with a gateway and no worker; shared, so leave it as it was."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(gateway=True):
        yield hive


def pid_of(hive, name):
    return int((hive.home / name / f"{name}.pid").read_text())


def test_status_says_what_each_process_costs_beside_the_budget(mac):
    cost = mac.json("status")["orchestrator"]
    assert [one["name"] for one in cost["processes"]] == ["redis", "gateway"]
    assert cost["memory_bytes"] == sum(one["memory_bytes"] for one in cost["processes"])
    assert cost["budget"] == {"cpu_percent": 0.2, "memory_bytes": 110_000_000}
    gateway = psutil.Process(pid_of(mac, "gateway"))
    used = gateway.cpu_times()
    since_start = cost["processes"][1]["cpu_percent_since_start"] / 100 * cost["processes"][1]["age_s"]
    assert since_start == pytest.approx(used.user + used.system, abs=0.5)  # it has answered something meanwhile


def test_status_is_a_table_for_people(mac):
    shown = mac.run("status").stdout
    assert f"http://127.0.0.1:{mac.gateway_port} (up)" in shown
    assert [line.split()[0] for line in shown.splitlines()[-5:]] == ["MAC", "redis", "gateway", "together", "budget,"]
    assert "0.20 %           110 MB" in shown


def test_a_gateway_that_is_no_process_of_this_machine_is_asked_whether_it_is_there(mac):
    elsewhere = {"HIVE_HOME": str(mac.home / "elsewhere"), "HIVE_BROKER_URL": mac.settings.broker_url}
    status = mac.json("status", environment=elsewhere | {"HIVE_TOKEN": mac.settings.token})
    assert status["gateway"]["state"] == "up"
    [redis] = status["orchestrator"]["processes"]  # it says itself what it uses
    assert redis["memory_bytes"] > 1 << 20
    wrong = mac.json("status", environment=elsewhere | {"HIVE_TOKEN": "wrong"})
    assert wrong["gateway"]["state"] == "refuses the token"
    nowhere = mac.json("status", environment=elsewhere | {"HIVE_GATEWAY_URL": "http://127.0.0.1:9"})
    assert nowhere["gateway"]["state"] == "down"


def test_the_gateway_says_the_same_of_itself(mac):
    status = Web(mac).ask("GET", "/status").json()
    assert status["gateway"]["state"] == "up"
    assert [one["name"] for one in status["orchestrator"]["processes"]] == ["redis", "gateway"]

"""The HTTP API does what its own description says, whatever it is sent."""

import subprocess

import pytest

from tests.support import Web, require_program

pytestmark = pytest.mark.wire


def test_the_api_keeps_to_its_description(hive, tmp_path):
    with hive.up(gateway=True), hive.worker("test"):
        web = Web(hive)
        ended = subprocess.run(
            [
                require_program("st"), "run", f"http://127.0.0.1:{web.port}/openapi.json",
                "--header", f"Authorization: Bearer {web.token}", "--max-examples", "10", "--seed", "1",
                "--request-timeout", "20", "--no-color",
                # An endless answer; its test is in test_events.py.
                "--exclude-path", "/events",
                # Which parameters are right depends on the task, and which files on what is in the store.
                # Beyond ten wrong tokens in a minute the answer is 429; test_gateway.py tries paths without a token.
                "--exclude-checks", "positive_data_acceptance,ignored_auth",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-8000:]
        assert "Tested: 20" in ended.stdout
        log = (hive.home / "gateway" / "gateway.log").read_text()
        assert "Traceback" not in log, log[-4000:]


def test_the_description_names_every_task_and_asks_for_the_token(hive):
    with hive.up(gateway=True):
        described = Web(hive).ask("GET", "/openapi.json").json()
    sent = described["paths"]["/task"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"gis.dtm", "test.probe"} <= set(sent["properties"]["type"]["examples"])
    assert described["security"] == [{"token": []}]
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"

"""`hive api`: each `curl` of the quick reference as one command, and what scripts need of it."""

import hashlib
import json

import pytest

from tests.support import Web

pytestmark = pytest.mark.wire


def test_each_call_of_the_quick_reference_is_one_command(mac):
    assert json.loads(mac.run("api", "GET", "/workers").stdout) == []
    assert json.loads(mac.run("api", "GET", "/status").stdout)["gateway"]["state"] == "up"
    sent = json.loads(mac.run("api", "POST", "/task", "-f", "type=test", "-f", "params={}").stdout)
    assert sent["state"] == "queued"
    [queue] = [queue for queue in json.loads(mac.run("api", "GET", "/queue").stdout) if queue["name"] == "test"]
    assert queue["queued"] >= 1
    shown = json.loads(mac.run("api", "GET", f"/task/{sent['id']}").stdout)
    assert (shown["id"], shown["task"]) == (sent["id"], "test.probe")
    fields = ["-f", "type=training", "-f", "params.model=gis-lidar", "-f", "params.epochs=100"]
    refused = mac.run("api", "POST", "/task", *fields, code=2)
    assert "gis-lidar needs classified LiDAR tiles" in refused.stderr  # as the HTTP API says itself


def test_fields_of_params_have_the_types_of_json(mac):
    fields = ["-f", "type=test", "-f", "params.seconds=0.5", "-f", "params.message=hello"]
    sent = json.loads(mac.run("api", "POST", "/task", *fields).stdout)
    assert mac.record(sent["id"])["parameters"]["seconds"] == 0.5
    assert mac.record(sent["id"])["parameters"]["message"] == "hello"


def test_a_body_comes_from_a_file_or_from_stdin(mac, tmp_path):
    body = {"type": "test", "params": {"message": "from a file"}}
    (tmp_path / "body.json").write_text(json.dumps(body))
    sent = json.loads(mac.run("api", "POST", "/task", "--input", tmp_path / "body.json").stdout)
    assert mac.record(sent["id"])["parameters"]["message"] == "from a file"
    sent = json.loads(mac.run("api", "POST", "/task", "--input", "-", input=json.dumps(body)).stdout)
    assert mac.record(sent["id"])["parameters"]["message"] == "from a file"


def test_fields_of_a_get_are_its_query(mac):
    mac.run("api", "POST", "/task", "-f", "type=test")
    listed = json.loads(mac.run("api", "GET", "/task", "-f", "limit=1", "-f", "state=queued").stdout)
    assert len(listed["jobs"]) == 1


def test_files_go_and_come_as_they_are(mac, tmp_path):
    content = bytes(range(256))
    (tmp_path / "content").write_bytes(content)
    path = f"/blob/{hashlib.sha256(content).hexdigest()}"
    mac.run("api", "PUT", path, "--input", tmp_path / "content")
    assert Web(mac).ask("GET", path).body == content


def test_what_is_no_json_is_printed_as_it_comes(mac):
    assert "# TYPE hive_queue_jobs gauge" in mac.run("api", "GET", "/metrics").stdout


def test_status_and_headers_are_shown_where_they_are_wanted(mac):
    said = mac.run("api", "GET", "/queue", "-i").stdout
    assert said.startswith("HTTP 200 OK\n")
    assert "\nContent-Type: application/json; charset=utf-8\n" in said


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["GET", "/task/0000"], 3, "There is no job"),
        (["GET", "/nothing"], 3, "/nothing"),
        (["POST", "/task", "-f", "kind=test"], 2, "type"),
        (["POST", "/task", "-f", "type=tset"], 3, "Did you mean 'test'?"),
        (["DELETE", "/workers"], 2, ""),
        (["FETCH", "/workers"], 2, "METHOD must be one of GET,"),
        (["GET", "workers"], 2, "PATH must begin with /"),
        (["GET", "@127.0.0.1/"], 2, "PATH must begin with /"),
        (["POST", "/task", "-f", "type"], 2, "NAME=VALUE"),
        (["POST", "/task", "--input", "/nowhere"], 2, "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused_is_one_sentence_and_an_exit_code(mac, words, code, sentence):
    said = mac.run("api", *words, code=code).stderr
    assert said.startswith("hive: ")
    assert sentence in said


def test_a_wrong_token_and_a_gateway_that_is_not_there_are_exit_code_4(mac, hive):
    mac.run("api", "GET", "/workers", code=4, environment={"HIVE_TOKEN": "wrong"})
    assert "hive up" in hive.run("api", "GET", "/workers", code=4).stderr

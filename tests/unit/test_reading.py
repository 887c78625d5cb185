"""Records of an older or a newer Hive, and damaged ones: read, or refused by name."""

import json
import re
from pathlib import Path

import pytest

from hive.errors import UnreadableRecordError
from hive.gateway.openapi import document
from hive.home.location import Home
from hive.home.network import NetworkAccess
from hive.home.tunnels import Tunnel
from hive.home.users import Identity
from hive.machines.records import Machine
from hive.remote.records import Record as Deployment
from hive.remote.records import find
from hive.settings import load_settings
from hive.task import Limits
from hive.wire.job import JobMessage, JobRecord, Specification, State, from_milliseconds, job_from_hash
from hive.wire.record import convert_record, read_record, write_record
from hive.wire.report import WorkerReport
from hive.worker.outbox import Outcome
from hive.worker.slots import Slot

CONVENTIONS = Path(__file__).parents[2] / "docs/conventions.md"
SPECIFICATION = {"capability": "gis", "task": "gis.dtm", "queue": "gis", "parameters": {"cell": 1.0}}
MESSAGE = {"parameters": {"cell": 1.0}, "inputs": {}, "outputs": {}, "limits": {"attempts": 3}}
REPORT = {"name": "gis@studio", "host": "studio", "capabilities": ["gis"], "slots": 2}
OUTCOME = {"job": "a", "attempt": 1, "state": "succeeded", "measures": {"cells": 4}}
SLOT = {"job": "a", "attempt": 1, "pid": 7, "born": 1.5, "started": 2.5, "time_s": None, "memory_bytes": None}
RECORDS = [
    pytest.param(kind, values, id=kind.__name__)
    for kind, values in [
        (Specification, SPECIFICATION),
        (JobMessage, MESSAGE),
        (WorkerReport, REPORT),
        (Outcome, OUTCOME),
        (Slot, SLOT),
    ]
]
MACHINE = {
    "name": "a",
    "launch": "b",
    "count": 1,
    "token": "c",
    "provider": "aws",
    "type": "t3.small",
    "region": "eu-central-1",
    "is_spot": False,
    "capabilities": "gis",
    "price_usd_per_h": 0.02,
    "created_at": "2026-11-28T21:00:00Z",
    "expires_at": "2026-11-28T23:00:00Z",
    "ended_at": None,
}
DEPLOYMENT = {
    "name": "a",
    "destination": "a.lab",
    "ssh_config": "",
    "capabilities": "gis",
    "runtime": "docker",
    "python": "",
    "allows_scripts": False,
    "ports": [1, 2],
}
HASH = {
    "specification": json.dumps(SPECIFICATION),
    "state": "failed",
    "queue": "gis",
    "submitted_ms": "1000",
    "attempts": "3",
    "error": '{"kind": "task-error", "message": "no points"}',
    "cost_usd": "0.25",
}


@pytest.mark.parametrize(("kind", "values"), RECORDS)
def test_a_field_of_a_newer_hive_is_ignored(kind, values):
    assert read_record(kind, json.dumps(values | {"colour": "blue"}), "It") == convert_record(kind, values, "It")


@pytest.mark.parametrize(("kind", "values"), RECORDS)
def test_a_record_comes_back_as_it_was_written(kind, values):
    record = convert_record(kind, values, "It")
    assert read_record(kind, write_record(record), "It") == record


@pytest.mark.parametrize(("kind", "values"), RECORDS)
def test_a_missing_or_ill_typed_field_is_named(kind, values):
    field = next(iter(values))
    with pytest.raises(UnreadableRecordError, match=f"^It cannot be read: .*missing required field `{field}`"):
        convert_record(kind, {name: value for name, value in values.items() if name != field}, "It")
    with pytest.raises(UnreadableRecordError, match=rf"^It cannot be read: Expected .* at `\$.{field}`"):
        convert_record(kind, values | {field: 1.5}, "It")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "[" * 100_000, b"\xff"])
def test_text_that_is_no_record_is_refused_in_one_sentence(text):
    with pytest.raises(UnreadableRecordError, match=r"^It cannot be read: .*\.$"):
        read_record(Specification, text, "It")


def test_a_record_of_a_later_version_is_refused_and_the_first_one_is_not_written():
    with pytest.raises(UnreadableRecordError, match=r"^It has version 2; this Hive reads 1. Update Hive\.$"):
        convert_record(Specification, SPECIFICATION | {"v": 2}, "It")
    assert "v" not in json.loads(convert_record(Specification, SPECIFICATION, "It").to_json())


def test_a_job_with_a_field_of_a_newer_hive_is_read():
    newer = HASH | {"colour": "blue", "specification": json.dumps(SPECIFICATION | {"colour": "blue"})}
    assert job_from_hash("a", newer) == job_from_hash("a", HASH)
    assert job_from_hash("a", HASH).cost_usd == 0.25


@pytest.mark.parametrize(
    "damage",
    [
        {"state": "asleep"},
        {"submitted_ms": "yesterday"},
        {"specification": "{"},
        {"error": "{"},
        {"error": '{"message": "no kind"}'},
        {"error": '{"kind": "worker-lost"}'},
        {"progress": '{"done": "half"}'},
        {"plans": '[["a"], 5]'},
        {"measures": "[]"},
        {"story": "noon"},
    ],
    ids=str,
)
def test_a_damaged_job_is_refused_by_name(damage):
    with pytest.raises(UnreadableRecordError, match=r"^The (record|specification) of job a cannot be read: "):
        job_from_hash("a", HASH | damage, with_story=True)


def test_measures_may_be_no_number():
    measures = job_from_hash("a", HASH | {"measures": '{"slope": NaN, "cells": 123456789012345678901}'}).measures
    assert measures["slope"] != measures["slope"]
    assert measures["cells"] == 123456789012345678901


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "cancelled"}, "It was cancelled."),
        ({"kind": "cancelled", "reason": "parent-ended"}, "The job that it is a part of has ended."),
        (
            {"kind": "worker-lost", "reason": "vanished", "losses": 3, "worker": "gis@a", "host": "studio"},
            "started 3 times and never finished: its worker vanished; the last worker was gis@a on studio",
        ),
        (
            {"kind": "part-failed", "part": "0123456789", "state": "cancelled", "error": {"kind": "cancelled"}},
            "Its part 01234567 cancelled: It was cancelled.",
        ),
        ({"kind": "eclipse"}, "It ended with 'eclipse', for which this version of Hive has no words."),
    ],
)
def test_what_a_script_stores_as_facts_is_read_as_a_sentence(facts, message):
    assert job_from_hash("a", HASH | {"error": json.dumps(facts)}).error == {"kind": facts["kind"], "message": message}


def test_the_documents_list_each_field_of_a_job_and_no_other():
    job = JobRecord(
        "a", Specification("gis", "gis.dtm", "gis", {}, limits=Limits()), State.QUEUED, from_milliseconds(1)
    )
    fields = set(job.to_json())
    assert {"host", "parent", "parts"} <= fields
    table = CONVENTIONS.read_text().partition("**A job**")[2].partition("\n\nThe items of `map --json`")[0]
    listed = {name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`(\w+)`", row)}
    assert listed == fields | {"previews", "units", "story"}
    assert set(document(())["components"]["schemas"]["Job"]["properties"]) == fields | {"previews", "units", "story"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Machine, MACHINE),
        (Tunnel, {"name": "a", "destination": "a.lab", "ssh_config": "", "redis_port": 6379, "gateway_port": 6380}),
        (NetworkAccess, {"name": "mac.lab", "address": "192.0.2.1"}),
        (Home, {"name": "a", "destination": "a", "ssh_config": "", "via": "", "python": "", "ports": [1, 2]}),
        (Identity, {"name": "a", "queues": ["gis"], "password_sha256": "0"}),
        (Deployment, DEPLOYMENT),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_file_of_a_newer_hive_is_read(kind, values):
    known = read_record(kind, json.dumps(values), "a.json")
    assert read_record(kind, json.dumps(values | {"colour": "blue"}), "a.json") == known
    with pytest.raises(UnreadableRecordError, match=r"^a.json cannot be read: .* missing required field `name`"):
        read_record(kind, json.dumps({name: value for name, value in values.items() if name != "name"}), "a.json")


def test_a_deployment_from_before_its_runtime_had_that_name_is_read(tmp_path):
    (tmp_path / "deployed").mkdir()
    old = {
        "name": "studio", "destination": "me@studio", "ssh_config": "", "capabilities": "gis=1", "via": "systemd",
        "python": "", "allows_scripts": False, "ports": [1, 2],
    }  # fmt: skip
    (tmp_path / "deployed" / "studio.json").write_text(json.dumps(old))
    assert find(load_settings({"home": tmp_path}, {}), "studio").runtime == "systemd"

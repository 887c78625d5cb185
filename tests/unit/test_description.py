"""The description of the HTTP API has every field that is sent, because it is made of the same records."""

from datetime import UTC, datetime

import jsonschema

from hive.client.explain import job_document_with_story
from hive.gateway.openapi import document
from hive.gateway.server import ROUTES
from hive.store import QueueReport
from hive.task import Progress
from hive.wire.job import JobRecord, Specification, State

ASKED = Specification(
    capability="gis",
    task="gis.dtm",
    queue="gis",
    parameters={"cell": 1.0},
    inputs={"cloud": "sha256:" + "0" * 64 + "/tile.laz"},
    outputs={"raster": "dtm.tif"},
)


def schemas():
    return document(ROUTES)["components"]["schemas"]


def check(document_, name):
    jsonschema.validate(document_, {**schemas()[name], "components": {"schemas": schemas()}})


def test_a_job_has_exactly_the_fields_that_are_described():
    record = JobRecord(
        id="0123456789abcdef",
        specification=ASKED,
        state=State.FAILED,
        submitted_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
        attempts=2,
        worker="w1@host",
        progress=Progress(1, None, "steps", ""),
        error={"kind": "error", "message": "It failed."},
        story=({"at": "2026-11-26T23:11:00.299Z", "event": "submitted"},),
    )
    sent = job_document_with_story(record)
    assert set(sent) == set(schemas()["Job"]["properties"])
    assert {"host", "parent", "parts", "peak_memory_bytes"} <= set(schemas()["Listed"]["properties"])
    check(sent, "Job")


def test_a_job_that_waits_has_no_end_and_no_worker():
    check(job_document_with_story(JobRecord("01", ASKED, State.QUEUED, datetime.now(UTC))), "Job")


def test_a_queue_has_exactly_the_fields_that_are_described():
    queue = vars(QueueReport("gis", 1, 2, 3.5, 4))
    assert set(queue) == set(schemas()["Queue"]["properties"])
    check(queue, "Queue")

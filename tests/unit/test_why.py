"""Why a job is where it is: one plain answer for each case, and always something to do."""

from datetime import UTC, datetime, timedelta

import pytest

from hive.client.explain import Surroundings, explain
from hive.store import QueueReport
from hive.task import Progress
from hive.wire.job import JobRecord, Priority, Specification, State

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
WORKER = {"name": "w1@studio", "capabilities": ["gis", "test"], "slots": 2, "busy": 0}


def job(state, *, priority=Priority.NORMAL, inputs=None, **more):
    asked = Specification("gis", "gis.dtm", "gis", {}, inputs or {}, {}, priority=priority)
    submitted = NOW - timedelta(seconds=30)
    story = ({"at": "2026-11-23T11:59:30.000Z", "event": "submitted", "queue": "gis"},)
    return JobRecord("0123456789abcdef", asked, state, submitted, **({"story": story} | more))


def around(*workers, running=0, ahead=0, now=NOW):
    return Surroundings(workers, QueueReport("gis", ahead + 1, running, 30.0, len(workers)), ahead, now)


def failed(kind, message="Words.", **more):
    kept = {"finished_at": NOW, "attempts": 1, "host": "studio", "error": {"kind": kind, "message": message}}
    return explain(job(State.FAILED, **(kept | more)), around())


def test_without_a_worker_it_names_the_queue_and_how_to_start_one():
    reason = explain(job(State.QUEUED), around(WORKER | {"capabilities": ["training"]}))
    assert reason.why == "It has been waiting since 2026-11-23 11:59:30 UTC: no worker serves 'gis'."
    assert reason.todo == "Start one: hive worker --capabilities gis=2"


def test_where_all_slots_are_busy_it_tells_the_place_in_the_line():
    reason = explain(job(State.QUEUED), around(WORKER | {"busy": 2}, ahead=3))
    assert reason.why == "It is 4th in the 'gis' queue; 2 of 2 slots are busy."
    assert reason.todo.startswith("Nothing: it starts automatically.")
    only = explain(job(State.QUEUED), around(WORKER | {"slots": 1, "busy": 1}))
    assert only.why == "It is 1st in the 'gis' queue; the only slot is busy."


def test_a_report_of_a_worker_that_is_some_seconds_old_does_not_make_slots_free():
    assert "2 of 2 slots are busy" in explain(job(State.QUEUED), around(WORKER, running=2)).why
    assert "It is 21st in the 'gis' queue" in explain(job(State.QUEUED), around(WORKER, ahead=20)).why


@pytest.mark.parametrize(("priority", "words"), [(Priority.HIGH, "starts before"), (Priority.LOW, "starts after")])
def test_a_priority_changes_the_place_in_the_queue(priority, words):
    reason = explain(job(State.QUEUED, priority=priority), around(WORKER | {"busy": 2}, ahead=3))
    assert f"Its priority is {priority}: it {words} jobs" in reason.why


def test_where_a_slot_is_free_it_starts_in_a_moment():
    reason = explain(job(State.QUEUED), around(WORKER))
    assert reason.why.startswith("A slot is free and the job has waited for only 30 s; it starts in a moment.")
    assert "sends it again within seconds" in reason.why
    assert reason.todo == "Nothing: it starts automatically. Wait for it: hive wait 01234567"


def test_a_job_that_no_free_worker_takes_may_be_of_an_unknown_task():
    reason = explain(job(State.QUEUED), around(WORKER, now=NOW + timedelta(minutes=5)))
    assert reason.why.endswith("though a slot is free: no worker takes it.")
    assert "log of w1@studio" in reason.todo
    assert "may not have gis.dtm" in reason.todo


def test_a_job_whose_task_no_worker_has_does_not_start_in_a_moment():
    lacking = WORKER | {"host": "studio", "terms": {"tasks": ["gis.other", "test.probe"]}}
    reason = explain(job(State.QUEUED), around(lacking))
    assert reason.why.endswith("no worker of 'gis' has the task gis.dtm.")
    assert reason.todo == "Update Hive on studio and start w1@studio again."
    capable = WORKER | {"terms": {"tasks": ["gis.dtm"]}}
    assert "it starts in a moment" in explain(job(State.QUEUED), around(lacking, capable)).why


def test_a_job_that_waits_again_tells_what_became_of_its_attempts():
    story = (
        {"at": "2026-11-23T11:58:00.000Z", "event": "lost", "attempt": 1, "worker": "w1@a", "reason": "its host burnt"},
        {"at": "2026-11-23T11:59:00.000Z", "event": "stopped", "attempt": 2, "reason": "its worker was told to stop"},
    )
    why = explain(job(State.QUEUED, story=story), around()).why
    assert "since 2026-11-23 11:59:00 UTC" in why
    assert "Attempt 1 on w1@a was lost at 2026-11-23 11:58:00 UTC because its host burnt." in why
    assert why.endswith("Attempt 2 was stopped at 2026-11-23 11:59:00 UTC because its worker was told to stop.")


def test_a_running_job_tells_where_since_when_and_how_far():
    running = job(
        State.RUNNING,
        worker="w1@studio",
        host="studio",
        started_at=NOW,
        attempts=1,
        progress=Progress(3, 12, "tiles", "gridding"),
    )
    reason = explain(running, around(WORKER))
    assert reason.why == (
        "It has been running on w1@studio (studio) since 2026-11-23 12:00:00 UTC; progress: 3 of 12 tiles gridding."
    )
    assert reason.todo == "Wait for it: hive wait 01234567. Or cancel it: hive cancel 01234567"


def test_a_second_attempt_tells_of_the_first():
    event = {"at": "2026-11-23T11:58:00.000Z", "event": "lost", "attempt": 1, "worker": "w1@a", "reason": "it vanished"}
    running = job(State.RUNNING, worker="w1@studio", started_at=NOW, attempts=2, story=(event,))
    why = explain(running, around(WORKER)).why
    assert why == (
        "It has been running on w1@studio since 2026-11-23 12:00:00 UTC, attempt 2; no progress reported yet. "
        "Attempt 1 on w1@a was lost at 2026-11-23 11:58:00 UTC because it vanished."
    )


def test_a_running_job_whose_worker_is_silent_says_so():
    running = job(State.RUNNING, worker="w9@gone", started_at=NOW, attempts=1)
    assert "That worker is silent; if it stays silent, the job starts again elsewhere" in explain(running, around()).why


def test_a_failure_tells_its_kind_its_reason_and_how_often_it_was_started():
    reason = failed("worker-lost", "It was killed by signal 9.", attempts=3)
    assert reason.why == (
        "It failed at 2026-11-23 12:00:00 UTC (worker-lost, started 3 times): It was killed by signal 9."
    )
    assert reason.todo == (
        "Read the end of its log: hive logs 01234567. "
        "Start a worker with more memory, or give it less at once (smaller tiles). Then: hive retry 01234567"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bad-input", "Look at the file tile.laz"),
        ("memory-limit", "more memory"),
        ("out-of-memory", "more memory"),
        ("time-limit", "smaller tiles"),
        ("engine", "program that the task runs, most often because of the file tile.laz"),
        ("staging", "Submit it again"),
        ("os-error", "Look at studio: is its disk full"),
        ("task-error", "a bug in the task; report it to its author with the output of hive logs 01234567."),
        ("error", "hive show 01234567"),
        ("something-new", "hive retry 01234567"),
    ],
)
def test_each_kind_of_failure_has_its_remedy(kind, words):
    assert words in failed(kind, inputs={"cloud": f"sha256:{'0' * 64}/tile.laz"}).todo


def test_braces_in_a_message_or_a_file_name_are_only_text():
    reason = failed("bad-input", "{id} {0.__class__}", inputs={"clouds": [f"sha256:{'0' * 64}/{{id}}.laz"]})
    assert "{id} {0.__class__}" in reason.why
    assert "Look at the file {id}.laz" in reason.todo


def test_a_cancelled_job_tells_when():
    reason = explain(job(State.CANCELLED, finished_at=NOW), around())
    assert reason.why == "It was cancelled at 2026-11-23 12:00:00 UTC."
    assert reason.todo == "Run it again: hive retry 01234567"


def test_a_succeeded_job_tells_how_to_get_its_files():
    ended = {"finished_at": NOW, "worker": "w1@studio"}
    with_files = explain(job(State.SUCCEEDED, outputs={"raster": "x"}, **ended), around())
    assert with_files.why == "It succeeded at 2026-11-23 12:00:00 UTC on w1@studio."
    assert with_files.todo == "Fetch its files: hive fetch 01234567"
    assert explain(job(State.SUCCEEDED, **ended), around()).todo == "See it: hive show 01234567"

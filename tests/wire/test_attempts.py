"""Attempts: each start is counted, only the newest one's result is kept, and nothing is tried for ever."""

import time

import pytest

from hive.errors import UnreadableRecordError
from hive.store import JobStore, LogStore, Registry
from hive.store.connection import connect
from hive.task import Progress
from hive.wire.job import Specification, State
from hive.wire.report import WorkerReport
from tests.support import is_gone, wait_until

pytestmark = pytest.mark.wire
LEASE_S = 15.0
BEGIN = "0 0 0"
ASKED = Specification("test", "test.probe", "test", {}, {}, {})


@pytest.fixture
def store(hive_up):
    return JobStore(connect(hive_up.settings_of("worker")))


def test_a_late_result_of_an_older_attempt_is_dropped(store):
    store.create("one", ASKED)
    assert store.start("one", "w1", "h", LEASE_S) == 1
    assert store.start("one", "w2", "h", LEASE_S) == 0  # the first attempt is alive: this is a copy of its message
    store.lose("one", 1, "its worker vanished")
    assert store.start("one", "w2", "h", LEASE_S) == 2
    assert not store.finish("one", 1, State.SUCCEEDED, measures={"from": 1})
    LogStore(store._redis).append("one", 1, BEGIN, "0 0 9", [], Progress(1, 1, "", ""))
    assert store.finish("one", 2, State.SUCCEEDED, measures={"from": 2})
    assert not store.finish("one", 2, State.FAILED)
    job = store.get("one")
    assert (job.state, job.measures, job.worker, job.attempts) == (State.SUCCEEDED, {"from": 2}, "w2", 2)
    assert job.progress is None
    assert [event["event"] for event in job.story] == ["submitted", "started", "lost", "started", "succeeded"]


def test_a_finished_job_is_not_started_again(store):
    store.create("one", ASKED)
    store.finish("one", store.start("one", "w1", "h", LEASE_S), State.SUCCEEDED)
    assert store.start("one", "w2", "h", LEASE_S) == 0
    assert store.start("unknown", "w2", "h", LEASE_S) == 0


def test_an_id_is_used_once(store):
    from hive.errors import BadParameterError

    store.create("one", ASKED)
    with pytest.raises(BadParameterError, match="There is a job one already"):
        store.create("one", ASKED)


def test_a_forgotten_job_leaves_no_key(store, hive_up):
    before = set(hive_up.redis.keys())
    store.create("one", ASKED)
    store.forget("one")
    assert set(hive_up.redis.keys()) - before == {"hive:queues"}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_probe_runs_in_every_pool(hive_up, pool, tmp_path):
    with hive_up.worker("gis", pool=pool, slots=1, HIVE_TRACE_DIR=str(tmp_path)):
        job = hive_up.wait(hive_up.submit("test", "--trace", "log", "--seconds", "0.2"), code=0)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [(event, job_id, attempt) for event, job_id, attempt, *_ in lines] == [
        ("start", job["id"], "1"),
        ("end", job["id"], "1"),
    ]


def test_a_job_that_kills_its_child_is_started_three_times_and_then_failed(hive_up, tmp_path):
    with hive_up.worker("gis", HIVE_TRACE_DIR=str(tmp_path)):
        bystander = hive_up.submit("test", "--gate", "bystander")
        job = hive_up.wait(hive_up.submit("test", "--crash", "child", "--trace", "log"), code=1)
        (tmp_path / "bystander").touch()
        assert hive_up.wait(bystander, code=0)["attempts"] == 1
    assert len((tmp_path / "log").read_text().splitlines()) == 3
    assert job["error"]["kind"] == "worker-lost"
    assert "started 3 times and never finished" in job["error"]["message"]
    assert "w1@test" in job["error"]["message"]


def test_a_job_that_kills_its_worker_kills_the_whole_of_it(hive_up):
    with hive_up.worker("gis") as worker:
        children = worker.children(recursive=True)
        hive_up.submit("test", "--crash", "worker")
        wait_until(lambda: is_gone(worker.pid), "the worker is gone")
        wait_until(lambda: not any(child.is_running() for child in children), "its children are gone")


def test_memory_and_log_lines_are_really_used(hive_up):
    with hive_up.worker("gis", slots=1) as worker:
        job = hive_up.submit("test", "--memory", "300MiB", "--gate", "memory", "--log-lines", "7")
        wait_until(lambda: any(one.memory_info().rss > 300 << 20 for one in worker.children()), "memory is held")
        hive_up.open_gate("memory")
        hive_up.wait(job, code=0)
    assert (hive_up.home / "w1.log").read_text().count(" of 7") == 7


def test_a_record_that_cannot_be_read_stops_no_list(hive_up, caplog):
    store = JobStore(hive_up.redis)
    store.create_many([(name, ASKED) for name in ("one", "two", "three")])
    hive_up.redis.hset("hive:job:two", "state", "asleep")  # as an enumeration of a later version might say
    for _ in range(2):
        assert [job.id for job in store.recent(9)] == ["three", "one"]
    assert store.unreadable.count == 1
    assert [job and job.id for job in store.get_many(["one", "two", "none"])] == ["one", None, None]
    [warning] = [message for message in caplog.messages if "cannot be read" in message]
    assert warning.startswith("The record of job two cannot be read: Invalid enum value 'asleep'")
    with pytest.raises(UnreadableRecordError, match="The record of job two cannot be read"):
        store.find("two")


def test_a_report_that_cannot_be_read_stops_no_list(hive_up, caplog):
    registry = Registry(hive_up.redis)
    registry.report(WorkerReport("gis@a", "studio", ("gis",), 2))
    hive_up.redis.set("hive:worker:gis@b", '{"name": "gis@b"}', ex=60)
    hive_up.redis.zadd("hive:workers", {"gis@b": time.time()})
    assert [worker["name"] for worker in registry.workers()] == ["gis@a"]
    assert registry.serving("gis") == 1
    assert caplog.messages[0].startswith("The report of worker gis@b cannot be read: ")

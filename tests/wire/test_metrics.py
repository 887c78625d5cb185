"""`/metrics`: what Prometheus reads is valid, and counts what has happened."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hive.store import JobStore, Registry, read_totals
from hive.wire.job import Specification, State
from tests.support import Hive, Web, wait_until
from tests.wire.test_presence import report

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Hive with a gateway and a worker."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(gateway=True), hive.worker("gis", slots=1):
        yield hive


def metrics(mac):
    """Every sample by its name and labels."""
    answer = Web(mac).ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}


def test_jobs_are_counted_where_they_end_and_timed(mac):
    before = metrics(mac)
    assert mac.run("submit", "test", "--seconds", "0.3").returncode == 0
    mac.run("submit", "test", "--fail", code=1)
    after = metrics(mac)

    def grown(name, **labels):
        key = (name, *sorted({"task": "test.probe", **labels}.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("hive_jobs_finished_total", state="succeeded") == 1
    assert grown("hive_jobs_finished_total", state="failed") == 1
    assert grown("hive_job_duration_seconds_count") == 2
    assert grown("hive_job_duration_seconds_bucket", le="+Inf") == 2
    assert grown("hive_job_duration_seconds_bucket", le="60") == 2
    assert grown("hive_job_duration_seconds_bucket", le="0.1") < 2
    assert 0.3 <= grown("hive_job_duration_seconds_sum") < 10
    assert not any(name.startswith("hive_job_cost") for name, *_ in after)  # none is known, so there is no zero


def test_queues_workers_and_the_mac_side_are_measured(mac):
    mac.redis.zadd("hive:waiting:gis", {"somebody": (time.time() - 60) * 1000})
    try:
        seen = metrics(mac)
    finally:
        mac.redis.zrem("hive:waiting:gis", "somebody")
    assert seen["hive_queue_jobs", ("queue", "gis"), ("state", "queued")] == 1
    assert 60 <= seen["hive_queue_oldest_seconds", ("queue", "gis")] < 90
    assert seen["hive_queue_workers", ("queue", "gis")] == 1
    assert seen["hive_worker_up", ("worker", "w1@test")] == 1
    assert seen["hive_worker_slots", ("worker", "w1@test")] == 1
    assert abs(seen["hive_worker_last_seen_timestamp_seconds", ("worker", "w1@test")] - time.time()) < 30
    assert seen["hive_worker_memory_bytes", ("worker", "w1@test")] > 20e6
    for process in ("redis", "gateway"):
        assert seen["hive_process_memory_bytes", ("process", process)] > 1e6
    assert seen["hive_process_cpu_seconds_total", ("process", "gateway")] > 0.1


def test_a_worker_that_ended_without_a_word_is_down_and_one_that_signed_off_is_gone(hive_up):
    registry = Registry(hive_up.redis)
    registry.report(report())
    registry.report(report(name="gis@other"))
    hive_up.redis.delete("hive:worker:gis@studio")  # as when its time is over
    registry.leave("gis@other")
    assert list(registry.silent()) == ["gis@studio"]
    assert registry.workers() == []
    hive_up.redis.zadd("hive:workers", {"gis@studio": time.time() - 2 * 86_400})
    registry.workers()
    assert registry.silent() == {}


def test_totals_outlive_records_and_know_only_costs_that_are_told(hive_up):
    store = JobStore(hive_up.redis)
    asked = Specification("gis", "gis.dtm", "gis", {"task": "x"}, {}, {})
    for number, price in enumerate((0.25, 1.5, None)):
        store.create(f"job{number}", asked)
        assert store.start(f"job{number}", "w", "h", 15, price) == 1
        hive_up.redis.hincrby(f"hive:job:job{number}", "started_ms", -3_600_000)
        assert store.finish(f"job{number}", 1, State.SUCCEEDED)
    store.create("never", asked)
    assert store.cancel("never")
    store.forget("job0", "job1", "job2", "never")
    totals = read_totals(hive_up.redis)
    assert totals.ended == {("gis.dtm", "succeeded"): 3, ("gis.dtm", "cancelled"): 1}
    assert totals.runs["gis.dtm"].within[-1] == (float("inf"), 3)  # one never ran
    assert totals.cost_usd == {"gis.dtm": pytest.approx(1.75, abs=0.01)}
    assert totals.jobs_with_cost == {"gis.dtm": 2}


@pytest.mark.parametrize(("ran_s", "bound"), [(0.05, 0.1), (5, 10), (59, 60), (90_000, float("inf"))])
def test_a_run_is_counted_within_the_bounds_that_it_keeps(hive_up, ran_s, bound):
    store = JobStore(hive_up.redis)

    def run():
        """Run a job, unless this machine takes longer over it than the bound allows."""
        hive_up.redis.flushdb()
        store.create("one", Specification("gis", "gis.dtm", "gis", {}, {}, {}))
        store.start("one", "w", "h", 15)
        hive_up.redis.hincrby("hive:job:one", "started_ms", -int(ran_s * 1000))
        store.finish("one", 1, State.SUCCEEDED)
        job = store.get("one")
        return (job.finished_at - job.started_at).total_seconds() <= bound

    wait_until(run, "a run within the bound")
    runs = read_totals(hive_up.redis).runs["gis.dtm"]
    assert runs.within == tuple((one, int(one >= bound)) for one, _ in runs.within)
    assert runs.total_s == pytest.approx(ran_s, abs=0.5)


def test_without_redis_there_are_no_metrics_but_an_error(hive):
    with hive.up(gateway=True):
        web = Web(hive)
        hive.redis.shutdown(nosave=True)
        wait_until(lambda: web.ask("GET", "/metrics").status == 503, "it notices")

"""Redis that dies, is away, or comes back; the laptop that sleeps."""

import shutil
import time

import psutil
import pytest

from hive.client.wait import watch
from hive.home import running_pid
from hive.wire.job import State
from tests.faults.harness import redis_paused
from tests.patience import patient
from tests.support import wait_until

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("away_s", [0.0, pytest.param(60.0, marks=pytest.mark.full)])
def test_redis_killed_under_load_loses_nothing_and_fails_nothing(field, note, full, lease_s, away_s):
    count, away_s = (500, away_s) if full else (150, min(away_s, 2 * lease_s))
    field.submit(count, seconds=0.1)
    with field.hive.worker("gis", slots=2, name="w1"), field.hive.worker("gis", slots=2, name="w2"):
        wait_until(lambda: len(field.trace()) > 20, "jobs run")
        with redis_paused(field.hive, away_s) as told:
            pass
        [back] = told
        wait_until(
            lambda: [at for event, _, _, at in field.trace() if event == "start" and at > back], "work goes on", 30
        )
        resumed = min(at for event, _, _, at in field.trace() if event == "start" and at > back) - back
        jobs = field.wait_for_all(count * 0.2 + 6 * lease_s)
    row = note(field.row(f"Redis kill -9, away for {away_s:g} s, under {count} jobs", jobs, resumed))
    assert row.lost == 0, [job for job in jobs if not job.state.is_final]
    assert sum(job.state is State.FAILED for job in jobs) == 0
    assert resumed <= patient(15)


def test_a_laptop_that_sleeps_loses_nothing(field, note, lease_s):
    """Asleep, Redis neither answers nor closes a connection; awake, its clock has jumped."""
    with field.hive.worker("gis", slots=2, name="w1"), field.hive.worker("gis", slots=2, name="w2"):
        field.submit(4, seconds=1.5 * lease_s)
        wait_until(lambda: len(field.trace()) == 4, "jobs run")
        redis = psutil.Process(running_pid(field.hive.settings))
        redis.suspend()
        asleep = time.time()
        wait_until(lambda: time.time() - asleep > 3 * lease_s, "three leases pass", 4 * lease_s)
        redis.resume()
        jobs = field.wait_for_all(10 * lease_s)
    row = note(field.row("the laptop sleeps for 3 leases under 4 running jobs", jobs))
    assert (row.lost, row.finished_twice) == (0, 0)
    assert {job.attempts for job in jobs} == {1}


def test_a_sweep_reads_no_more_of_a_long_queue_than_of_a_short_one(field):
    from hive.celery_adapter import make_application
    from hive.store import JobStore
    from hive.task import Limits
    from hive.wire.job import Specification
    from hive.worker.sweeper import Sweeper

    store, redis = JobStore(field.hive.redis), field.hive.redis
    asked = Specification("test", "test.probe", "gis", {}, {}, {}, Limits(attempts=3))
    settings = field.hive.settings_of("worker")
    sweeper = Sweeper(settings, make_application(settings), "w", ["gis"])
    sent = 0

    def bytes_read_with(queued):
        nonlocal sent
        for number in range(sent, queued):
            store.create(f"{number:016x}", asked)
            redis.lpush("gis\x06\x163", f'{{"headers": {{"id": "{number:016x}"}}}}')
        sent = queued
        newest = time.time() * 1000
        wait_until(
            lambda: (time.time() * 1000 - newest) > field.lease_s * 250, "the oldest are old enough to be looked for"
        )
        sweeper.sweep()  # the first one also loads scripts
        redis.delete("hive:sweeper:gis", "hive:pulse", "hive:away_until")  # as if workers had renewed meanwhile
        before = redis.info("stats")["total_net_output_bytes"]
        sweeper.sweep()
        return redis.info("stats")["total_net_output_bytes"] - before

    short, long = bytes_read_with(2000), bytes_read_with(10_000)
    assert long == pytest.approx(short, rel=0.05)  # the answer to INFO itself is a few bytes longer
    assert redis.llen("gis\x06\x163") == 10_000  # nothing was taken for lost


def test_redis_that_comes_back_empty_costs_no_job_of_this_laptop(field, note, full):
    count = 500 if full else 60
    with field.hive.worker("gis", slots=2, name="w1"):
        done = field.submit(5)
        finished = [watch(field.session, job_id) for job_id in done]
        assert {job.state for job in finished} == {State.SUCCEEDED}
    field.submit(count)
    with redis_paused(field.hive, 0.0):
        shutil.rmtree(field.hive.home / "redis" / "appendonlydir")
    field.ids = [job_id for job_id in field.ids if job_id not in done]
    with field.hive.worker("gis", slots=2, name="w1"), field.hive.worker("gis", slots=2, name="w2"):
        jobs = field.wait_for_all(count * 0.2 + 30)
    row = note(field.row(f"Redis comes back empty, {count} jobs queued", jobs))
    assert row.lost == 0
    again = [job_id for event, job_id, _, _ in field.trace() if event == "start" and job_id in done]
    assert sorted(again) == sorted(done)  # what had been seen finished was not computed again

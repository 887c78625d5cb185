"""Workers that die, freeze, vanish, or are told to stop."""

import random
import signal
import time
from contextlib import contextmanager

import psutil
import pytest

from hive.celery_adapter import make_application
from hive.wire.job import State
from tests.faults.harness import Host, kill_tree
from tests.patience import patient
from tests.support import wait_until

pytestmark = pytest.mark.wire


@contextmanager
def two_workers(field):
    """Two workers with one slot each, by their names."""
    with field.hive.worker("gis", slots=1, name="w1") as w1, field.hive.worker("gis", slots=1, name="w2") as w2:
        yield {"w1@test": w1, "w2@test": w2}


def started(field, workers, **parameters):
    """Submit a job; returns its id and, once it runs, the worker that has it."""
    [job_id] = field.submit(**parameters)
    wait_until(lambda: field.started(job_id), "the job runs")
    return job_id, workers[field.job(job_id).worker]


@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(one, marks=pytest.mark.full) for one in ("threads", "solo"))]
)
def test_a_job_of_ten_leases_is_executed_once(field, note, full, pool):
    lease_s = 15.0 if full else 2.0
    field.hive.environment["HIVE_LEASE_S"] = str(lease_s)
    with (
        field.hive.worker("gis", slots=1, pool=pool, name="w1"),
        field.hive.worker("gis", slots=1, pool=pool, name="w2"),
    ):
        field.submit(seconds=10 * lease_s)
        row = note(field.row(f"a job of 10 leases, {pool} pool", field.wait_for_all(12 * lease_s)))
    assert len([one for one in field.trace() if one[0] == "start"]) == 1
    assert (row.lost, row.finished_twice) == (0, 0)


def test_a_job_that_starts_three_leases_later_is_executed_once(field, note, lease_s):
    from hive.store import JobStore, new_id
    from hive.task import Limits
    from hive.wire.job import Specification

    parameters = {"trace": "log", "seconds": 0.5}
    asked = Specification("test", "test.probe", "gis", parameters, {}, {}, Limits(attempts=3))
    job_id = new_id()
    asked = field.session.sender.signed(job_id, asked)
    with field.hive.worker("gis", name="w1"), field.hive.worker("gis", name="w2"):
        JobStore(field.hive.redis).create(job_id, asked)
        field.ids.append(job_id)
        application = make_application(field.hive.settings)
        message = asked.message | {"signature": asked.signature}
        with application.connection_for_write() as connection:
            application.send_task(
                "test.probe",
                (job_id,),
                message,
                task_id=job_id,
                queue="gis",
                countdown=3 * lease_s,
                connection=connection,
            )
        row = note(field.row("a job with an ETA of 3 leases", field.wait_for_all(5 * lease_s)))
    assert len([one for one in field.trace() if one[0] == "start"]) == 1
    assert row.lost == 0


def test_a_killed_worker_is_replaced_within_a_lease_and_five_seconds(field, note, lease_s):
    with two_workers(field) as workers:
        job_id, has_it = started(field, workers, gate="g")
        kill_tree(has_it)
        killed = time.time()
        field.hive.open_gate("g")
        jobs = field.wait_for_all(3 * lease_s + 10)
    restart_s = field.started(job_id, 2) - killed
    row = note(field.row("kill -9 of a worker and its children", jobs, restart_s))
    assert row.lost == 0
    assert restart_s <= patient(lease_s + 5)
    assert [event["event"] for event in jobs[0].story] == ["submitted", "started", "lost", "started", "succeeded"]


def test_a_stream_of_jobs_survives_random_kills(field, note, full, lease_s):
    count, kills, seeds = (2000, 10, 3) if full else (150, 3, 1)
    for seed in range(seeds):
        chance = random.Random(seed)  # noqa: S311  a seed, so that a run can be repeated
        before = len(field.ids)
        field.submit(count, seconds=0.01)
        names = [f"s{seed}w{number}" for number in range(2)]
        running = {name: field.hive.worker("gis", slots=2, name=name) for name in names}
        workers = {name: context.__enter__() for name, context in running.items()}
        for _ in range(kills):
            name = chance.choice(names)
            target = time.monotonic() + chance.uniform(0.2, 2.0)
            wait_until(lambda target=target: time.monotonic() >= target, "a random moment")
            kill_tree(workers[name])
            running[name].__exit__(None, None, None)
            running[name] = field.hive.worker("gis", slots=2, name=name)
            workers[name] = running[name].__enter__()
        jobs = field.wait_for_all(count * 0.1 + 10 * lease_s)[before:]
        for context in running.values():
            context.__exit__(None, None, None)
        row = note(field.row(f"{kills} kill -9 of workers under a stream of jobs, seed {seed}", jobs))
        assert row.lost == 0
        assert row.finished_twice <= kills
        assert sum(job.state is State.SUCCEEDED for job in jobs) == count


def test_a_frozen_worker_that_comes_back_changes_nothing(field, note, lease_s):
    with two_workers(field) as workers:
        job_id, has_it = started(field, workers, seconds=1.5 * lease_s, message="x")
        first = field.job(job_id).worker
        family = [has_it, *has_it.children(recursive=True)]
        for process in family:
            process.suspend()
        frozen = time.time()
        wait_until(lambda: field.started(job_id, 2), "it is restarted elsewhere", lease_s + 10)
        restart_s = field.started(job_id, 2) - frozen
        wait_until(lambda: time.time() - frozen > 2 * lease_s, "two leases have passed", 3 * lease_s)
        for process in family:
            if process.is_running():
                process.resume()
        jobs = field.wait_for_all(5 * lease_s)
        # Whoever comes back must have looked around before the test ends.
        wait_until(lambda: not field.hive.redis.hlen("hive:unacked:worker"), "nobody holds a message any more", 20)
    row = note(field.row("SIGSTOP of a worker for 2 leases", jobs, restart_s))
    assert (row.lost, jobs[0].attempts) == (0, 2)
    assert jobs[0].worker != first
    assert [event["event"] for event in jobs[0].story].count("succeeded") == 1


@pytest.mark.parametrize("round_", [0, *(pytest.param(more, marks=pytest.mark.full) for more in range(1, 10))])
def test_a_host_that_vanishes_while_it_takes_a_job_loses_none(field, note, round_):
    with Host(round_) as host, host.worker(field, "far") as far, field.hive.worker("gis", name="near"):
        field.submit(1)
        field.wait_for_all(30)  # from here on a submission takes milliseconds
        host.pull_cable()
        cut = time.time()
        field.submit(3)
        kill_tree(far)
        jobs = field.wait_for_all(30)[1:]
    last = max(job.started_at.timestamp() for job in jobs if job.started_at) - cut
    row = note(field.row("a host vanishes in BRPOP, 3 jobs sent at once", jobs, last))
    assert row.lost == 0


def test_a_cut_network_costs_no_result(field, note, lease_s):
    with Host(20) as host, host.worker(field, "far", slots=1):
        [job_id] = field.submit(gate="g")
        wait_until(lambda: field.started(job_id), "the job runs")
        host.pull_cable()
        field.hive.open_gate("g")
        ended = wait_until(lambda: [one for one in field.trace() if one[0] == "end"], "it ends behind the cut")
        assert ended
        wait_until(lambda: time.time() - ended[0][3] > 2 * lease_s, "two leases pass", 3 * lease_s)
        host.mend_cable()
        jobs = field.wait_for_all(60)
        field.submit()
        jobs = field.wait_for_all(60)
    row = note(field.row("network cut for 2 leases, the job ends meanwhile", jobs))
    assert row.lost == 0
    assert not any(job.error for job in jobs)


def test_sigterm_gives_the_grace_period_and_then_the_job_goes_on_elsewhere(field, note):
    with two_workers(field) as workers:
        saving, has_it = started(field, workers, seconds=8, save=True)
        wait_until(lambda: (field.job(saving).progress or _NONE).done >= 4, "it has worked for 4 s")
        has_it.send_signal(signal.SIGTERM)
        told = time.time()
        wait_until(lambda: field.started(saving, 2), "it goes on elsewhere")
        jobs = field.wait_for_all(60)
        gone, _ = psutil.wait_procs([has_it], timeout=20)
    restart_s = field.started(saving, 2) - told
    row = note(field.row("SIGTERM, the task saves its state", jobs, restart_s))
    assert row.lost == 0
    assert gone
    assert restart_s < patient(4)
    assert [event["event"] for event in jobs[0].story] == ["submitted", "started", "stopped", "started", "succeeded"]
    second = jobs[0].finished_at.timestamp() - field.started(saving, 2)
    assert second < 7.5  # of 8 s: it did not begin again


def test_a_task_that_does_not_look_is_ended_after_the_grace_period(field, note):
    with two_workers(field) as workers:
        job_id, has_it = started(field, workers, seconds=6)
        has_it.send_signal(signal.SIGTERM)
        told = time.time()
        jobs = field.wait_for_all(60)
    restart_s = field.started(job_id, 2) - told
    row = note(field.row("SIGTERM, the task does not look (grace 2 s)", jobs, restart_s))
    assert row.lost == 0
    assert 2 <= restart_s <= 2 + patient(3)
    assert field.hive.redis.hget(f"hive:job:{job_id}", "losses") is None  # a planned stop does not count


class _None:
    done = 0.0


_NONE = _None()


def test_a_job_that_kills_every_worker_is_given_up_after_three(field, note, lease_s):
    with field.supervised(gis=2):
        [killer] = field.submit(crash="worker")
        killed = field.hive.wait(killer, code=1) if lease_s < 10 else _wait_long(field, killer)
        field.ids.remove(killer)
        field.submit(message="the fleet is alive")
        row = note(field.row("a job kills its whole worker, 3 times", field.wait_for_all(60)))
    assert row.lost == 0
    assert killed["error"]["kind"] == "worker-lost"
    assert killed["error"]["message"].startswith("started 3 times and never finished: its worker died")
    assert len([one for one in field.trace() if one[:2] == ("start", killer)]) == 3


def _wait_long(field, job_id):
    wait_until(lambda: field.job(job_id).state.is_final, "it is given up", 120)
    return field.job(job_id).to_json()


def test_a_job_beyond_its_memory_is_ended_with_the_figure(field, note):
    from hive.celery_adapter import send
    from hive.store import JobStore, new_id
    from hive.task import Limits
    from hive.wire.job import Specification

    limits = {"memory": Limits(3, None, 200 << 20), "time": Limits(3, 2.0, None)}
    with field.hive.worker("gis", slots=2, name="w1"):
        bystander = field.submit(gate="g")
        for limit in limits.values():
            asked = Specification(
                "test", "test.probe", "gis", {"seconds": 30.0, "memory": 400 << 20, "trace": "log"}, {}, {}, limit
            )
            job_id = new_id()
            asked = field.session.sender.signed(job_id, asked)
            JobStore(field.hive.redis).create(job_id, asked)
            send(field.hive.settings, make_application(field.hive.settings), job_id, asked)
            wait_until(lambda job_id=job_id: field.job(job_id).state.is_final, "it is ended", 20)
            error = field.job(job_id).error
            assert error["kind"] in ("memory-limit", "time-limit")
            assert "more than its limit of 200 MiB" in error["message"] or "its limit of 2 s" in error["message"]
        field.hive.open_gate("g")
        row = note(field.row("memory and time limits: a bystander on the same worker", field.wait_for_all(30)))
    assert row.lost == 0
    assert field.job(bystander[0]).attempts == 1


def test_a_worker_that_takes_no_jobs_is_replaced(field, note, tmp_path):
    """Its main thread hangs, as after a connection that died without a word; its other threads go on."""
    folder = tmp_path / "hang"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import pathlib, signal, time\nhangs = pathlib.Path({str(tmp_path / 'hangs')!r})\n"
        "signal.signal(signal.SIGWINCH, lambda *_: (hangs.touch(), time.sleep(600)))\n"
    )
    field.hive.environment |= {"HIVE_LEASE_S": "2", "PYTHONPATH": str(folder)}
    with field.supervised(gis=1):
        [first] = field.submit()
        field.wait_for_all(30)
        hung = field.hive.json("workers")[0]["pid"]
        psutil.Process(hung).send_signal(signal.SIGWINCH)
        wait_until((tmp_path / "hangs").exists, "its main thread hangs")
        field.submit()
        jobs = field.wait_for_all(40)
        assert field.hive.json("workers")[0]["pid"] != hung
    row = note(field.row("a worker hangs and takes no jobs", jobs))
    assert row.lost == 0
    assert field.job(first).attempts == 1


def test_a_job_given_to_a_process_that_never_starts_it_is_given_to_another(field, note):
    """Celery hands a message to a process of its pool, and keeps it for as long as that process lives."""
    with field.hive.worker("gis", slots=2, name="w1") as worker:
        field.submit(2)
        field.wait_for_all(30)  # the pool is at work
        frozen = worker.children()[-1]
        frozen.suspend()
        field.submit(8, seconds=0.1)
        jobs = field.wait_for_all(10 * field.lease_s)
        frozen.kill()
    row = note(field.row("a process of the pool hangs before its job starts", jobs))
    assert (row.lost, row.finished_twice) == (0, 0)


def test_a_job_whose_process_is_killed_each_time_is_given_up_with_the_reason(field, note):
    """As the kernel does it to a process that takes too much memory."""
    with field.hive.worker("gis", slots=2, name="w1"):
        bystander = field.submit(gate="g")
        [killed] = field.submit(crash="child", memory=200 << 20)
        wait_until(lambda: field.job(killed).state.is_final, "it is given up", 60)
        error = field.job(killed).error
        field.ids.remove(killed)
        field.hive.open_gate("g")
        row = note(field.row("a job's process is killed 3 times: a bystander", field.wait_for_all(30)))
    assert row.lost == 0
    assert field.job(bystander[0]).attempts == 1
    assert error["kind"] == "worker-lost"
    assert error["message"].startswith(
        "started 3 times and never finished: its process was ended by signal 9 (SIGKILL)"
    )
    assert "the last worker was w1@test" in error["message"]
    assert len([one for one in field.trace() if one[:2] == ("start", killed)]) == 3

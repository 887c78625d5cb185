"""Nothing lost: jobs of this laptop survive a Redis that is away, and one that comes back empty."""

import re
import shutil
import signal
import sqlite3
import subprocess
import threading
from contextlib import contextmanager

import psutil
import pytest
from hive_workers.test.probe import probe

import hive.celery_adapter
from hive.client import Observer, Session, make_request
from hive.client.send import Sender
from hive.client.wait import watch
from hive.errors import UnreachableError
from hive.home import running_pid
from tests.patience import patient
from tests.support import Hive, wait_until

pytestmark = pytest.mark.wire


def kill_redis(hive):
    process = psutil.Process(running_pid(hive.settings))
    process.kill()
    psutil.wait_procs([process], timeout=5)


def wipe(hive):
    """Take away everything that Redis knows, as a lost disk does."""
    hive.run("down")
    shutil.rmtree(hive.home / "redis" / "appendonlydir")


def submit_many(hive, count):
    session = Session(hive.settings)
    return [session.submit(make_request(probe, {"message": str(number)})) for number in range(count)]


@contextmanager
def running(hive, *arguments):
    """Run `hive` beside the test, until the block ends."""
    process = subprocess.Popen(
        hive.command(*arguments), env=hive.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def newest(hive):
    """The id of the newest job, once there is one."""
    return wait_until(lambda: hive.json("jobs", "--limit", "1"), "a job is there")[0]["id"]


class Told(Observer):
    """Notes what it is told of the broker."""

    def __init__(self):
        self.words = []

    def away(self):
        self.words.append("away")

    def back(self):
        self.words.append("back")


def test_jobs_that_redis_has_lost_are_sent_again_and_run(hive_up):
    sent = submit_many(hive_up, 8)
    wipe(hive_up)
    assert "8 jobs of this laptop were missing in Redis and are sent again" in hive_up.run("up", "--redis-only").stderr
    assert {job["id"] for job in hive_up.json("jobs")} == set(sent)
    with hive_up.worker("gis"):
        assert [hive_up.wait(job_id, code=0)["measures"]["message"] for job_id in sent[:3]] == ["0", "1", "2"]
        for job_id in sent:
            wait_until(lambda one=job_id: hive_up.record(one)["state"] == "succeeded", "it has run")
    assert [hive_up.record(job_id)["attempts"] for job_id in sent] == [1] * 8


def test_what_had_ended_before_is_not_run_again(hive_up, tmp_path):
    with hive_up.worker("gis"):
        hive_up.run("submit", "test")
        hive_up.run("submit", "test", "--fail", code=1)
        hive_up.run("submit", "test", tmp_path / "fetched.bin", "--output-bytes", "10")
        hive_up.wait(hive_up.submit("test"), code=0)
    waiting = hive_up.submit("test")
    wipe(hive_up)
    assert hive_up.json("up", "--redis-only")["sent_again"] == [waiting]
    assert [job["id"] for job in hive_up.json("jobs")] == [waiting]


def test_a_job_that_ended_while_nobody_looked_is_noted_by_up(hive_up):
    with hive_up.worker("gis"):
        job_id = hive_up.submit("test")
        wait_until(lambda: hive_up.redis.hget(f"hive:job:{job_id}", "state") == "succeeded", "it has ended")
    assert hive_up.json("up", "--redis-only")["sent_again"] == []
    wipe(hive_up)
    assert hive_up.json("up", "--redis-only")["sent_again"] == []


def test_a_result_that_was_not_fetched_is_made_again(hive_up, tmp_path):
    with hive_up.worker("gis"):
        job_id = hive_up.submit("test", tmp_path / "out.bin", "--output-bytes", "10")
        hive_up.wait(job_id, code=0)
        wipe(hive_up)
        assert hive_up.json("up", "--redis-only")["sent_again"] == [job_id]
        hive_up.wait(job_id, code=0)
        hive_up.run("fetch", job_id)
    assert (tmp_path / "out.bin").stat().st_size == 10


def test_jobs_are_not_sent_to_a_broker_that_never_had_them(hive_up, tmp_path_factory):
    submit_many(hive_up, 2)
    other = Hive(tmp_path_factory.mktemp("other"))
    with other.up():
        elsewhere = Hive(hive_up.home, HIVE_BROKER_URL=other.settings.broker_url)
        assert Session(elsewhere.settings).send_missing() == []
        assert other.json("jobs") == []


def test_two_that_bring_jobs_back_at_once_send_each_one_once(hive_up):
    sent = submit_many(hive_up, 8)
    hive_up.redis.flushall()
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(Session(hive_up.settings).send_missing())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(sent)
    assert hive_up.redis.llen("test\x06\x163") == 8


def test_a_waiting_submit_survives_a_redis_that_comes_back_empty(hive_up):
    with hive_up.worker("gis"), running(hive_up, "submit", "test", "--gate", "x", "--json") as waiting:
        job_id = newest(hive_up)
        kill_redis(hive_up)
        shutil.rmtree(hive_up.home / "redis" / "appendonlydir")
        hive_up.run("up", "--redis-only")
        hive_up.open_gate("x")
        output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    assert f'"id": "{job_id}"' in output


def test_a_job_that_vanishes_under_a_waiting_submit_is_sent_again_by_it(hive_up):
    with running(hive_up, "submit", "test", "--json") as waiting:
        job_id = newest(hive_up)
        hive_up.redis.flushall()
        wait_until(lambda: hive_up.redis.exists(f"hive:job:{job_id}"), "the job is back")
        with hive_up.worker("gis"):
            _, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors


def test_a_waiting_submit_outlasts_a_redis_that_is_killed(hive_up):
    with hive_up.worker("gis"), running(hive_up, "submit", "test", "--gate", "x", "--json") as waiting:
        job_id = newest(hive_up)
        kill_redis(hive_up)
        hive_up.run("up", "--redis-only")
        hive_up.open_gate("x")
        output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    assert f'"id": "{job_id}"' in output
    assert '"attempts": 1' in output


def test_an_outage_is_told_once_and_so_is_its_end(hive_up):
    [job_id] = submit_many(hive_up, 1)
    told, ended = Told(), []
    waiting = threading.Thread(target=lambda: ended.append(watch(Session(hive_up.settings), job_id, told)))
    waiting.start()
    kill_redis(hive_up)
    wait_until(lambda: told.words == ["away"], "the outage is told")
    hive_up.run("up", "--redis-only")
    wait_until(lambda: told.words == ["away", "back"], "its end is told")
    with hive_up.worker("gis"):
        waiting.join(timeout=patient(30))
    assert [job.state for job in ended] == ["succeeded"]
    assert told.words == ["away", "back"]


def test_ctrl_c_while_the_broker_is_away_says_how_to_come_back(hive_up):
    with running(hive_up, "submit", "test") as waiting:
        job_id = newest(hive_up)
        wait_until(lambda: "No worker serves" in waiting.stderr.readline(), "it waits")
        kill_redis(hive_up)
        waiting.send_signal(signal.SIGINT)
        _, errors = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert re.search(rf"The job {job_id[:8]} goes on. Come back to it: hive wait {job_id[:8]}\n", errors), errors
    assert "Traceback" not in errors


def test_waiting_no_longer_than_asked_holds_in_an_outage_too(hive_up):
    [job_id] = submit_many(hive_up, 1)
    session = Session(hive_up.settings)
    with running(hive_up, "wait", job_id, "--timeout", "3") as waiting:
        wait_until(lambda: "No worker serves" in waiting.stderr.readline(), "it waits")
        kill_redis(hive_up)
        _, errors = waiting.communicate(timeout=20)
    assert waiting.returncode == 1
    assert "is still queued" in errors
    with pytest.raises(UnreachableError, match="does not answer"):
        watch(session, job_id, timeout_s=0.2)


def test_submit_in_an_outage_is_exit_code_4_and_leaves_nothing_half_sent(hive_up):
    hive_up.submit("test")
    kill_redis(hive_up)
    assert "does not answer. Start it: hive up." in hive_up.run("submit", "test", code=4).stderr
    assert hive_up.json("up", "--redis-only")["sent_again"] == []
    assert len(hive_up.json("jobs")) == 1


def test_a_wrong_password_is_not_waited_for(hive_up):
    [job_id] = submit_many(hive_up, 1)
    session = Session(hive_up.settings)
    hive_up.redis.execute_command("ACL", "SETUSER", "submitter", "resetpass", ">another")
    session.broker.connection_pool.disconnect()
    with pytest.raises(UnreachableError, match="refuses access"):
        watch(session, job_id)


def test_a_broker_that_goes_away_between_record_and_message_has_the_job(hive_up, monkeypatch):
    session = Session(hive_up.settings)
    request = make_request(probe, {})

    def die(*_):
        kill_redis(hive_up)
        raise UnreachableError("The broker does not answer.")

    monkeypatch.setattr(hive.celery_adapter, "send", die)
    job_id = session.submit(request)
    hive_up.run("up", "--redis-only")
    with hive_up.worker("gis", HIVE_LEASE_S="2"):
        assert hive_up.wait(job_id, code=0)["attempts"] == 1


def test_a_message_that_is_refused_takes_its_record_back(hive_up, monkeypatch):
    session = Session(hive_up.settings)

    def refuse(*_):
        raise UnreachableError("The broker refuses access.")

    monkeypatch.setattr(Sender, "send_message", refuse)
    with pytest.raises(UnreachableError, match="refuses"):
        session.submit(make_request(probe, {}))
    assert hive_up.json("jobs") == []
    assert hive_up.json("up", "--redis-only")["sent_again"] == []


@pytest.mark.parametrize("trouble", ["damaged", "locked"])
def test_a_ledger_that_cannot_be_used_is_one_sentence_and_stops_only_what_needs_it(hive_up, trouble):
    job_id = hive_up.submit("test")
    file = hive_up.home / "ledger.sqlite3"
    holder = sqlite3.connect(file)
    if trouble == "locked":
        holder.execute("BEGIN EXCLUSIVE")
    else:
        file.write_bytes(b"not a database " * 1000)
    said = hive_up.run("submit", "test", code=1).stderr
    assert said.startswith(f"hive: The ledger of submitted jobs, {file}, cannot be used: ")
    assert len(said.splitlines()) == 1
    assert [job["id"] for job in hive_up.json("jobs")] == [job_id]
    up = hive_up.run("up", "--redis-only").stderr
    assert ("cannot be used" in up) == (trouble == "damaged")  # a locked list can still be read
    holder.close()

"""What a job's message is: that of Celery, whether one is sent or thousands."""

import base64
import gc
import json
import subprocess

import pytest

from hive.celery_adapter import MessageWriter, make_application, open_writer, queue_lists, send
from hive.client.send import Sender
from hive.errors import UnreachableError
from hive.store import JobStore, new_id
from hive.store.jobs import BATCH
from hive.task import Limits
from hive.wire.job import Priority, Specification
from tests.support import BIN, wait_until

pytestmark = pytest.mark.wire


def asked(message="", queue="test", priority=Priority.NORMAL):
    parameters = {"message": message, "seconds": 0.0}
    return Specification("test", "test.probe", queue, parameters, {}, {}, Limits(attempts=3), priority)


def send_many(hive, jobs):
    with open_writer(hive.settings, make_application(hive.settings)) as writer:
        writer.push([writer.encode(*job) for job in jobs])


def raw(hive, queue="test"):
    """The messages of a queue, those that go first in front."""
    return [json.loads(one) for name in queue_lists(queue) for one in reversed(hive.redis.lrange(name, 0, -1))]


def decoded(message):
    """A message as its reader sees it; the tag of the delivery is another one each time."""
    del message["properties"]["delivery_tag"]
    return message | {"body": json.loads(base64.b64decode(message["body"]))}


def test_a_message_is_the_same_whether_it_is_sent_alone_or_with_many(hive_up):
    send(hive_up.settings, make_application(hive_up.settings), "a", asked("héllo"))
    send_many(hive_up, [("a", asked("héllo")), ("b", asked())])
    alone, with_many, _ = map(decoded, raw(hive_up))
    assert alone == with_many
    assert (alone["headers"]["id"], alone["headers"]["task"]) == ("a", "test.probe")
    assert alone["body"][:1] == [["a"]]
    assert alone["body"][1]["parameters"] == {"message": "héllo", "seconds": 0.0}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # celery leaves a socket open here
def test_it_is_the_message_that_celery_itself_would_send(hive_up):
    application = make_application(hive_up.settings)
    send(hive_up.settings, application, "a", asked("x"))
    [own] = map(decoded, raw(hive_up))
    with application.connection_for_write() as connection:
        application.send_task(
            "test.probe",
            args=("a",),
            kwargs=own["body"][1],
            task_id="a",
            queue="test",
            priority=3,
            connection=connection,
            ignore_result=True,
        )
    del application
    gc.collect()
    [_, celerys] = map(decoded, raw(hive_up))
    own["properties"].pop("reply_to"), celerys["properties"].pop("reply_to")  # where a result would go; there is none
    own["headers"].pop("kwargsrepr"), celerys["headers"].pop("kwargsrepr")  # words for people
    assert own == celerys


def test_each_priority_goes_to_its_list_and_the_order_is_kept(hive_up):
    jobs = [(f"{level}{number}", asked(priority=Priority(level))) for number in range(3) for level in ("low", "high")]
    send_many(hive_up, jobs)
    assert [message["headers"]["id"] for message in raw(hive_up)] == ["high0", "high1", "high2", "low0", "low1", "low2"]


def test_flower_is_told_of_one_job_when_it_is_sent_and_of_many_when_they_arrive(hive_up):
    with hive_up.redis.pubsub(ignore_subscribe_messages=True) as events:
        events.psubscribe("*celeryev*")
        events.get_message(timeout=5)
        send_many(hive_up, [("a", asked())])
        send(hive_up.settings, make_application(hive_up.settings), "b", asked())
        told = wait_until(lambda: events.get_message(timeout=1), "the event")
    event = json.loads(base64.b64decode(json.loads(told["data"])["body"]))
    assert (event["type"], event["uuid"], event["name"], event["queue"]) == ("task-sent", "b", "test.probe", "test")


def test_many_jobs_get_records_in_their_order_and_no_id_twice(hive_up):
    store = JobStore(hive_up.redis)
    jobs = [(new_id(), asked()) for _ in range(BATCH + 10)]
    ids = [job_id for job_id, _ in jobs]
    assert store.create_many(jobs[:3]) == ids[:3]
    assert store.create_many(jobs) == ids[3:]
    assert hive_up.redis.zrange("hive:jobs", 0, -1) == ids
    assert hive_up.redis.zrange("hive:waiting:test", 0, -1) == ids
    assert store.get(ids[5]).specification == asked()


def test_celerys_own_worker_runs_what_was_sent_as_a_batch(hive_up):
    sender = Sender(hive_up.settings, JobStore(hive_up.redis))
    jobs = [(new_id(), asked(str(number), priority=priority)) for number, priority in enumerate(Priority)]
    assert sorted(sender.send_many(jobs)) == sorted(job_id for job_id, _ in jobs)
    with hive_up.worker("gis"):
        assert [hive_up.wait(job_id, code=0)["measures"]["message"] for job_id, _ in jobs] == ["0", "1", "2"]


def test_records_whose_messages_are_refused_are_taken_back(hive_up, monkeypatch):
    def refuse(*_):
        raise UnreachableError("The broker refuses access.")

    sender = Sender(hive_up.settings, JobStore(hive_up.redis))
    monkeypatch.setattr(MessageWriter, "push", refuse)
    with pytest.raises(UnreachableError, match="refuses"):
        sender.send_many([(new_id(), asked()) for _ in range(3)])
    assert hive_up.json("jobs") == []


def test_a_process_that_has_used_celery_for_something_else_can_send_too(hive_up, tmp_path):
    script = """
        from celery import Celery
        from hive.client import Session, make_request
        from hive.settings import load_settings
        from hive_workers.test.probe import probe
        session = Session(load_settings())
        with Celery(broker=session.settings.broker_url).connection_for_write() as connection:
            connection.default_channel
        print(session.submit(make_request(probe, {})))
    """
    ended = hive_up.python(script, tmp_path)
    assert hive_up.json("jobs")[0]["id"] == ended.stdout.strip(), ended.stderr


def test_celery_can_read_the_messages_of_a_queue(hive_up):
    send_many(hive_up, [(new_id(), asked()) for _ in range(3)])
    purged = subprocess.run(
        [BIN / "celery", "-A", "hive", "purge", "-f", "-Q", "test"],
        env=hive_up.environment,
        cwd=hive_up.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Purged 3 messages" in purged.stdout, purged.stderr

"""Messages that nobody may send, put into the queue of a real worker: none of them runs anything."""

import base64
import json
import pickle

import pytest

from hive.celery_adapter import make_application, open_writer
from hive.client import Session
from hive.store import JobStore, new_id
from hive.task import Limits
from hive.wire.job import Priority, Specification
from hive.wire.signing import Signer
from tests.support import Hive, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Redis and a worker that may leave traces, where anything ran that should not."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up(), hive.worker("gis", HIVE_TRACE_DIR=str(hive.home), HIVE_LEASE_S="60"):
        yield hive


@pytest.fixture
def job(mac):
    """A job of this laptop that waits where nobody takes it: its id, and what was signed."""
    job_id, session = new_id(), Session(mac.settings)
    asked = Specification("test", "test.probe", "nobody", {"trace": "ran"}, {}, {}, Limits(attempts=3), Priority.HIGH)
    signed = session.sender.signed(job_id, asked)
    JobStore(mac.redis).create(job_id, signed)
    return job_id, signed


def message(mac, job_id, asked):
    """The message that Hive would send, as JSON."""
    with open_writer(mac.settings, make_application(mac.settings)) as writer:
        _, text = writer.encode(job_id, asked)
    return json.loads(text)


def put(mac, found):
    mac.redis.lpush("gis", json.dumps(found))


def changed(found, **more):
    """A message with other arguments."""
    args, kwargs, rest = json.loads(base64.b64decode(found["body"]))
    body = json.dumps([args, kwargs | more, rest]).encode()
    return found | {"body": base64.b64encode(body).decode()}


def refused(mac, job_id, words, before, log_before):
    """Whether the worker says so, goes on with the next job, and has touched neither the record nor its disk."""
    wait_until(lambda: words in log(mac)[log_before:], f"the worker says {words!r}")
    assert mac.wait(mac.submit("test", "--queue", "gis"), code=0)["state"] == "succeeded"
    return mac.redis.hgetall(f"hive:job:{job_id}") == before and not (mac.home / "ran").exists()


def log(mac):
    return (mac.home / "w1.log").read_text()


def try_out(mac, attack, name, job, found, words="is refused and dropped"):
    before, so_far = mac.redis.hgetall(f"hive:job:{job[0]}"), len(log(mac))
    put(mac, found)
    assert attack(name, lambda: refused(mac, job[0], words, before, so_far))


def test_an_unsigned_message_is_dropped(mac, attack, job):
    found = message(mac, job[0], job[1])
    try_out(mac, attack, "an unsigned message", job, changed(found, signature=""))


@pytest.mark.parametrize(
    "change",
    [{"parameters": {"trace": "ran", "message": "x"}}, {"outputs": {"data": "x"}}, {"parent": "x"}, {"limits": {}}],
)
def test_an_altered_message_is_dropped(mac, attack, job, change):
    try_out(mac, attack, "an altered message", job, changed(message(mac, *job), **change))


def test_a_signature_of_another_job_is_worth_nothing(mac, attack, job):
    other = Session(mac.settings).sender.signed(new_id(), job[1])
    try_out(mac, attack, "the signature of another job", job, message(mac, job[0], other))


def test_a_stranger_may_sign_as_much_as_they_like(mac, attack, job, tmp_path):
    forged = job[1].signed(job[0], Signer(tmp_path / "stranger.key"))
    try_out(mac, attack, "a message signed with a foreign key", job, message(mac, job[0], forged))


def test_a_worker_may_not_send_jobs(mac, attack, job):
    """With the key of a real worker, which is good for parts only."""
    forged = job[1].signed(job[0], Signer(mac.home / "access" / "worker.key"))
    try_out(mac, attack, "a message signed by a worker", job, message(mac, job[0], forged))


class Trap:
    def __reduce__(self):
        return open, ("ran", "w")


def test_a_pickle_is_never_opened(mac, attack, job):
    found = message(mac, *job)
    body = base64.b64encode(pickle.dumps([[job[0]], {"x": Trap()}, {}])).decode()
    found |= {"body": body, "content-type": "application/x-python-serialize", "content-encoding": "binary"}
    try_out(mac, attack, "a pickle message", job, found, "application/x-python-serialize")


@pytest.mark.parametrize("task", ["os.system", "celery.map", "celery.chain", "celery.backend_cleanup", "gis.no_such"])
def test_an_undeclared_task_is_not_known(mac, attack, job, task):
    found = message(mac, *job)
    found["headers"]["task"] = task
    try_out(mac, attack, "an undeclared task", job, found, f"unregistered task of type '{task}'")

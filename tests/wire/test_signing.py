"""Signed jobs: what is signed runs, and what is not, altered, or signed with a foreign key does not."""

import json

import pytest

from hive.celery_adapter import make_application, open_writer
from hive.client import Session
from hive.store import JobStore, new_id
from hive.task import Limits
from hive.wire.job import Specification
from hive.wire.signing import Signer, Trust, statement
from tests.support import wait_until

pytestmark = pytest.mark.wire
TASK = "test.probe"


def asked(message="signed", **more):
    parameters = {"message": message, "seconds": 0.0}
    return Specification("test", TASK, "gis", parameters, {}, {}, Limits(attempts=3), **more)


@pytest.fixture
def signers(tmp_path):
    """A key that is trusted, one that is not, and one of a worker for gis that the first vouches for."""
    trusted, stranger = Signer(tmp_path / "a.key"), Signer(tmp_path / "b.key")
    trusted.make_worker_key(tmp_path / "w.key", ["gis"])
    (tmp_path / "trusted.json").write_text(json.dumps({"submitter": trusted.public}))
    return trusted, stranger, Signer(tmp_path / "w.key"), Trust(tmp_path / "trusted.json")


def test_a_signature_is_of_one_job_one_task_and_all_that_is_asked(signers):
    trusted, _, _, trust = signers
    told = asked().message
    signature = trusted.sign(statement("a", TASK, told))
    assert trust.refusal("a", TASK, json.loads(json.dumps(told)), signature) == ""
    for job_id, task, what in (
        ("b", TASK, told),
        ("a", "gis.dtm", told),
        ("a", TASK, told | {"parent": "x"}),
        ("a", TASK, told | {"outputs": {"x": "y"}}),
        ("a", TASK, told | {"limits": {}}),
    ):
        assert trust.refusal(job_id, task, what, signature) == "its signature is wrong"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 500])
def test_many_jobs_are_signed_together_and_each_is_believed_alone(signers, count):
    trusted, _, _, trust = signers
    jobs = [(f"{number}", asked(f"of {number}")) for number in range(count)]
    signed = Specification.all_signed(jobs, trusted)
    assert [trust.refusal(job_id, TASK, one.message, one.signature) for job_id, one in signed] == [""] * count
    assert len({one.signature.partition(".")[0] for _, one in signed}) == 1
    assert trust.refusal("0", TASK, asked("another").message, signed[0][1].signature) == "its signature is wrong"


@pytest.mark.parametrize(
    "signature", ["", None, 7, [], ".", "...", "a.b.c.d.e", "ä.ö.ü", "A" * 86 + ".." + "A" * 43, "A.AA.A", "." * 9]
)
def test_what_is_no_signature_is_refused(signers, signature):
    assert signers[3].refusal("a", TASK, asked().message, signature)


@pytest.mark.parametrize("job_id", [None, 1, ["a"], {}])
def test_what_is_no_job_is_refused(signers, job_id):
    assert signers[3].refusal(job_id, TASK, {}, signers[0].sign(b"x")) == "it is not signed"


def test_a_worker_may_ask_for_parts_of_its_own_capabilities_only(signers):
    _, stranger, worker, trust = signers
    part = asked(parent="whole").message

    def refusal(signer, task, told):
        return trust.refusal("a", task, told, signer.sign(statement("a", task, told)))

    assert refusal(worker, "gis.dtm_tile", part) == ""
    assert "parts of their own capabilities only" in refusal(worker, "gis.dtm_tile", asked().message)
    assert "parts of their own capabilities only" in refusal(worker, "training.fit", part)
    assert "not in" in refusal(stranger, "gis.dtm_tile", part)


def test_a_worker_cannot_widen_what_it_may_ask_for(signers, tmp_path):
    _trusted, stranger, _, trust = signers
    part = asked(parent="whole").message
    stranger.make_worker_key(tmp_path / "forged.key", ["*"])
    Signer(tmp_path / "w.key").make_worker_key(tmp_path / "child.key", ["gis"])
    for file in ("forged.key", "child.key"):
        signature = Signer(tmp_path / file).sign(statement("a", "gis.dtm", part))
        assert "not in" in trust.refusal("a", "gis.dtm", part, signature)


def test_a_signed_specification_is_written_and_read_as_it_is(signers):
    signed = asked("hé\n").signed("a", signers[0])
    again = Specification.from_json(signed.to_json())
    assert (again, again.signature, again.message) == (signed, signed.signature, signed.message)
    assert json.loads(signed.to_json()) == json.loads(asked("hé\n").to_json()) | {"signature": signed.signature}


def put(hive, job_id, what, queue="gis"):
    application = make_application(hive.settings)
    with open_writer(hive.settings, application) as writer:
        writer.push([writer.encode(job_id, what)])


def test_a_forged_message_never_runs_and_leaves_the_job_as_it_is(hive_up):
    """The real job waits; forged messages of the same id come first, and are dropped."""
    session = Session(hive_up.settings)
    job_id = new_id()
    true = session.sender.signed(job_id, asked("true"))
    JobStore(hive_up.redis).create(job_id, true)
    stranger = Signer(hive_up.home / "stranger.key")
    forged = [asked("forged"), asked("forged").signed(job_id, stranger)]
    for one in forged:
        put(hive_up, job_id, one)
    before = hive_up.redis.hgetall(f"hive:job:{job_id}")
    with hive_up.worker("gis", slots=1, HIVE_LEASE_S="60"):
        log = hive_up.home / "w1.log"
        wait_until(lambda: log.read_text().count("is refused and dropped") == 2, "both are refused")
        assert hive_up.redis.hgetall(f"hive:job:{job_id}") == before
        put(hive_up, job_id, true)
        job = hive_up.wait(job_id, code=0)
    assert (job["measures"]["message"], job["attempts"]) == ("true", 1)


def test_what_was_signed_is_sent_again_unchanged_when_its_message_is_lost(hive_up):
    hive_up.environment |= {"HIVE_LEASE_S": "2"}
    job_id = hive_up.submit("test", "--queue", "gis", "--message", "again")
    hive_up.redis.delete("gis", "gis\x06\x163")
    with hive_up.worker("gis"):
        assert hive_up.wait(job_id, code=0)["measures"]["message"] == "again"


def test_a_job_that_was_changed_in_redis_is_not_run(hive_up):
    hive_up.environment |= {"HIVE_LEASE_S": "2"}
    job_id = hive_up.submit("test", "--queue", "gis", "--message", "mine")
    key = f"hive:job:{job_id}"
    hive_up.redis.hset(key, "specification", hive_up.redis.hget(key, "specification").replace("mine", "theirs"))
    hive_up.redis.delete("gis", "gis\x06\x163")
    with hive_up.worker("gis"):
        log = hive_up.home / "w1.log"
        wait_until(lambda: "its signature is wrong" in log.read_text(), "it is refused")
        assert hive_up.record(job_id)["state"] == "queued"

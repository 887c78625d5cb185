"""Cancel, retry, priority and why: a job can be stopped, run again, sent first, and asked what it waits for."""

import textwrap
import time

import psutil
import pytest

from hive.client import Session
from hive.errors import UnreachableError
from tests.patience import patient
from tests.support import Hive, wait_until
from tests.wire.test_ledger import wipe

pytestmark = pytest.mark.wire
# The promise: a cancelled job is gone within this time.
GONE_S = 5.0


def state(hive, job_id):
    return hive.json("show", job_id)["state"]


def events(hive, job_id):
    return [event["event"] for event in hive.json("show", job_id)["story"]]


def run_until(hive, job_id, wanted="running"):
    wait_until(lambda: state(hive, job_id) == wanted, f"{job_id} is {wanted}")


@pytest.fixture
def family(tmp_path):
    """A Hive with a capability whose task starts a program that starts another one and waits for it."""
    folder = tmp_path / "packages"
    information = folder / "hive_family-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hive-family\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[hive.capabilities]\nfamily = hive_family:family\n")
    (folder / "hive_family").mkdir()
    (folder / "hive_family" / "__init__.py").write_text(
        '"""Families."""\nfrom hive.task import Capability\nfamily = Capability("family", "Raise families.")\n'
    )
    (folder / "hive_family" / "brood.py").write_text(
        textwrap.dedent('''
            """Raising a family."""

            import subprocess

            from hive.task import AnyInput
            from hive_family import family


            @family.task
            def brood(file: AnyInput) -> None:
                """Start a shell that starts a child, and wait."""
                subprocess.run(["sh", "-c", "sleep 600 & sleep 600; true"], check=True)
        ''')
    )
    hive = Hive(tmp_path / "home", PYTHONPATH=str(folder))
    with hive.up():
        yield hive


def test_a_cancelled_job_that_waits_never_runs(hive_up, tmp_path):
    cancelled = hive_up.submit("test", "--trace", "log")
    assert hive_up.run("cancel", cancelled[:8]).stdout == f"job {cancelled[:8]} cancelled; it was not running\n"
    with hive_up.worker("gis", slots=1, HIVE_TRACE_DIR=str(tmp_path)):
        after = hive_up.wait(hive_up.submit("test", "--trace", "log"), code=0)["id"]
    assert {line.split()[1] for line in (tmp_path / "log").read_text().splitlines()} == {after}
    assert events(hive_up, cancelled) == ["submitted", "cancelled"]
    assert hive_up.wait(cancelled, code=1)["error"] == {"kind": "cancelled", "message": "It was cancelled."}


def test_a_running_job_is_gone_with_its_whole_process_tree_and_its_scratch_folder(family, tmp_path):
    (tmp_path / "in.txt").write_text("x")
    with family.worker("family", slots=1) as worker:
        job_id = family.submit("family", "brood", tmp_path / "in.txt")
        wait_until(lambda: sum(one.name() == "sleep" for one in worker.children(recursive=True)) == 2, "all are born")
        tree = [one for one in worker.children(recursive=True) if one.name() in ("sh", "sleep")]
        [child] = worker.children()
        assert list((family.settings.cache / "scratch").iterdir()) != []
        asked = time.monotonic()
        assert "w1@test ends its processes now" in family.run("cancel", job_id).stdout
        wait_until(lambda: all(has_ended(one) for one in (*tree, child)), "the tree is gone", GONE_S)
        wait_until(lambda: not list((family.settings.cache / "scratch").iterdir()), "the scratch is gone", GONE_S)
        assert time.monotonic() - asked < patient(GONE_S)
        family.wait(family.submit("test"), code=0)  # the worker goes on
    assert events(family, job_id) == ["submitted", "started", "cancelled"]


def has_ended(process):
    """Whether a process runs no more; Celery may take some seconds to clear away one that has ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_memory_of_a_cancelled_job_is_free_again(hive_up):
    with hive_up.worker("gis", slots=1) as worker:
        job_id = hive_up.submit("test", "--seconds", "60", "--memory", "300MiB")
        wait_until(lambda: memory(worker) > 300 << 20, "memory is held")
        hive_up.run("cancel", job_id)
        wait_until(lambda: memory(worker) < 300 << 20, "memory is free", GONE_S)


def memory(worker):
    total = 0
    for child in worker.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total


def test_a_job_that_has_ended_cannot_be_cancelled(farm):
    job_id = farm.json("submit", "test")["id"]
    said = farm.run("cancel", job_id, code=1).stderr
    assert said == f"hive: The job {job_id[:8]} is succeeded already; there is nothing to cancel.\n"
    assert state(farm, job_id) == "succeeded"


@pytest.mark.parametrize("command", ["cancel", "retry", "why"])
def test_an_unknown_job_is_exit_code_3(farm, command):
    assert "There is no job 'zzz'" in farm.run(command, "zzz", code=3).stderr


def test_cancel_prints_the_job_as_json(farm):
    job = farm.json("cancel", farm.submit("test", "--seconds", "60"))
    assert (job["state"], job["error"]["kind"]) == ("cancelled", "cancelled")


def test_a_failed_job_runs_again_under_its_id(farm):
    job_id = farm.json("submit", "test", "--fail", code=1)["id"]
    again = farm.json("retry", job_id, code=1)
    assert (again["id"], again["state"], again["attempts"]) == (job_id, "failed", 2)
    assert events(farm, job_id)[3:] == ["retried", "started", "failed"]


def test_a_cancelled_job_that_is_retried_brings_its_files_where_they_were_wanted(hive_up, tmp_path):
    job_id = hive_up.submit("test", tmp_path / "out.bin", "--output-bytes", "1000")
    hive_up.run("cancel", job_id)
    with hive_up.worker("gis"):
        said = hive_up.run("retry", job_id, cwd=tmp_path)
    assert "wrote out.bin" in said.stderr
    assert (tmp_path / "out.bin").stat().st_size == 1000


def test_a_retry_may_be_detached(farm):
    job_id = farm.json("submit", "test", "--fail", code=1)["id"]
    assert farm.run("retry", job_id, "--detach").stdout == f"{job_id}\n"
    assert farm.wait(job_id, code=1)["attempts"] == 2


def test_a_job_that_has_not_failed_cannot_be_retried(farm):
    done, running = farm.json("submit", "test")["id"], farm.submit("test", "--seconds", "60")
    run_until(farm, running)
    for job_id, word in ((done, "succeeded"), (running, "running")):
        said = farm.run("retry", job_id, code=1).stderr
        assert said == f"hive: The job {job_id[:8]} is {word}; only a failed or cancelled one can be run again.\n"
    farm.run("cancel", running)


def test_a_cancelled_job_stays_cancelled_and_a_retried_one_comes_back_when_redis_was_wiped(hive_up):
    cancelled, retried = hive_up.submit("test"), hive_up.submit("test")
    for job_id in (cancelled, retried):
        hive_up.run("cancel", job_id)
    hive_up.run("retry", retried, "--detach")
    wipe(hive_up)
    assert hive_up.json("up", "--redis-only")["sent_again"] == [retried]


def test_a_job_is_cancelled_though_the_ledger_is_damaged(hive_up):
    job_id = hive_up.submit("test")
    (hive_up.home / "ledger.sqlite3").write_bytes(b"not a database " * 1000)
    assert hive_up.json("cancel", job_id)["state"] == "cancelled"


def test_a_retry_whose_message_is_not_sent_is_sent_by_a_worker(hive_up, monkeypatch):
    job_id = hive_up.submit("test")
    hive_up.run("cancel", job_id)
    session = Session(hive_up.settings)

    def fail(*_):
        raise UnreachableError("The broker does not answer.")

    monkeypatch.setattr(session.sender, "send_message", fail)
    hive_up.redis.delete("test")  # the message of the first time
    with pytest.raises(UnreachableError, match="is queued again, but the broker became unreachable"):
        session.retry(session.find(job_id))
    with hive_up.worker("gis", HIVE_LEASE_S="2"):
        assert hive_up.wait(job_id, code=0)["attempts"] == 1


def test_high_goes_before_normal_and_low_comes_last(hive_up):
    with hive_up.worker("gis", slots=1):
        busy = hive_up.submit("test", "--seconds", "60")
        run_until(hive_up, busy)
        sent = [hive_up.submit("test", *more) for more in ((), ("--priority", "low"), ("--priority", "normal"))]
        last = hive_up.run("submit", "--type", "test", "--priority", "high", "--detach").stdout.strip()
        hive_up.run("cancel", busy)
        jobs = [hive_up.wait(job_id, code=0) for job_id in (*sent, last)]
    order = [job["priority"] for job in sorted(jobs, key=lambda job: job["started_at"])]
    assert order == ["high", "normal", "normal", "low"]


@pytest.mark.parametrize("arguments", [["submit", "test"], ["submit", "--type", "test"]])
def test_a_priority_that_is_none_is_refused_in_one_sentence(hive, arguments):
    ended = hive.run(*arguments, "--priority", "urgent", code=2)
    assert ended.stderr == "hive: The priority must be low, normal or high, not 'urgent'.\n"


def test_a_priority_before_the_task_is_refused(hive):
    assert "behind the task" in hive.run("submit", "--priority", "high", "test", code=2).stderr


def test_why_names_the_queue_that_nobody_serves(hive_up):
    job_id = hive_up.submit("test", "--queue", "gis")
    reason = hive_up.json("why", job_id)
    assert set(reason) == {"id", "state", "why", "todo"}
    assert (reason["id"], reason["state"]) == (job_id, "queued")
    assert reason["why"].endswith("no worker serves 'gis'.")
    assert reason["todo"] == "Start one: hive worker --capabilities gis=2"
    assert "no worker serves 'gis'.\nStart one:" in hive_up.run("why", job_id).stdout


def test_why_tells_the_place_in_the_line(hive_up):
    with hive_up.worker("gis", slots=1):
        busy, _, waiting = hive_up.submit("test", "--seconds", "60"), hive_up.submit("test"), hive_up.submit("test")
        run_until(hive_up, busy)
        said = hive_up.run("why", waiting).stdout
        assert "It is 2nd in the 'test' queue; the only slot is busy." in said
        hive_up.run("cancel", busy)


def test_why_tells_of_an_attempt_that_was_lost(hive_up):
    with hive_up.worker("gis", slots=1) as worker:
        job_id = hive_up.submit("test", "--seconds", "60")
        run_until(hive_up, job_id)
        [child] = worker.children()
        child.kill()
        wait_until(lambda: hive_up.record(job_id)["attempts"] == 2, "it is started again")
        said = hive_up.run("why", job_id).stdout
        assert "It has been running on w1@test" in said
        assert ", attempt 2; " in said
        assert "Attempt 1 on w1@test was lost at" in said
        assert "because its process " in said  # Celery knows the signal, where it looks before Hive does
        hive_up.run("cancel", job_id)


def test_why_of_a_failed_job_says_what_to_do(farm):
    job_id = farm.json("submit", "test", "--fail", code=1)["id"]
    said = farm.run("why", job_id).stdout
    assert "(error, started 1 time): The probe failed because it was told to." in said
    assert f"Run it again: hive retry {job_id[:8]}" in said


def test_python_cancels_retries_and_sends_first(farm, tmp_path):
    script = """
        import hive
        from hive.errors import HiveError
        from hive_workers.test.probe import probe

        job = hive.Client().with_options(priority="high", queue="gis").submit(probe, seconds=60.0)
        job.cancel()
        print(job.state, job.record.specification.priority, job.record.specification.queue)
        try:
            job.cancel()
        except HiveError as error:
            print(type(error).__name__)
        job.retry()
        print(job.state in ("queued", "running"))
        job.cancel()
        try:
            hive.Client().with_options(priority="urgent").submit(probe)
        except HiveError as error:
            print(error)
    """
    ended = farm.python(script, tmp_path)
    assert ended.stdout.splitlines() == [
        "cancelled high gis",
        "JobStateError",
        "True",
        "The priority must be low, normal or high, not 'urgent'.",
    ], ended.stderr


def test_a_retry_right_after_a_cancel_ends_the_old_attempt_only(hive_up):
    session = Session(hive_up.settings)
    with hive_up.worker("gis", slots=2):
        job_id = hive_up.submit("test", "--gate", "retry")
        wait_until(lambda: session.find(job_id).state == "running", "it runs")
        session.cancel(session.find(job_id))
        session.retry(session.find(job_id))
        hive_up.open_gate("retry")
        job = hive_up.wait(job_id, code=0)
    assert job["attempts"] == 2
    events = [event["event"] for event in hive_up.json("show", job_id)["story"]]
    assert events == ["submitted", "started", "cancelled", "retried", "started", "succeeded"]

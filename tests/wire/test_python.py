"""`hive.Client`: several Hives in one process, jobs that are found again, and what can be done to them."""

import os
import textwrap
from datetime import datetime, timedelta

import pytest
from hive_workers.test.probe import Probe, probe

import hive as hive_package
from hive.errors import BadParameterError, JobFailedError, JobStateError, NotFoundError, UnknownNameError
from tests.support import wait_until

pytestmark = pytest.mark.wire


def client_of(hive):
    return hive_package.Client(hive.home, broker=hive.settings.broker_url)


@pytest.fixture
def here(farm):
    with client_of(farm) as client:
        yield client


def test_two_hives_side_by_side_know_only_their_own_jobs(here, hive_up):
    before = dict(os.environ)
    with client_of(hive_up) as there:
        waiting = there.submit(probe, message="there")
        done = here.submit(probe, message="here")
        assert done.result(timeout_s=60).message == "here"
        assert waiting.state == "queued"
        with pytest.raises(NotFoundError):
            here.job(waiting.id)
        assert [job.id for job in there.jobs()] == [waiting.id]
        assert there.settings.home == hive_up.home != here.settings.home
    assert dict(os.environ) == before


def test_a_process_that_has_imported_the_workers_application_submits_all_the_same(farm, monkeypatch):
    monkeypatch.setenv("HIVE_ROLE", "worker")  # as hive.celery leaves it
    with client_of(farm) as client:
        assert client.submit(probe, message="all the same").result(timeout_s=60).message == "all the same"


def test_a_job_is_found_again_by_another_process(farm, here, tmp_path):
    script = """
        import hive
        from pathlib import Path
        from hive_workers.test.probe import probe

        print(hive.submit(probe, Path("a.bin"), output_bytes=10, message="again").id)
    """
    ended = farm.python(script, tmp_path)
    job = here.job(ended.stdout[:10])
    result = job.result(timeout_s=60)
    assert isinstance(result, Probe)
    assert (result.message, job.measures["message"]) == ("again", "again")
    assert job.outputs == {"output": tmp_path / "a.bin"}
    assert (tmp_path / "a.bin").stat().st_size == 10


def test_jobs_are_listed_by_state_task_time_and_text(here):
    good, bad = here.submit(probe, message="listed"), here.submit(probe, fail=True, message="listed-badly")
    begin = bad.record.submitted_at
    good.wait(60)
    bad.wait(60)
    failed = here.jobs(state="failed", text="listed-badly")
    assert [job.id for job in failed] == [bad.id]
    assert {good.id, bad.id} <= {job.id for job in here.jobs(task=probe, state=["failed", "succeeded"])}
    assert good.id not in {job.id for job in here.jobs(since=begin + timedelta(milliseconds=1))}
    assert bad.id in {job.id for job in here.jobs(since=timedelta(minutes=10))}
    assert len(here.jobs(limit=1)) == 1
    assert len(here.jobs(task="gis.dtm", since=begin)) == 0
    assert len(here.jobs(capability="gis", since=begin)) == 0
    assert "1 failed" in repr(failed.wait(60))
    assert failed.failures == {bad.id[:8]: bad.failure}


def test_jobs_that_are_found_while_they_run_can_be_waited_for(here, tmp_path):
    job = here.submit(probe, tmp_path / "found.bin", output_bytes=10, seconds=1.0)
    waiting = here.jobs(state=["queued", "running"], text="found.bin")
    assert [found.id for found in waiting.wait(60)] == [job.id]
    assert (tmp_path / "found.bin").stat().st_size == 10


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"state": "broken"}, "state must be one of queued, running"),
        ({"since": datetime(2026, 1, 1)}, "since must be a time with its zone"),
        ({"limit": 0}, "limit must be at least 1, not 0"),
    ],
)
def test_a_list_that_cannot_be_is_refused(here, filters, words):
    with pytest.raises(BadParameterError, match=words):
        here.jobs(**filters)


def test_a_job_is_cancelled_and_tried_again(here):
    job = here.with_options(priority="high").submit(probe, seconds=60.0)
    assert job.record.specification.priority == "high"
    wait_until(lambda: job.progress is not None, "it reports progress")
    job.cancel()
    assert job.state == "cancelled"
    with pytest.raises(JobStateError):
        job.cancel()
    with pytest.raises(JobFailedError):
        job.result()
    job.retry()
    assert job.state in ("queued", "running")
    job.cancel()


def test_an_option_that_is_none_is_refused(here):
    with pytest.raises(UnknownNameError, match="Did you mean 'priority'"):
        here.with_options(prioritty="high")


def test_a_log_is_followed_to_its_end(here):
    job = here.submit(probe, log_lines=3)
    assert [line.text for line in job.logs(follow=True) if line.level == "INFO"] == [
        "line 1 of 3",
        "line 2 of 3",
        "line 3 of 3",
    ]
    assert [line.text for line in job.logs()][:3] == ["line 1 of 3", "line 2 of 3", "line 3 of 3"]


def test_a_map_gives_its_results_in_order(here):
    jobs = here.map(probe, count=3, message="mapped")
    assert [result.message for result in jobs.results(timeout_s=60)] == ["mapped"] * 3


def test_the_package_loads_nothing_until_a_name_is_used(farm, tmp_path):
    script = textwrap.dedent("""
        import sys
        import hive

        assert not {"redis", "celery", "hive.client"} & set(sys.modules), sorted(sys.modules)
        print(hive.Client.__name__, hive.Job.__name__, hive.Jobs.__name__, hive.errors.HiveError.__name__)
        print(callable(hive.submit), callable(hive.map), callable(hive.submit))
    """)
    ended = farm.python(script, tmp_path)
    assert ended.stdout.split() == ["Client", "Job", "Jobs", "HiveError", "True", "True", "True"], ended.stderr

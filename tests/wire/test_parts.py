"""Jobs that are done in parts: nobody holds a slot while waiting, each part is done once, and all is put together."""

import os
import shutil
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest

from hive.client import Session
from hive.client.explain import explain, look_around
from hive.store import JobStore
from tests.faults.harness import kill_tree
from tests.support import Hive, wait_until

pytestmark = pytest.mark.wire
ROCKS = Path(__file__).parents[1] / "packages" / "hive-rocks"


@pytest.fixture
def packages(tmp_path):
    """A folder with the package of the tests as pip installs it; test_extending has pip do it."""
    folder = tmp_path / "packages"
    shutil.copytree(ROCKS / "hive_rocks", folder / "hive_rocks")
    project = tomllib.loads((ROCKS / "pyproject.toml").read_text())["project"]
    information = folder / f"hive_rocks-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = "".join(f"{name} = {place}\n" for name, place in project["entry-points"]["hive.capabilities"].items())
    (information / "entry_points.txt").write_text(f"[hive.capabilities]\n{entries}")
    return folder


@pytest.fixture
def field(packages, tmp_path):
    """A Hive with Redis, a short lease and traces; no worker yet."""
    (tmp_path / "traces").mkdir()
    paths = [str(packages), os.environ.get("PYTHONPATH", "")]
    hive = Hive(
        tmp_path / "home", PYTHONPATH=os.pathsep.join(filter(None, paths)), HIVE_LEASE_S="3",
        HIVE_TRACE_DIR=str(tmp_path / "traces"),
    )  # fmt: skip
    with hive.up():
        yield hive


@contextmanager
def worker(hive, slots=1, name="w1"):
    with hive.worker("rocks", slots=slots, name=name) as process:
        yield process


@pytest.fixture
def tables(tmp_path):
    names = []
    for number in range(3):
        names.append(tmp_path / f"{number}.txt")
        names[-1].write_text(f"{number + 1}\n")
    return names


def traced(tmp_path, event="end"):
    log = tmp_path / "traces" / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [line[1] for line in lines if line[0] == event]


def open_gates(hive, *numbers):
    """Let these probes end; all of them without a number."""
    for number in numbers or range(4):
        hive.open_gate(f"g.{number}")


def parts_of(hive, job_id):
    jobs = JobStore(hive.redis)
    return [jobs.get(part).to_json() for part in jobs.get(job_id).to_json()["parts"]]


def test_a_job_in_parts_needs_no_slot_while_it_waits_and_is_put_together(field, tables, tmp_path):
    with worker(field):  # one slot: whoever waited in it would wait for ever
        job = field.json("submit", "rocks", "survey", *tables, tmp_path / "report.txt", "--probes", "2")
    assert job["measures"] == {"rocks": 3, "total_kg": 16200.0}
    assert (tmp_path / "report.txt").read_text() == "2700.0 kg\n5400.0 kg\n8100.0 kg\n"
    parts = parts_of(field, job["id"])
    assert [part["task"] for part in parts] == ["rocks.weigh"] * 3 + ["test.probe"] * 2
    assert {(part["state"], part["attempts"], part["parent"]) for part in parts} == {("succeeded", 1, job["id"])}
    story = [event["event"] for event in field.json("show", job["id"])["story"]]
    once = ["started", "divided", "parts done"]
    assert story == ["submitted", *once, *once, "started", "succeeded"]
    assert [one["id"] for one in field.json("jobs")] == [job["id"]]  # parts are shown with their whole
    assert not field.redis.keys("hive:job:*:parts")


def test_a_task_in_parts_is_a_plain_function_too(tables, tmp_path, packages, monkeypatch):
    monkeypatch.syspath_prepend(packages)
    from hive_rocks.survey import survey

    assert survey(tables, tmp_path / "report.txt", probes=1).rocks == 3
    assert (tmp_path / "report.txt").read_text() == "2700.0 kg\n5400.0 kg\n8100.0 kg\n"


def test_progress_is_that_of_the_parts(field, tables, tmp_path):
    def half():
        job = JobStore(field.redis).get(job_id)
        is_half = (
            job.progress and job.progress.total == 4 and 0 < job.progress.done < 4
        )  # the stones are weighed before
        return is_half and job

    with worker(field, slots=2):
        job_id = field.submit("rocks", "survey", *tables, tmp_path / "report.txt", "--probes", "4", "--gate", "g")
        field.open_gate("g.1")
        job = wait_until(half, "half")
        assert (job.state, job.progress.unit) == ("running", "parts")
        why = explain(job, look_around(Session(field.settings), job))
        assert "of its 4 parts are done" in f"{why}"
        open_gates(field)
        assert field.wait(job_id, code=0)["state"] == "succeeded"


def test_only_what_a_killed_worker_had_is_done_again(field, tables, tmp_path):
    with worker(field, slots=2, name="w1") as first:
        words = ["--probes", "4", "--gate", "g", "--trace", "log"]
        job_id = field.submit("rocks", "survey", *tables, tmp_path / "report.txt", *words)
        open_gates(field, 0, 1)
        wait_until(lambda: len(traced(tmp_path)) == 2, "two probes are done")
        wait_until(lambda: len(traced(tmp_path, "start")) == 4, "two others run")
        with worker(field, slots=2, name="w2"):
            kill_tree(first)
            open_gates(field)
            assert field.wait(job_id, code=0)["measures"]["rocks"] == 3
    parts = parts_of(field, job_id)
    assert sorted(part["attempts"] for part in parts) == [1] * 5 + [2] * 2
    assert sorted(traced(tmp_path)) == sorted(part["id"] for part in parts if part["task"] == "test.probe")


def test_a_part_that_fails_ends_the_others_and_the_whole_says_which(field, tables, tmp_path):
    tables[1].write_text("no number\n")
    with worker(field):
        failed = field.run("submit", "rocks", "survey", *tables, tmp_path / "report.txt", code=1).stderr
        assert "failed: Its part" in failed
        assert "could not convert string to float: 'no number" in failed
        [job] = field.json("jobs")
        assert job["error"]["kind"] == "part-failed"
        states = [part["state"] for part in parts_of(field, job["id"])]
        assert states[1] == "failed"
        assert set(states) <= {"succeeded", "failed", "cancelled"}
        assert "hive show" in field.run("why", job["id"]).stdout


def test_a_failed_job_that_is_tried_again_does_only_what_is_missing(field, tables, tmp_path):
    with worker(field, slots=2):
        words = ["--probes", "4", "--gate", "g", "--trace", "log"]
        job_id = field.submit("rocks", "survey", *tables, tmp_path / "report.txt", *words)
        open_gates(field, 0, 1)
        wait_until(lambda: len(traced(tmp_path)) == 2, "two probes are done")
        running = wait_until(lambda: set(traced(tmp_path, "start")) - set(traced(tmp_path)), "others run").pop()
        field.run("cancel", running)
        assert field.wait(job_id, code=1)["error"]["message"].startswith(f"Its part {running[:8]} cancelled")
        before = sorted(traced(tmp_path))
        open_gates(field)
        assert field.run("retry", job_id).returncode == 0
    done = sorted(traced(tmp_path))
    assert [one for one in done if one in before] == before  # none of these twice
    assert len(set(done)) == 4


def test_cancelling_the_whole_ends_its_parts(field, tables, tmp_path):
    with worker(field, slots=2):
        words = ["--probes", "4", "--seconds", "60", "--trace", "log"]
        job_id = field.submit("rocks", "survey", *tables, tmp_path / "report.txt", *words)
        wait_until(lambda: len(traced(tmp_path, "start")) == 2, "two probes run")
        field.run("cancel", job_id)
        wait_until(lambda: not field.json("workers")[0]["busy"], "its parts have ended")
        assert {part["state"] for part in parts_of(field, job_id)[3:]} == {"cancelled"}
        assert field.json("submit", "test", "--queue", "rocks")["state"] == "succeeded"


def test_a_redis_that_dies_meanwhile_loses_no_part(field, tables, tmp_path):
    from tests.faults.harness import redis_paused

    with worker(field, slots=2):
        words = ["--probes", "4", "--seconds", "1", "--trace", "log"]
        job_id = field.submit("rocks", "survey", *tables, tmp_path / "report.txt", *words)
        wait_until(lambda: len(traced(tmp_path, "start")) >= 2, "probes run")
        with redis_paused(field, 1):
            pass
        assert field.wait(job_id, code=0)["measures"]["rocks"] == 3
    assert len(set(traced(tmp_path))) == 4


def test_another_plan_than_before_is_a_mistake_that_is_said(field, packages, tmp_path):
    import textwrap

    (packages / "hive_rocks" / "fickle.py").write_text(
        textwrap.dedent('''
            """A task that cannot make up its mind."""

            import random

            from hive.task import in_parts, part
            from hive_rocks import rocks
            from hive_workers.test.probe import probe


            @rocks.task
            def fickle() -> None:
                """Plan something else each time."""
                in_parts([part(probe, message=str(random.random()))])
        ''')
    )
    try:
        with worker(field):
            said = field.run("submit", "rocks", "fickle", code=1).stderr
        assert "rocks.fickle came to another plan when it was called again" in said
    finally:
        (packages / "hive_rocks" / "fickle.py").unlink()


@pytest.mark.full
def test_a_terrain_model_in_tiles_is_the_same_on_one_worker_on_two_and_after_one_was_killed(field, tmp_path):
    from tests.support import TILE

    command = ["gis", "dtm", TILE, "--tile", "80"]
    with field.worker("gis", slots=1, name="g1") as first:
        one = field.json("submit", *command, tmp_path / "one.tif", timeout_s=120)
        with field.worker("gis", slots=1, name="g2"):
            two = field.json("submit", *command, tmp_path / "two.tif", timeout_s=120)
            workers = {part["worker"] for part in parts_of(field, two["id"])}
            job_id = field.submit(*command, tmp_path / "three.tif")
            jobs = JobStore(field.redis)

            def some_are_done():
                parts = parts_of(field, job_id) if jobs.get(job_id).is_divided else []
                ends = [part["state"] for part in parts]
                return ends.count("succeeded") > 2 and "g1@test" in [
                    part["worker"] for part in parts if part["state"] == "running"
                ]

            wait_until(some_are_done, "some tiles are done")
            done = {part["id"] for part in parts_of(field, job_id) if part["state"] == "succeeded"}
            kill_tree(first)
            three = field.wait(job_id, code=0)
    assert workers == {"g1@test", "g2@test"}
    assert one["measures"]["points"] == 110_000
    assert one["outputs"] == {name: text.replace("two.", "one.") for name, text in two["outputs"].items()}
    assert one["outputs"] == {name: text.replace("three.", "one.") for name, text in three["outputs"].items()}
    parts = parts_of(field, job_id)
    assert {part["attempts"] for part in parts if part["id"] in done} == {1}  # only its own tile was done again
    assert sum(part["attempts"] for part in parts) <= len(parts) + 1

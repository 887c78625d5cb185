"""Submitting for real: a real redis-server, a real Celery worker, real files."""

import json
import shutil
import subprocess

import pytest

from hive.staging import digest_of
from tests.support import BIN, TILE, wait_until

pytestmark = pytest.mark.wire
JOB_FIELDS = {
    "id",
    "capability",
    "task",
    "state",
    "parameters",
    "inputs",
    "outputs",
    "measures",
    "submitted_at",
    "started_at",
    "finished_at",
    "attempts",
    "worker",
    "progress",
    "error",
    "cost_usd",
}


def test_a_probe_comes_back_with_who_ran_it(farm):
    job = farm.json("submit", "test", "--message", "héllo {x} [bold]")
    assert (job["state"], job["attempts"], job["measures"]["message"]) == ("succeeded", 1, "héllo {x} [bold]")
    assert job["worker"] == job["measures"]["worker"] == "w1@test"
    assert job["measures"]["libraries"]["celery"].startswith("5.7")


def test_a_record_has_the_fields_that_scripts_rely_on(farm):
    job = farm.json("submit", "test", "--seconds", "0.3")
    assert set(job) >= JOB_FIELDS
    assert job["progress"] == {"done": 0.3, "total": 0.3, "unit": "s", "message": "done"}
    assert job["submitted_at"] <= job["started_at"] <= job["finished_at"]
    assert job["finished_at"].endswith("Z")
    assert (job["capability"], job["task"], job["error"], job["cost_usd"]) == ("test", "test.probe", None, None)


def test_detach_prints_the_id_and_nothing_else(farm):
    job_id = farm.submit("test", "--seconds", "1")
    assert farm.json("show", job_id[:6])["id"] == job_id
    assert farm.wait(job_id, code=0)["state"] == "succeeded"


def test_every_worker_serves_the_probe_on_its_own_queue(farm):
    assert farm.json("submit", "test", "--queue", "gis")["queue"] == "gis"


def test_written_files_come_back_whole_and_where_they_were_wanted(farm, tmp_path):
    job = farm.json("submit", "test", tmp_path / "out.bin", "--output-bytes", "3MB")
    assert (tmp_path / "out.bin").stat().st_size == 3_000_000
    assert job["outputs"]["output"] == f"sha256:{digest_of(tmp_path / 'out.bin')}/out.bin"
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_results_of_a_detached_job_are_fetched_later(farm, tmp_path):
    job_id = farm.submit("test", tmp_path / "out.bin", "--output-bytes", "1000")
    farm.wait(job_id, code=0)
    assert not (tmp_path / "out.bin").exists()
    assert farm.run("fetch", job_id).stdout.strip() == str(tmp_path / "out.bin")
    (tmp_path / "other").mkdir()
    farm.run("fetch", job_id, tmp_path / "other")
    assert (tmp_path / "other" / "out.bin").read_bytes() == (tmp_path / "out.bin").read_bytes()


def test_a_file_that_is_newer_than_the_job_is_not_overwritten_without_force(farm, tmp_path):
    job_id = farm.submit("test", tmp_path / "out.bin", "--output-bytes", "1000")
    farm.wait(job_id, code=0)
    (tmp_path / "out.bin").write_text("mine")
    assert "is newer than the job" in farm.run("fetch", job_id, code=2).stderr
    assert (tmp_path / "out.bin").read_text() == "mine"
    farm.run("fetch", job_id, "--force")
    farm.run("fetch", job_id)  # what is there already is not newer, it is the same
    assert (tmp_path / "out.bin").stat().st_size == 1000


def test_a_tile_already_staged_is_not_uploaded_again(farm, tmp_path):
    tile = shutil.copy(TILE, tmp_path / "once.laz")
    with tile.open("ab") as file:
        file.write(b"\0")  # another content than that of all other tests
    first = farm.run("submit", "gis", "dtm", tile, tmp_path / "a.tif").stderr
    second = farm.run("submit", "gis", "dtm", tile, tmp_path / "b.tif").stderr
    assert "sending" in first
    assert "sending" not in second
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_parameters_as_json_do_the_same_as_options(farm, tmp_path):
    tile = shutil.copy(TILE, tmp_path / "tile.laz")
    parameters = {"cloud": str(tile), "raster": str(tmp_path / "a.tif"), "cell": "2 m"}
    by_json = farm.json("submit", "--type", "gis.dtm", "--params", json.dumps(parameters))
    by_words = farm.json("submit", "gis", "dtm", tile, tmp_path / "b.tif", "--cell", "2")
    assert by_json["parameters"] == by_words["parameters"]
    assert by_json["measures"] == by_words["measures"]
    assert (tmp_path / "a.png").exists()


def test_a_reference_of_an_earlier_job_is_an_input_too(farm, tmp_path):
    tile = shutil.copy(TILE, tmp_path / "tile.laz")
    reference = farm.json("submit", "gis", "dtm", tile, tmp_path / "a.tif")["inputs"]["cloud"]
    parameters = {"cloud": reference, "raster": str(tmp_path / "b.tif")}
    assert farm.json("submit", "--type", "gis.dtm", "--params", json.dumps(parameters))["state"] == "succeeded"


def test_a_capability_alone_means_its_default_task(farm):
    assert farm.json("submit", "--type", "test", "--params", '{"message": "x"}')["task"] == "test.probe"
    assert farm.json("submit", "test", "probe", "--message", "x")["task"] == "test.probe"


def test_a_failed_job_is_exit_code_1_with_its_reason(farm):
    ended = farm.run("submit", "test", "--fail", code=1)
    assert "The probe failed because it was told to." in ended.stderr
    newest = farm.json("jobs", "--limit", "1")[0]
    assert newest["error"] == {"kind": "error", "message": "The probe failed because it was told to."}
    assert farm.run("wait", newest["id"], code=1).stderr.startswith(f"job {newest['id'][:8]} failed")


def test_jobs_are_listed_newest_first_and_told_whole(farm):
    older, newer = farm.submit("test", "--message", "1"), farm.submit("test", "--message", "2")
    assert [job["id"] for job in farm.json("jobs", "--limit", "2")] == [newer, older]
    farm.wait(newer)
    story = [event["event"] for event in farm.json("show", newer)["story"]]
    assert story == ["submitted", "started", "succeeded"]
    assert "started" in farm.run("show", newer).stdout
    assert newer[:8] in farm.run("jobs").stdout


def test_an_unknown_or_ambiguous_id_is_exit_code_3(farm):
    assert "There is no job 'zzz'" in farm.run("show", "zzz", code=3).stderr
    assert "There is no job ''" in farm.run("wait", "", code=3).stderr
    farm.run("map", "test", "--count", "17", "--detach")  # 16 digits, so two ids begin with the same one
    ids = [job["id"] for job in farm.json("jobs", "--limit", "40")]
    shared = next(first for first in "0123456789abcdef" if sum(one.startswith(first) for one in ids) > 1)
    assert "begins the ids of several jobs" in farm.run("show", shared, code=3).stderr


def test_workers_queues_and_status_tell_who_is_there(farm):
    [worker] = farm.json("workers")
    assert (worker["name"], worker["capabilities"], worker["slots"]) == ("w1@test", ["gis", "test"], 2)
    assert set(worker) >= {"host", "busy", "cpu_percent", "memory_bytes", "gpus", "price_usd_per_h", "last_seen"}
    assert worker["memory_bytes"] > 20_000_000
    job = farm.submit("test", "--queue", "gis", "--gate", "status")
    running = wait_until(
        lambda: [queue for queue in farm.json("queues") if queue["name"] == "gis" and queue["running"]], "the job runs"
    )
    assert {"queued", "running", "oldest_s", "workers"} <= set(running[0])
    status = farm.json("status")
    assert (status["broker"]["state"], status["workers"], status["running"]) == ("up", 1, 1)
    assert 1_000_000 < status["orchestrator"]["memory_bytes"] < 100_000_000
    farm.open_gate("status")
    farm.wait(job)
    assert "w1@test" in farm.run("workers").stdout


def test_text_from_outside_cannot_move_the_cursor_or_be_markup(farm):
    job = farm.submit("test", "--message", "\x1b[2J[red]x[/red]\x07")
    farm.wait(job)
    shown = farm.run("show", job).stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]x[/red]" in shown


def test_python_submits_a_task_as_if_it_were_called(farm, tmp_path):
    script = f"""
        from pathlib import Path
        import hive
        from hive_workers.gis.dtm import dtm
        from hive.errors import HiveError
        from hive_workers.test.probe import probe

        job = hive.submit(dtm, Path({str(TILE)!r}), Path("a.tif"), cell=2.0)
        ground = job.result()
        assert type(ground).__name__ == "Ground" and ground.points == 110_000
        assert Path("a.tif").exists() and Path("a.png").exists()
        try:
            hive.submit(probe, fail=True).result()
        except HiveError as error:
            print(type(error).__name__, error)
        try:
            hive.submit(probe, seconds=3.0).result(timeout_s=0.2)
        except TimeoutError as error:
            print(error)
        try:
            hive.submit(dtm, Path("nowhere.laz"), Path("a.tif"))
        except HiveError as error:
            print(error)
    """
    ended = farm.python(script, tmp_path)
    lines = ended.stdout.splitlines()
    assert lines[0] == "JobFailedError The probe failed because it was told to.", ended.stderr
    assert "is still" in lines[1]
    assert lines[2].startswith("nowhere.laz does not exist")


def test_celerys_own_tools_see_the_worker(farm):
    ended = subprocess.run(
        [BIN / "celery", "-A", "hive", "inspect", "registered", "--json"],
        env=farm.environment,
        cwd=farm.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(json.loads(ended.stdout)["w1@test"]) >= {"gis.dtm", "test.probe"}

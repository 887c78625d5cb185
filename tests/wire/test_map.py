"""Mapping for real: many files through a real queue and real workers, again and again, through what may break."""

import json
import re
import shutil
import signal
import subprocess

import pexpect
import psutil
import pytest
from hive_workers.test.probe import probe

from hive.client import Session
from hive.client.map import gather, send_items
from hive.client.observer import MapObserver
from hive.client.plan import Plan, make_items
from hive.errors import UnreachableError
from hive.home import running_pid
from tests.support import DATA, TILE, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture
def tiles(tmp_path):
    """Three tiles whose content no other test has."""
    (tmp_path / "tiles").mkdir()
    paths = [shutil.copy(TILE, tmp_path / "tiles" / f"tile{number}.laz") for number in range(3)]
    for path in paths:
        with path.open("ab") as file:
            file.write(str(tmp_path).encode())
    return paths


def count_jobs(hive):
    return hive.redis.zcard("hive:jobs")


def test_three_tiles_become_three_terrain_models(farm, tiles, tmp_path):
    ended = farm.run("map", "gis", "dtm", *tiles, "--out", tmp_path / "out" / "models", "--cell", "2")
    assert "3 jobs sent" in ended.stderr
    assert "3 of 3 done, in " in ended.stderr
    assert ended.stdout == ""
    assert sorted(path.name for path in (tmp_path / "out" / "models").iterdir()) == sorted(
        f"tile{number}_dtm.{suffix}" for number in range(3) for suffix in ("tif", "png")
    )


def test_the_same_command_again_computes_nothing_and_another_option_does(farm, tiles, tmp_path):
    command = ["map", "gis", "dtm", *tiles, "--out", tmp_path / "out", "--cell"]
    first = farm.json(*command, "2")
    before = count_jobs(farm)
    (tmp_path / "out" / "tile1_dtm.tif").unlink()
    again = farm.run(*command, "2 m", "--json")
    assert "3 of 3 are done already" in again.stderr
    assert [job["id"] for job in json.loads(again.stdout)] == [job["id"] for job in first]
    assert (tmp_path / "out" / "tile1_dtm.tif").exists()  # fetched from the store
    assert count_jobs(farm) == before
    assert "3 jobs sent" in farm.run(*command, "4").stderr
    assert "3 jobs sent" in farm.run(*command, "4", "--again").stderr
    assert count_jobs(farm) == before + 6


def test_a_tile_that_fails_is_listed_with_its_reason_and_the_others_are_done(farm, tiles, tmp_path):
    bad = shutil.copy(DATA / "gis" / "sample_c.las", tmp_path / "nowhere.las")  # says no coordinate reference system
    command = ["map", "gis", "dtm", *tiles, bad, "--out", tmp_path / "out"]
    ended = farm.run(*command, code=1)
    header, row = ended.stdout.splitlines()
    assert header.split() == ["INPUT", "JOB", "FAILED", "BECAUSE"]
    assert re.match(rf"{re.escape(str(bad))}  \w{{8}}  .*coordinate reference system", row)
    assert "3 of 4 done, 1 failed, in " in ended.stderr
    assert len(list((tmp_path / "out").glob("*.tif"))) == 3
    again = farm.run(*command, "--json", code=1)
    assert "3 of 4 are done already" in again.stderr
    assert "1 of 4 had failed and are tried again" in again.stderr
    jobs = json.loads(again.stdout)
    assert [job["state"] for job in jobs] == ["succeeded"] * 3 + ["failed"]
    assert (jobs[3]["attempts"], jobs[3]["error"]["kind"], jobs[3]["name"]) == (2, "bad-input", str(bad))
    assert jobs[0]["files"]["raster"] == str(tmp_path / "out" / "tile0_dtm.tif")
    assert set(jobs[0]) >= {"id", "task", "state", "parameters", "inputs", "outputs", "measures", "submitted_at"}


def test_a_result_that_somebody_has_changed_is_kept_and_said(farm, tiles, tmp_path):
    command = ["map", "gis", "dtm", tiles[0], "--out", tmp_path / "out", "--cell", "8"]
    farm.run(*command)
    (tmp_path / "out" / "tile0_dtm.tif").write_text("mine")
    assert "tile0_dtm.tif is newer than the job" in farm.run(*command, code=1).stdout
    assert (tmp_path / "out" / "tile0_dtm.tif").read_text() == "mine"
    farm.run(*command, "--force")
    assert (tmp_path / "out" / "tile0_dtm.tif").stat().st_size > 1000


def test_bad_files_are_found_before_anything_is_sent(hive_up, tiles, tmp_path):
    ended = hive_up.run("map", "gis", "dtm", *tiles, tmp_path / "a.laz", "--out", tmp_path / "out", code=2)
    assert ended.stderr == f"hive: {tmp_path}/a.laz does not exist; check the path. Nothing was sent.\n"
    assert count_jobs(hive_up) == 0


def test_five_hundred_jobs_run_and_bring_their_files(farm, tmp_path):
    command = ["map", "test", "--count", "500", "--out", tmp_path / "out", "--output-bytes", "10"]
    ended = farm.run(*command, timeout_s=300)
    assert "500 of 500 done" in ended.stderr
    assert len(list((tmp_path / "out").iterdir())) == 500
    assert "500 of 500 are done already" in farm.run(*command).stderr


def test_detached_jobs_are_printed_and_found_again_by_the_same_command(hive_up):
    command = ["map", "test", "probe", "--count", "3", "--message", "later"]
    ids = hive_up.run(*command, "--detach").stdout.split()
    again = hive_up.run(*command, "--detach", "--json")
    assert "3 of 3 were sent before and are still on their way" in again.stderr
    assert json.loads(again.stdout) == ids
    assert count_jobs(hive_up) == 3
    with hive_up.worker("gis"):
        assert [job["id"] for job in hive_up.json(*command)] == ids


def test_ctrl_c_leaves_the_jobs_and_the_same_command_comes_back_to_them(hive_up):
    command = ["map", "test", "probe", "--count", "20", "--message", "later"]
    program, *rest = hive_up.command(*command)
    waiting = pexpect.spawn(program, rest, env=hive_up.environment, dimensions=(40, 160), encoding="utf-8", timeout=60)
    waiting.expect("No worker serves 'test'; the jobs wait.")
    waiting.expect("0 of 20 .*20 queued")
    waiting.sendintr()
    waiting.expect("0 of 20 jobs are done, 0 failed; the others go on. Come back: give the same command again.")
    waiting.expect(pexpect.EOF)
    waiting.close()
    assert waiting.exitstatus == 130
    with hive_up.worker("gis"):
        assert "20 of 20 done" in hive_up.run(*command).stderr
    assert count_jobs(hive_up) == 20


def test_a_pipe_gets_plain_lines_and_a_terminal_a_bar_that_moves(farm):
    ended = farm.run("map", "test", "--count", "4", "--seconds", "0.5", "--message", "lines")
    assert "\x1b" not in ended.stderr
    program, *rest = farm.command("map", "test", "--count", "4", "--seconds", "0.6", "--message", "bar")
    running = pexpect.spawn(program, rest, env=farm.environment, dimensions=(40, 160), encoding="utf-8", timeout=60)
    running.expect(r"[1-3] of 4.* done, 0 failed, \d running, \d queued; [\d.]+/s, .* left")
    running.expect("4 of 4 done, in ")
    running.expect(pexpect.EOF)
    running.close()
    assert running.exitstatus == 0


def kill_redis(hive):
    process = psutil.Process(running_pid(hive.settings))
    process.kill()
    psutil.wait_procs([process], timeout=5)


class Saboteur(MapObserver):
    """Kills Redis when the first batch is sent."""

    def __init__(self, hive):
        self.hive = hive
        self.words = []

    def sent(self, count, total):
        if not self.words:
            kill_redis(self.hive)
        self.words.append((count, total))

    def resumed(self, done, waiting, failed, total):
        self.words.append((done, waiting, failed, total))


def test_an_outage_while_sending_is_told_and_the_same_call_completes_it_without_duplicates(hive_up):
    items = make_items(Plan(probe, count=1200))
    with pytest.raises(UnreachableError) as raised:
        send_items(Session(hive_up.settings), items, Saboteur(hive_up))
    said = re.search(
        r"At least ([\d,]+) of 1,200 jobs are sent. Give the same command again: it sends", str(raised.value)
    )
    assert said, raised.value
    hive_up.run("up")
    mapped = send_items(Session(hive_up.settings), items)
    ids = [one.id for one in mapped]
    assert len(set(ids)) == 1200
    assert set(hive_up.redis.zrange("hive:jobs", 0, -1)) == set(ids)
    with hive_up.worker("gis", HIVE_LEASE_S="5"):  # its sweep sends the messages of records that were left without
        outcomes = list(gather(Session(hive_up.settings), mapped))
    assert [one.job.state for one in outcomes] == ["succeeded"] * 1200
    assert hive_up.redis.zcard("hive:jobs") == 1200


def test_a_map_outlasts_a_redis_that_comes_back_empty(hive_up):
    command = hive_up.command("map", "test", "--count", "20", "--json")
    with subprocess.Popen(command, env=hive_up.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        wait_until(lambda: count_jobs(hive_up) == 20, "all are sent")
        wait_until(lambda: b"No worker serves" in waiting.stderr.readline(), "it waits")
        kill_redis(hive_up)
        shutil.rmtree(hive_up.home / "redis" / "appendonlydir")
        wait_until(lambda: b"The broker is away" in waiting.stderr.readline(), "it has seen that")
        hive_up.run("up")
        with hive_up.worker("gis"):
            output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    assert {job["state"] for job in json.loads(output)} == {"succeeded"}


def test_python_maps_a_task_over_files(farm, tiles, tmp_path):
    script = f"""
        from pathlib import Path
        import hive
        from hive.errors import HiveError
        from hive_workers.gis.dtm import dtm
        from hive_workers.test.probe import probe

        tiles = sorted(Path({str(tiles[0].parent)!r}).glob("*.laz"))
        jobs = hive.map(dtm, tiles, out="out", cell=2.0)
        print([ground.points for ground in jobs.results()], len(jobs), jobs.failed)
        assert all(Path(f"out/tile{{number}}_dtm.tif").exists() for number in range(3))
        assert [Path(job.name) for job in jobs] == tiles
        again = hive.map(dtm, tiles, out="out", cell=2.0)
        assert {{job.id for job in jobs.as_finished()}} == {{job.id for job in again}}
        print(jobs)
        print(jobs._repr_html_())

        failing = hive.map(probe, count=2, fail=True, message="<b>").wait()
        print(failing.failures)
        print(failing[0]._repr_html_().partition(": ")[2])
        print(failing.failed == list(failing), failing[0].failure)
        try:
            next(failing.results())
        except HiveError as error:
            print(type(error).__name__, error)
        try:
            hive.map(probe, count=2, seconds=20.0).wait(timeout_s=0.3)
        except TimeoutError as error:
            print(error)
        try:
            hive.map(dtm, "nowhere.laz", out="out")
        except HiveError as error:
            print(error)
    """
    ended = farm.python(script, tmp_path)
    lines = ended.stdout.splitlines()
    words = "The probe failed because it was told to. "
    assert lines == [
        "[110000, 110000, 110000] 3 []",
        "<3 jobs of gis.dtm: 3 succeeded>",
        '<code>3 jobs of gis.dtm</code>: <b>3 succeeded</b> <progress max="3" value="3"></progress>',
        str({"#1": f"{words}<b>", "#2": f"{words}<b>"}),
        f"<b>failed. {words}&lt;b&gt;</b>",
        f"True {words}<b>",
        f"JobFailedError #1: {words}<b>",
        "2 of 2 jobs have not ended after 0.3 s.",
        "nowhere.laz does not exist; check the path. Nothing was sent.",
    ], ended.stderr


def test_python_reads_and_follows_the_log_of_a_job(farm, tmp_path):
    script = """
        import hive
        from hive_workers.test.probe import probe
        job = hive.submit(probe, log_lines=2)
        followed = [entry.text for entry in job.logs(follow=True) if entry.level == "INFO"]
        assert [entry.text for entry in job.logs() if entry.level == "INFO"] == followed
        print(followed)
    """
    ended = farm.python(script, tmp_path)
    assert "'line 1 of 2', 'line 2 of 2'" in ended.stdout, ended.stderr


def test_interrupting_python_while_it_waits_leaves_the_jobs_alone(hive_up, tmp_path):
    script = """
        import hive
        from hive_workers.test.probe import probe
        jobs = hive.map(probe, count=3)
        try:
            print("sent", flush=True)
            jobs.wait()
        except KeyboardInterrupt:
            print(jobs)
    """
    with hive_up.python_beside(script, tmp_path) as waiting:
        wait_until(lambda: waiting.stdout.readline() == "sent\n", "the jobs are sent")
        waiting.send_signal(signal.SIGINT)
        output, errors = waiting.communicate(timeout=30)
    assert output == "<3 jobs of test.probe: 3 queued>\n", errors


def test_a_notebook_shows_a_job_also_where_the_broker_is_away(hive_up, tmp_path):
    script = """
        import hive
        from hive_workers.test.probe import probe
        job, jobs = hive.submit(probe), hive.map(probe, count=2)
        print(job)
        input()
        print(job)
        print(jobs)
    """
    with hive_up.python_beside(script, tmp_path) as notebook:
        assert re.fullmatch(r"<job \w{8} test.probe: queued>\n", notebook.stdout.readline())
        kill_redis(hive_up)
        output, errors = notebook.communicate("\n", timeout=60)
    assert re.match(r"<job \w{8} test.probe: unknown. The broker at .* does not answer.*>\n<2 jobs", output), errors
    assert output.endswith("<2 jobs of test.probe: 2 unknown>\n")

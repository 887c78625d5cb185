"""What commands print for people: tables, progress, a job's story, help, and hints at the name that was meant."""

import os
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import msgspec
import pexpect
import pytest
from click.testing import CliRunner
from hive_workers.gis.dtm import dtm
from hive_workers.test.probe import probe

from hive.catalog import find_task
from hive.cli import job_list, main
from hive.cli.common import print_table
from hive.cli.display import Display
from hive.cli.report import ago, job_text, measures_text
from hive.cli.submit import task_command
from hive.cli.task_command import meaning
from hive.client import make_request
from hive.errors import HiveError, did_you_mean
from hive.settings import load_settings
from hive.task import Progress
from hive.wire.job import JobRecord, Specification, State, from_milliseconds
from tests.support import BIN, TILE
from tests.unit.test_signature import survey

SUBMITTED = from_milliseconds(1_000)
ASKED = Specification(
    capability="gis",
    task="gis.dtm",
    queue="gis",
    parameters={"cell": 2.0, "fill": 3, "crs": None},
    inputs={"cloud": f"sha256:{'0' * 64}/tile.laz"},
    outputs={"raster": "tile_dtm.tif"},
)
QUEUED = JobRecord(id="0123456789abcdef", specification=ASKED, state=State.QUEUED, submitted_at=SUBMITTED)
RUNNING = replace(QUEUED, state=State.RUNNING, started_at=SUBMITTED, attempts=1, worker="gis@vm")
DONE = replace(RUNNING, state=State.SUCCEEDED, finished_at=SUBMITTED + timedelta(seconds=75))


def help_of(task):
    return CliRunner().invoke(task_command(task), ["--help"], terminal_width=100).stdout


def described(task, name):
    return meaning(task, next(one for one in task.parameters if one.name == name))


def test_a_piped_table_is_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("NAME", "MEANS"), [("n" * 500, "m" * 500)], "empty")
    [_, line] = capsys.readouterr().out.splitlines()
    assert line == "n" * 500 + "  " + "m" * 500


def test_on_a_narrow_terminal_long_cells_wrap_and_nothing_vanishes():
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [str(BIN / "hive"), ["describe", "gis.dtm"]]
    shown = pexpect.spawn(*command, env=environment, dimensions=(40, 60), encoding="utf-8").read()
    table = shown.partition("PARAMETER")[2]
    assert "…" not in table
    assert {"Edge", "of", "a", "grid", "cell", "on", "the", "ground."} <= set(table.split())
    assert max(len(line) for line in table.splitlines()[1:13]) <= 60


def test_a_story_begins_with_its_times_and_leaves_out_what_is_not_set():
    lines = job_text(DONE).splitlines()
    assert lines[4:8] == [
        "  submitted  1970-01-01T00:00:01.000Z",
        "  started    1970-01-01T00:00:01.000Z",
        "  finished   1970-01-01T00:01:16.000Z",
        "  duration   1 min 15 s",
    ]
    assert lines[lines.index("parameters") + 1 :][:2] == ["  cell  2 m", "  fill  3"]
    assert "None" not in job_text(QUEUED)


def test_a_switch_that_is_off_is_told_as_no():
    asked = msgspec.structs.replace(ASKED, task="test.probe", parameters={"fail": False, "message": "", "seconds": 0.0})
    told = job_text(replace(DONE, specification=asked))
    assert told.endswith("parameters\n  fail     no\n  seconds  0 s")


def test_measures_that_are_empty_are_left_out_and_zeros_are_not():
    assert measures_text(replace(DONE, measures={"message": "", "libraries": {}, "attempt": 0})) == "  attempt  0"


def at_step(done, message, job=RUNNING):
    return replace(job, progress=Progress(done, 4, "steps", message))


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr("hive.cli.display.time", SimpleNamespace(monotonic=lambda: now.time))
    return now


def test_without_a_terminal_each_message_gets_a_line_and_so_does_the_end(clock, capsys):
    with Display() as display:
        for job in (QUEUED, at_step(0, "reading"), at_step(1, "gridding"), at_step(2, "gridding")):
            display.changed(job)
        display.changed(at_step(4, "done", DONE))
    said = capsys.readouterr().err.splitlines()
    assert said[2:] == ["0 of 4 steps  reading", "1 of 4 steps  gridding", "4 of 4 steps  done"]


def test_without_a_terminal_numbers_alone_get_a_line_every_five_seconds(clock, capsys):
    display = Display()
    for done, seconds in ((0, 0), (1, 4.9), (2, 5.0), (3, 5.1)):
        clock.time = 100.0 + seconds
        display.changed(at_step(done, "working"))
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == ["0 of 4 steps  working", "2 of 4 steps  working"]


def test_a_job_that_was_finished_before_is_not_told_again(capsys):
    Display().changed(at_step(4, "done", DONE))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("queue", "command"),
    [("gis", "hive worker --capabilities gis=2"), ("nobody", "celery -A hive worker -Q nobody -c 2")],
)
def test_the_command_for_an_unserved_queue_is_one_that_serves_it(queue, command, capsys):
    Display().unserved(queue)
    assert f"Start one: {command}. Ctrl-C" in capsys.readouterr().err


def test_the_help_of_a_task_says_what_its_files_are():
    said = help_of(dtm)
    assert "Usage: dtm [OPTIONS] CLOUD [RASTER]" in said
    assert "Files:\n  CLOUD   The point cloud to read (.las, .laz), or a folder of them.\n" in said
    assert "--preview PREVIEW  Where the preview goes (.png); default: beside RASTER, with its name." in said
    assert "OUTPUT  Where the file goes; default: none is written." in help_of(probe)


def test_the_help_names_the_places_that_a_request_chooses():
    chosen = make_request(dtm, {"cloud": TILE}).destinations
    assert described(dtm, "raster").endswith("beside CLOUD, as NAME_dtm.tif.")
    assert chosen["raster"] == TILE.with_name(f"{TILE.stem}_dtm.tif")
    assert chosen["preview"] == chosen["raster"].with_suffix(".png")


def test_an_option_without_help_gets_one_from_its_type():
    assert described(survey, "more") == "The point cloud to read (.las, .laz); one or more."
    assert described(survey, "method") == "One of fast, exact."
    assert described(survey, "limit") == "A number in m, more than 0 m."
    assert described(survey, "code") == "Text: three capital letters."
    assert "  [default: 1, 2]" in help_of(survey)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code, *capsys.readouterr()


def test_hive_alone_shows_what_there_is(capsys):
    code, said, chatter = run(capsys)
    assert (code, chatter) == (0, "")
    assert said.startswith("Usage: ")
    assert "\nJobs:\n" in said


def test_a_capability_alone_shows_its_tasks_and_nothing_around_them(capsys):
    code, said, chatter = run(capsys, "submit", "gis")
    assert (code, said) == (2, "")
    assert chatter.startswith("Usage: ")
    assert "See: hive" not in chatter


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [("sumbit", "submit"), ("submit gsi", "gis"), ("submit gis dtn", "dtm"), ("describe test.prob", "probe")],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(capsys, arguments, meant):
    code, _, said = run(capsys, *arguments.split())
    assert code == 2
    assert f"Did you mean '{meant}'?" in said


def test_a_parameter_and_a_setting_that_are_nearly_right_are_too(tmp_path):
    with pytest.raises(HiveError, match="It has: cloud, .*, preview. Did you mean 'cell'?"):
        find_task("gis.dtm").check_names({"cel": 1})
    (tmp_path / "config.toml").write_text("redis_prot = 1")
    with pytest.raises(HiveError, match="Did you mean 'redis_port'?"):
        load_settings({}, {"HIVE_HOME": str(tmp_path)})


def test_nothing_is_guessed_where_no_name_is_close():
    assert did_you_mean("seismics", ["gis", "test"]) == ""
    assert did_you_mean("GIS", ["gis", "test"]) == " Did you mean 'gis'?"


def test_a_list_of_jobs_shows_duration_cost_and_the_error_in_one_line():
    failed = replace(DONE, state=State.FAILED, cost_usd=0.25, error={"kind": "engine", "message": "no\nground " * 40})
    columns, [row] = job_list._table([failed])
    cells = dict(zip(columns, row, strict=True))
    assert (cells["DURATION"], cells["COST"]) == ("1 min 15 s", "$0.25")
    assert cells["ERROR"].startswith("no ground no ground")
    assert len(cells["ERROR"]) == 80
    assert "WORKER" not in job_list._table([QUEUED])[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (86399, "23 h ago"),
        (86400, "1 d ago"),
    ],
)
def test_a_time_is_told_by_how_long_ago_it_was(seconds, words):
    assert ago(SUBMITTED, SUBMITTED + timedelta(seconds=seconds)) == words
    assert ago(SUBMITTED + timedelta(seconds=seconds), SUBMITTED) == "0 s ago"  # a clock that is ahead

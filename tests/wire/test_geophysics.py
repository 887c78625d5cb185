"""Detecting and picking for real: a real redis-server, a real Celery worker, real waveforms."""

import csv
import shutil

import pytest

from tests.support import DATA, Hive, missing

pytestmark = pytest.mark.wire
WAVEFORMS = sorted((DATA / "geophysics").glob("BW.UH*"))
RECORD = sorted((DATA / "geophysics").glob("loc_RJOB*"))


@pytest.fixture(scope="module")
def quakes(tmp_path_factory):
    """A Hive with Redis and one worker for geophysics; shared, so leave it as it was."""
    try:
        import obspy  # noqa: F401  looked for, not used
    except ImportError:
        missing("obspy")
    hive = Hive(tmp_path_factory.mktemp("quakes"), HIVE_PRELOAD="1")
    with hive.up(), hive.worker("geophysics", slots=1):
        yield hive


def test_events_come_back_as_quakeml_table_and_picture(quakes, tmp_path):
    job = quakes.json("submit", "geophysics", "detect", *WAVEFORMS, "--events", tmp_path / "quakes.xml")
    assert (job["state"], job["measures"]["events"], job["measures"]["stations"]) == ("succeeded", 3, 4)
    assert job["measures"]["triggers"] == {"BW.UH1": 4, "BW.UH2": 5, "BW.UH3": 3, "BW.UH4": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quakes.png", "quakes.xml", "quakes_table.csv"]
    with (tmp_path / "quakes_table.csv").open(newline="") as sheet:
        assert [row["time"][11:22] for row in csv.DictReader(sheet)] == ["16:24:33.21", "16:27:01.26", "16:27:30.51"]
    assert job["progress"]["message"] == "3 events"


def test_the_default_task_and_places_need_no_names(quakes, tmp_path):
    files = [shutil.copy(file, tmp_path) for file in WAVEFORMS]
    ended = quakes.run("submit", "geophysics", *files, "--min-stations", "4")
    assert "events          2" in ended.stderr + ended.stdout
    assert (tmp_path / "BW.UH1._.SHZ.D.2010.147.cut.slist_detect.xml").exists()
    assert (tmp_path / "BW.UH1._.SHZ.D.2010.147.cut.slist_detect.png").exists()


def test_picks_come_back_too(quakes, tmp_path):
    job = quakes.json(
        "submit", "geophysics", "pick", *RECORD, "--picks", tmp_path / "a.xml", "--sampling-rate", "200Hz"
    )
    assert job["measures"]["p_after_start"] == {"STA": 30.635}
    assert job["measures"]["s_after_start"] == {"STA": 31.165}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.xml", "a_table.csv"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("detect quake.gz --low 20", "low must be less than high, 20 Hz, not 20 Hz."),
        ("detect quake.gz --sta 20s", "sta must be less than lta, 10 s, not 20 s."),
        ("detect quake.gz --min-stations 0", "min_stations must be at least 1, not 0."),
        ("detect quake.gz empty.mseed", "empty.mseed is empty; expected a waveform file."),
        ("detect quake.gz station.xml", "station.xml is not a waveform file: it is XML or HTML"),
        ("detect quake.gz --events quake.gz", "events must be a QuakeML file whose name ends in .xml"),
        ("detect", "geophysics.detect needs waveforms: name the waveform file to read."),
        (
            "pick quake.gz --method baer --sta-p 0.2",
            "sta_p belongs to the method ar; add --method ar, or leave it out.",
        ),
        ("pick quake.gz --sampling-rate 30Hz", "high must be less than half the sampling rate, 15 Hz, not 20 Hz."),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(quakes, tmp_path, words, says):
    shutil.copy(WAVEFORMS[0], tmp_path / "quake.gz")
    (tmp_path / "empty.mseed").touch()
    (tmp_path / "station.xml").write_text("<?xml version='1.0'?>")
    jobs = quakes.redis.zcard("hive:jobs")
    ended = quakes.run("submit", "geophysics", *words.split(), code=2, cwd=tmp_path)
    assert ended.stderr.startswith("hive: ")
    assert says in ended.stderr
    assert (ended.stderr.count("\n"), quakes.redis.zcard("hive:jobs")) == (1, jobs)


def test_what_only_the_worker_can_see_fails_with_its_reason(quakes, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    ended = quakes.run("submit", "geophysics", *WAVEFORMS, "notes.txt", "--events", "a.xml", code=1, cwd=tmp_path)
    assert "notes.txt is not a waveform file that Hive reads: miniSEED, SAC, GSE" in ended.stderr
    assert quakes.json("jobs", "--limit", "1")[0]["error"]["kind"] == "bad-input"
    too_many = quakes.run("submit", "geophysics", WAVEFORMS[0], "--events", "a.xml", code=1, cwd=tmp_path)
    assert "min_stations must be at most the number of stations in the files, 1, not 3: BW.UH1." in too_many.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

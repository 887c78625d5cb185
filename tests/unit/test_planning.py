"""From many files to many requests: all of them are looked at before anything is sent."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from hive_workers.gis.dtm import dtm
from hive_workers.test.probe import probe

from hive import versions as version
from hive.client.map import request_digest
from hive.client.plan import Plan, make_items
from hive.errors import BadFileError, BadParameterError, UnknownNameError, UsageError
from hive.options import JobOptions, Priority
from hive.task import AnyInput, AnyOutput, Capability
from hive.units import Help
from hive.wire.job import Specification
from tests.support import TILE

lab = Capability("lab", "Tasks that only these tests have.")


@lab.task
def clip(
    cloud: AnyInput, outline: AnyInput, clipped: AnyOutput, *, buffer: Annotated[float, Help("Edge.")] = 0.0
) -> None:
    """Cut a cloud along an outline."""


@lab.task
def merge(clouds: list[AnyInput], merged: AnyOutput) -> None:
    """Merge clouds."""


def _fit(values: Mapping[str, Any]) -> None:
    if values["low"] >= values["high"]:
        raise BadParameterError("low must be less than high.")


@lab.task(together=_fit)
def scale(cloud: AnyInput, scaled: AnyOutput, *, low: float = 0.0, high: float = 1.0) -> None:
    """Scale elevations."""


@pytest.fixture
def tiles(tmp_path):
    return [shutil.copy(TILE, tmp_path / f"tile{number}.laz") for number in range(3)]


def plan(task, files=(), **more):
    return make_items(Plan(task, files, **more))


def test_each_file_becomes_a_job_with_places_named_after_it(tiles, tmp_path):
    items = plan(dtm, tiles, out=tmp_path / "out", values={"cell": "2 m"})
    assert [item.name for item in items] == [str(tile) for tile in tiles]
    assert items[1].request.destinations == {
        "raster": tmp_path / "out" / "tile1_dtm.tif",
        "preview": tmp_path / "out" / "tile1_dtm.png",
    }
    assert items[1].request.parameters["cell"] == 2.0
    assert (items[1].request.queue, items[1].request.options.priority) == ("gis", Priority.NORMAL)
    assert (tmp_path / "out").is_dir()


def test_a_second_file_that_is_read_is_the_same_for_all(tiles, tmp_path):
    outline = tmp_path / "outline.gpkg"
    outline.write_text("x")
    items = plan(clip, tiles, out=tmp_path, values={"outline": str(outline)})
    assert {item.request.sources["outline"] for item in items} == {(outline,)}
    assert items[0].request.destinations == {"clipped": tmp_path / "tile0_clip"}


def test_a_task_that_reads_no_files_is_repeated(tmp_path):
    items = plan(probe, count=3, values={"seconds": "1 min"}, options=JobOptions(queue="gis", priority="high"))
    assert [item.name for item in items] == ["#1", "#2", "#3"]
    assert items[0].request is items[2].request
    assert (items[0].request.parameters["seconds"], items[0].request.queue) == (60.0, "gis")
    assert items[0].request.options.priority is Priority.HIGH
    assert items[0].request.destinations == {}
    numbered = plan(probe, count=10, out=tmp_path / "out")
    assert numbered[0].request.destinations == {"output": tmp_path / "out" / "01_probe"}


@pytest.mark.parametrize(
    ("task", "more", "error", "words"),
    [
        (dtm, {}, BadParameterError, "needs cloud: name the files"),
        (dtm, {"count": 3}, BadParameterError, "name the files instead of --count"),
        (dtm, {"files": ["a.laz"]}, BadParameterError, "name a folder for them: --out DIR"),
        (dtm, {"files": ["a.laz"], "values": {"cel": 1}}, UnknownNameError, "Did you mean 'cell'?"),
        (dtm, {"files": ["a.laz"], "values": {"cell": 0}}, BadParameterError, "^cell must be more than 0 m"),
        (dtm, {"files": ["a.laz"], "values": {"cloud": "b.laz"}}, BadParameterError, "it is what the files are for"),
        (dtm, {"files": ["a.laz"], "values": {"raster": "b.tif"}}, BadParameterError, "raster cannot be given"),
        (dtm, {"files": ["a.laz"], "options": JobOptions(queue="gsi")}, UnknownNameError, "There is no queue 'gsi'"),
        (probe, {}, BadParameterError, "say how often to run it: --count N"),
        (probe, {"files": ["a.laz"]}, BadParameterError, "reads no files"),
        (probe, {"count": 0}, BadParameterError, "at least 1, not 0"),
        (merge, {"files": ["a.laz"]}, BadParameterError, "reads several files at once .* hive submit lab merge"),
        (clip, {"files": ["a.laz"], "out": Path()}, BadParameterError, "needs outline"),
        (clip, {"files": ["a"], "out": Path(), "values": {"outline": "b"}}, BadFileError, "^b does not exist"),
    ],
)
def test_what_is_wrong_for_all_is_said_once(task, more, error, words):
    with pytest.raises(error, match=words):
        plan(task, **more)


def test_options_that_do_not_fit_together_are_said_once(tiles, tmp_path):
    with pytest.raises(BadParameterError, match=r"^low must be less than high\.$"):
        plan(scale, tiles, out=tmp_path / "out", values={"low": 2})
    assert not (tmp_path / "out").exists()


def test_all_files_that_cannot_be_used_are_listed_and_no_folder_is_left(tiles, tmp_path):
    (tmp_path / "empty.laz").touch()
    bad = [tmp_path / f"nowhere{number}.laz" for number in range(20)]
    with pytest.raises(UsageError) as raised:
        plan(dtm, [*tiles, tmp_path / "empty.laz", *bad, tmp_path / "a.txt"], out=tmp_path / "out")
    lines = str(raised.value).splitlines()
    assert lines[0] == "22 of 25 files cannot be used; nothing was sent."
    assert lines[1].endswith("empty.laz is empty; expected a point cloud.")
    assert (len(lines), lines[-1]) == (12, "  … and 12 more.")
    assert not (tmp_path / "out").exists()


def test_equal_names_from_two_folders_are_refused_with_both_names(tiles, tmp_path):
    (tmp_path / "b").mkdir()
    other = shutil.copy(TILE, tmp_path / "b" / "tile0.laz")
    with pytest.raises(
        BadFileError, match="tile0.laz and .*b/tile0.laz would both be written to .*tile0_dtm.tif; rename"
    ):
        plan(dtm, [*tiles, other], out=tmp_path / "out")
    with pytest.raises(BadFileError, match="tile0.laz is named twice. Nothing was sent."):
        plan(dtm, [*tiles, tiles[0]], out=tmp_path / "out")


def test_no_result_overwrites_the_input_of_another_job(tmp_path):
    for name in ("a", "a_clip", "outline"):
        (tmp_path / name).write_text("x")
    files = [tmp_path / "a", tmp_path / "a_clip"]
    with pytest.raises(BadFileError, match="The result of .*/a would overwrite .*/a_clip; choose another folder"):
        plan(clip, files, out=tmp_path, values={"outline": str(tmp_path / "outline")})


@pytest.mark.parametrize(("name", "words"), [("file", "is a file"), ("file/below", "cannot be made: Not a directory")])
def test_a_folder_that_cannot_be_made_is_refused(tiles, tmp_path, name, words):
    (tmp_path / "file").touch()
    with pytest.raises(BadFileError, match=words):
        plan(dtm, tiles, out=tmp_path / name)


def asked(digest="0" * 64, name="tile.laz", **parameters):
    return Specification("gis", "gis.dtm", "gis", parameters, {"cloud": f"sha256:{digest}/{name}"}, {"raster": "a.tif"})


def test_what_makes_two_requests_the_same(tmp_path):
    place = {"raster": tmp_path / "a.tif"}
    same = request_digest(asked(cell=1.0), place)
    assert request_digest(asked(name="renamed.laz", cell=1.0), place) == same
    assert request_digest(asked(cell=2.0), place) != same
    assert request_digest(asked("1" * 64, cell=1.0), place) != same
    assert request_digest(asked(cell=1.0), {"raster": tmp_path / "b.tif"}) != same


def test_a_task_whose_code_has_changed_is_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "package_of", lambda _: SimpleNamespace(__path__=[str(tmp_path)]))
    seen = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b/c.json", "{}"), ("b/__pycache__/c.pyc", "x")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        version.code_version.cache_clear()
        seen.append(version.code_version("lab"))
    version.code_version.cache_clear()
    assert len(set(seen)) == 3
    assert seen[2] == seen[3]

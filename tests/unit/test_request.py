"""From a call to a request: every file and place is looked at before anything is sent."""

import shutil
import struct
from pathlib import Path
from typing import Annotated

import pytest
from hive_workers.gis.dtm import dtm
from hive_workers.test.probe import probe
from hive_workers.training.fit import fit

from hive.client import make_request
from hive.errors import BadFileError, BadParameterError, UnknownNameError, UsageError
from hive.task import Capability, Written
from hive.task.files import check_las, check_waveform
from tests.support import DATA, TILE


@pytest.fixture
def tile(tmp_path):
    return shutil.copy(TILE, tmp_path / "tile.laz")


def test_results_without_a_name_go_beside_the_input(tile, tmp_path):
    request = make_request(dtm, {"cloud": tile})
    assert request.destinations == {"raster": tmp_path / "tile_dtm.tif", "preview": tmp_path / "tile_dtm.png"}


def test_the_preview_goes_beside_the_result(tile, tmp_path):
    (tmp_path / "out").mkdir()
    request = make_request(dtm, {"cloud": tile, "raster": tmp_path / "out" / "a.tif"})
    assert request.destinations["preview"] == tmp_path / "out" / "a.png"


def test_a_result_of_a_task_that_reads_nothing_goes_here():
    @Capability("dice", "For this test.").task
    def throw(*, table: Annotated[Path, Written("table", (".csv",))]) -> None:
        """Throw."""

    assert make_request(throw, {}).destinations == {"table": Path("dice_throw.csv")}


def test_values_that_do_not_go_together_are_refused_before_a_file_is_asked_for():
    with pytest.raises(BadParameterError, match=r"^gis-lidar needs classified LiDAR tiles \(.las or .laz\)"):
        make_request(fit, {"model": "gis-lidar", "epochs": 100})


def test_an_optional_file_that_is_no_preview_is_not_asked_for():
    assert make_request(probe, {}).destinations == {}


def test_an_input_is_never_overwritten(tmp_path):
    tile = shutil.copy(TILE, tmp_path / "tile.laz")
    (tmp_path / "tile.tif").symlink_to(tile)
    with pytest.raises(BadFileError, match="would overwrite the input"):
        make_request(dtm, {"cloud": tile, "raster": tmp_path / "tile.tif"})


def test_two_results_cannot_have_one_place(tile, tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="both be written to"):
        make_request(dtm, {"cloud": tile, "raster": tmp_path / "a.tif", "preview": tmp_path / "a.png"})


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({}, BadParameterError, "needs cloud: name the point cloud"),
        ({"cloud": "nowhere.laz"}, BadFileError, "nowhere.laz does not exist"),
        ({"cloud": "tile.txt"}, BadParameterError, "whose name ends in .las or .laz"),
        ({"cloud": "ftp://example.org/tile.laz"}, BadParameterError, "is no URL that workers read"),
        ({"cloud": "https://me:secret@example.org/tile.laz"}, BadParameterError, "is no URL that workers read"),
        ({"cloud": "https://example.org/..laz/"}, BadParameterError, "whose name ends in .las or .laz"),
        ({"cloud": "sha256:abc/tile.laz"}, BadParameterError, "is no reference"),
        ({"cloud": f"sha256:{'0' * 64}/../tile.laz"}, BadParameterError, "no slashes"),
        ({"cloud": ""}, BadParameterError, "the path of a point cloud"),
        ({"cloud": "a\0.laz"}, BadParameterError, "the path of a point cloud"),
        ({"cel": 1}, UnknownNameError, "no parameter 'cel'"),
    ],
)
def test_what_cannot_be_read_is_refused(values, error, words):
    with pytest.raises(error, match=words):
        make_request(dtm, values)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere/a.tif", "does not exist. Make it: mkdir -p"),
        ("folder.tif", "is a folder"),
        ("a.png", "whose name ends in .tif or .tiff"),
        ("a" * 260 + ".tif", "255 bytes"),
        ("new\nline.tif", "no control characters"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tile, tmp_path, place, words):
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(UsageError, match=words):
        make_request(dtm, {"cloud": tile, "raster": tmp_path / place})


def test_whole_tiles_pass_the_look_at_their_first_bytes():
    check_las(TILE)
    check_las(DATA / "gis" / "sample_c.las")


@pytest.mark.parametrize("name", ["autzen_trim.laz", "sample_c.las"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_truncated_tile_is_noticed_before_it_is_sent(tmp_path, name, share):
    whole = (DATA / "gis" / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadFileError, match="is truncated"):
        check_las(cut)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\0" * 400, b"LAS", b"\0" * 1000])
def test_a_file_that_is_no_tile_is_noticed(tmp_path, content):
    path = tmp_path / "fake.laz"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="is not a LAS or LAZ file"):
        check_las(path)


def test_more_points_than_32_bits_can_count_are_read_from_the_large_field(tmp_path):
    header = bytearray(375)
    struct.pack_into("<4s20xBB68xHIIBHI", header, 0, b"LASF", 1, 4, 375, 375, 0, 6, 30, 0)
    struct.pack_into("<Q", header, 247, 5_000_000_000)
    path = tmp_path / "large.las"
    path.write_bytes(header)
    with pytest.raises(BadFileError, match="is truncated"):
        check_las(path)


@pytest.mark.parametrize("make", ["empty", "folder"])
def test_an_empty_file_and_a_folder_are_refused(tmp_path, make):
    path = tmp_path / "tile.laz"
    path.mkdir() if make == "folder" else path.touch()
    with pytest.raises(BadFileError, match="is empty|holds no point cloud"):
        make_request(dtm, {"cloud": path})


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<?xml version='1.0'?>\n<FDSNStationXML/>", "XML or HTML, such as StationXML, QuakeML or a web page"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "XML or HTML"),
        (b"PK\x03\x04....", "a ZIP archive; unpack it"),
        (b"%PDF-1.7", "a PDF"),
        (b"LASF....", "a point cloud"),
    ],
)
def test_a_file_that_cannot_be_a_waveform_is_noticed_before_it_is_sent(tmp_path, content, what):
    (tmp_path / "a.mseed").write_bytes(content)
    with pytest.raises(BadFileError, match=f"a.mseed is not a waveform file: it is {what}"):
        check_waveform(tmp_path / "a.mseed")


@pytest.mark.parametrize(
    "content", [b"000001D BW", b"TIMESERIES BW_UH1", b"WID2 ", b"14.57\n", b"\x1f\x8b\x08", b"\x00"]
)
def test_the_beginning_of_a_waveform_file_is_let_pass(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    check_waveform(tmp_path / "a")

"""Bad input gets one sentence that says what to do, and nothing is sent."""

import shutil

import pytest

from tests.support import TILE

pytestmark = pytest.mark.wire


@pytest.fixture
def nothing_is_sent(farm):
    def state():
        kept = [path for path in (farm.home / "store").rglob("*") if path.is_file()]
        return farm.redis.zcard("hive:jobs"), sorted(kept)

    before = state()
    yield
    assert state() == before


@pytest.fixture
def folder(tmp_path):
    shutil.copy(TILE, tmp_path / "tile.laz")
    (tmp_path / "fake.laz").write_bytes(b"not a tile at all" * 30)
    (tmp_path / "cut.laz").write_bytes(TILE.read_bytes()[:300_000])
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


@pytest.mark.usefixtures("nothing_is_sent")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("gis dtm missing.laz out.tif", "missing.laz does not exist; check the path."),
        ("gis dtm notes.txt out.tif", "cloud must be a point cloud whose name ends in .las or .laz, not 'notes.txt'."),
        ("gis dtm fake.laz out.tif", "fake.laz is not a LAS or LAZ file: it does not begin with LASF."),
        ("gis dtm cut.laz out.tif", "cut.laz is truncated: it has 300000 bytes, fewer than its header announces."),
        ("gis dtm tile.laz out.tif --cell -2", "cell must be more than 0 m, not -2 m."),
        ("gis dtm tile.laz out.tif --cell abc", "cell must be a number in m: 'abc' is not a number."),
        ("gis dtm tile.laz out.tif --fill 1.5", "fill must be a whole number, not 1.5."),
        ("gis dtm tile.laz out.tif --crs nonsense", "crs must be a code such as EPSG:32610, not 'nonsense'."),
        ("gis dtm tile.laz nowhere/out.tif", "The folder nowhere does not exist."),
        ("gis dtm tile.laz out.tif extra", "unexpected extra argument"),
        ("gis dtm tile.laz out.tif --cel 1", "No such option"),
        ("gis dtm", "gis.dtm needs cloud: name the point cloud to read."),
        ("gis dmt tile.laz out.tif", "gis has no task 'dmt'. It has: dtm."),
        ("gis dtm_tile tile.laz", "gis has no task 'dtm_tile'. It has: dtm."),  # a part has no command
        (
            "gsi dtm tile.laz out.tif",
            "There is no capability 'gsi'. Known capabilities: 3d-generation, geophysics, gis, ",
        ),
        ("gis dtm tile.laz out.tif --queue training9", "There is no queue 'training9'."),
        ("test --seconds -1", "seconds must be at least 0 s, not -1 s."),
        ("test --crash all", "crash must be one of child, worker, not 'all'."),
        ("test --trace ../x", "trace must be a plain file name"),
        ("--type gis.dtm --params {", "--params is no JSON"),
        ("--type gis.dtm --params []", "--params must be a JSON object"),
        ("--type gis.dtm --params {}", "gis.dtm needs cloud"),
        ('--type gis.dtm --params {"cloud":"tile.laz","cel":1}', "gis.dtm has no parameter 'cel'. It has: cloud,"),
        (
            '--type gis.dtm --params {"cloud":"tile.laz","smrf":{"window":20}}',
            "smrf of gis.dtm is a group of parameters. Give them by their own names: window, slope,",
        ),
        ("--type gis.dtm_tile --params {}", "gis has no task 'dtm_tile'."),
        ("--type gis --params {}", "gis has no default task. Name one of: dtm."),
        ("--type nowhere", "There is no capability 'nowhere'."),
    ],
)
def test_it_is_refused_in_one_sentence(farm, folder, words, says):
    ended = farm.run("submit", *words.split(" "), code=2, cwd=folder)
    assert ended.stderr.startswith("hive: ")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.usefixtures("nothing_is_sent")
def test_a_reference_that_the_store_lacks_is_refused(farm, folder):
    reference = f"sha256:{'0' * 64}/tile.laz"
    ended = farm.run("submit", "gis", "dtm", reference, "out.tif", code=2, cwd=folder)
    assert "is not in the store" in ended.stderr


def test_a_corrupt_tile_fails_with_pdals_own_words(farm, folder):
    corrupt = bytearray(TILE.read_bytes())
    corrupt[300_000:301_000] = bytes(byte ^ 0x5A for byte in corrupt[300_000:301_000])
    (folder / "corrupt.laz").write_bytes(corrupt)
    ended = farm.run("submit", "gis", "dtm", "corrupt.laz", "out.tif", code=1, cwd=folder)
    assert "PDAL failed: readers.las: reading point" in ended.stderr
    assert "corrupt.laz" in ended.stderr
    assert not (folder / "out.tif").exists()
    assert farm.json("jobs", "--limit", "1")[0]["error"]["kind"] == "engine"


def test_an_unknown_command_lists_the_known_ones(farm):
    assert "Did you mean 'submit'? There is no command 'sumbit', only " in farm.run("sumbit", code=2).stderr


def test_a_probe_that_may_not_write_traces_says_who_can_allow_it(hive_up):
    with hive_up.worker("gis", slots=1, traces=False):
        assert "its owner has not set HIVE_TRACE_DIR" in hive_up.run("submit", "test", "--trace", "x", code=1).stderr

"""gis.dtm in tiles against the same area in one piece, and against a closed form."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from hive.errors import BadFileError, BadParameterError, InputError
from tests.support import DATA, TILE, missing, require_program

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def dtm():
    require_program("pdal")
    try:
        import laspy
        import rasterio
    except ImportError:
        missing("laspy or rasterio")
    assert laspy
    assert rasterio
    from hive_workers.gis.dtm import dtm

    return dtm


def read(path):
    import rasterio

    with rasterio.open(path) as file:
        return file.read(1, masked=True), (file.transform, file.crs, file.units, file.nodata, file.shape)


def south(file):
    """The southern half of the demo's tile."""
    import laspy

    whole = laspy.read(TILE)
    northing = np.asarray(whole.y)
    whole[northing < np.median(northing)].write(file)
    return file


def halves(folder, tile=TILE):
    """A tile as two files that lie side by side."""
    import laspy

    folder.mkdir()
    whole = laspy.read(tile)
    middle = np.median(np.asarray(whole.x))
    for name, mine in (("west.laz", np.asarray(whole.x) < middle), ("east.LAZ", np.asarray(whole.x) >= middle)):
        whole[mine].write(folder / name)
    return folder


def classes(points):
    """Points in an order that does not depend on their file: what tells them apart, and their class."""
    columns = [points.X, points.Y, points.Z, points.return_number, np.asarray(points.gps_time).view(np.int64)]
    table = np.stack([np.asarray(column, dtype=np.int64) for column in (*columns, points.classification)], axis=1)
    return table[np.lexsort(table.T[::-1])]


def test_tiles_agree_with_the_whole_in_995_of_1000_points_and_in_their_number(dtm, tmp_path):
    import laspy
    from hive_workers.gis.cloud import read_header
    from hive_workers.gis.dtm.ground import NO_NOISE, GroundFilter, smrf_stage
    from hive_workers.gis.dtm.tile import dtm_tile
    from hive_workers.gis.dtm.tiles import plan_tiles
    from hive_workers.gis.engine import run_pipeline

    header, smrf = read_header(TILE, None), GroundFilter()
    run_pipeline(
        [
            {"filename": str(TILE)}, NO_NOISE, {"type": "filters.assign", "value": "Classification = 0"},
            smrf_stage(smrf, header),
            {
                "type": "writers.las", "filename": str(tmp_path / "whole.las"), "minor_version": 4, "dataformat_id": 6,
                "forward": "scale_x,scale_y,scale_z,offset_x,offset_y,offset_z",
            },
        ],
        "by hand",
    )  # fmt: skip
    whole = classes(laspy.read(tmp_path / "whole.las"))
    tiles, measured, parts = plan_tiles(header, 1.0, 3, 100.0, smrf), [], []
    for one in tiles:
        measured.append(
            dtm_tile(
                [TILE], tmp_path / "tile.tif", tmp_path / "tile.laz", corner=[one.grid.west, one.grid.south],
                edge=one.grid.cell, columns=one.grid.columns, rows=one.grid.rows, box=list(one.box),
            )
        )  # fmt: skip
        parts.append(laspy.read(tmp_path / "tile.laz"))
        assert len(parts[-1].points) == measured[-1].points
    tiled = np.concatenate([classes(one) for one in parts])
    tiled = tiled[np.lexsort(tiled.T[::-1])]
    assert len(tiles) == 8
    assert sum(one.points for one in measured) == len(whole) == 110_000
    assert (tiled[:, :5] == whole[:, :5]).all()
    assert (tiled[:, 5] == whole[:, 5]).mean() >= 0.995


def test_the_grid_of_tiles_is_that_of_the_whole(dtm, tmp_path):
    whole, tiled = dtm(TILE, tmp_path / "whole.tif"), dtm(TILE, tmp_path / "tiled.tif", tile=100)
    assert (tiled.points, tiled.cells, tiled.empty_share) == (whole.points, whole.cells, whole.empty_share)
    assert tiled.ground_points == pytest.approx(whole.ground_points, rel=0.005)
    (one, how), (other, the_same) = read(tmp_path / "whole.tif"), read(tmp_path / "tiled.tif")
    assert how == the_same
    assert (one.mask == other.mask).all()
    # Where tile and whole agree on what is ground, cells are the same up to the rounding of a 32-bit mean.
    assert (np.abs(one - other) < 0.01).mean() > 0.97
    assert not (tmp_path / "tiled.png").exists()


def test_a_folder_of_tiles_is_one_area(dtm, tmp_path):
    tile = south(tmp_path / "south.laz")
    folder = halves(tmp_path / "tiles", tile)
    (folder / "notes.txt").write_text("not a point cloud")
    whole, area = dtm(tile, tmp_path / "whole.tif", tile=120), dtm(folder, tmp_path / "area.tif", tile=120)
    assert area == whole
    assert (read(tmp_path / "area.tif")[0] == read(tmp_path / "whole.tif")[0]).all()


def test_a_tilted_plane_stays_one_across_the_seams(dtm, tmp_path):
    """Every cell of a plane z = 100 + 0.1 x + 0.05 y lies on it; seams between tiles would show as steps."""
    import laspy

    east, north = np.meshgrid(np.arange(0.25, 120, 0.5), np.arange(0.25, 60, 0.5))
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [500_000, 4_000_000, 0]
    from pyproj import CRS

    header.add_crs(CRS.from_epsg(32610))
    plane = laspy.LasData(header)
    plane.x, plane.y = 500_000 + east.ravel(), 4_000_000 + north.ravel()
    plane.z = 100 + 0.1 * east.ravel() + 0.05 * north.ravel()
    plane.return_number = plane.number_of_returns = np.ones(east.size, dtype=np.uint8)
    plane.write(tmp_path / "plane.las")
    measured = dtm(tmp_path / "plane.las", tmp_path / "plane.tif", cell=1, tile=40, window=5)
    assert measured.ground_points == measured.points == east.size
    elevation, _ = read(tmp_path / "plane.tif")
    rows, columns = np.mgrid[0:60, 0:120]
    wanted = 100 + 0.1 * (columns + 0.5) + 0.05 * (60 - rows - 0.5)
    inside = (slice(2, -2), slice(2, -2))  # at the rim a cell has neighbours on one side only
    # The points lie symmetrically around each centre, so inverse distance gives the plane itself; float32 keeps 1e-5.
    assert np.abs(elevation[inside] - wanted[inside]).max() < 1e-3


def test_tiles_without_points_are_left_empty(dtm, tmp_path):
    import laspy

    whole = laspy.read(TILE)
    northing = np.asarray(whole.y)
    whole.points = whole.points[northing < northing.min() + np.ptp(northing) / 4]
    easting = np.asarray(whole.x)
    west, east = easting.min(), easting.max()
    gap = (easting < west + (east - west) / 4) | (easting > east - (east - west) / 4)
    whole[gap].write(tmp_path / "gap.laz")
    measured = dtm(tmp_path / "gap.laz", tmp_path / "gap.tif", tile=60)
    elevation, _ = read(tmp_path / "gap.tif")
    columns = elevation.shape[1]
    assert elevation.mask[:, columns * 2 // 5 : columns * 3 // 5].all()
    assert measured.points == int(gap.sum())
    assert not elevation.mask[:, : columns // 5].all()


def test_what_cannot_be_cut_is_said(dtm, tmp_path):
    with pytest.raises(BadParameterError, match="tile must be at least as large as cell, 5 m, not 2 m"):
        dtm(TILE, tmp_path / "a.tif", cell=5, tile=2)
    folder = halves(tmp_path / "tiles")
    shutil.copy(DATA / "gis" / "sample_c.las", folder / "other.las")
    with pytest.raises(InputError, match=r"other\.las does not say its coordinate reference system"):
        dtm(folder, tmp_path / "a.tif")


def test_a_folder_without_point_clouds_or_with_a_broken_one_is_refused_at_submit(tmp_path):
    from hive_workers.gis.dtm import dtm

    from hive.client import make_request

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(BadFileError, match=r"empty holds no point cloud.*: no file there ends in \.las or \.laz"):
        make_request(dtm, {"cloud": str(tmp_path / "empty"), "raster": str(tmp_path / "a.tif")})
    (tmp_path / "empty" / "broken.laz").write_bytes(b"LASF")
    with pytest.raises(BadFileError, match=r"broken\.laz is truncated"):
        make_request(dtm, {"cloud": str(tmp_path / "empty"), "raster": str(tmp_path / "a.tif")})
    made = make_request(dtm, {"cloud": str(Path(halves(tmp_path / "tiles")))})
    assert made.destinations["raster"] == tmp_path / "tiles_dtm.tif"


def test_a_new_setting_of_the_ground_filter_is_one_line_in_one_file(dtm, tmp_path):
    """A line in the group makes it an option, a parameter of the part, and an option of PDAL's filter."""
    workers = Path(__file__).parents[2] / "workers" / "hive_workers"
    shutil.copytree(workers, tmp_path / "hive_workers")
    ground = tmp_path / "hive_workers" / "gis" / "dtm" / "ground.py"
    line = '    returns: Annotated[str, Help("Returns that can be ground.")] = "last, only"\n'
    text = ground.read_text()
    at = text.index("    scalar: Annotated")
    ground.write_text(text[:at] + line + text[at:])
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import json
            from pathlib import Path
            from click.testing import CliRunner
            from hive_workers.gis import engine

            stages, run = [], engine.run_pipeline
            engine.run_pipeline = lambda some, about: (stages.extend(some), run(some, about))[1]

            from hive.catalog import find_task
            from hive.cli.root import hive
            for words in (["submit", "gis", "dtm", "--help"], ["describe", "gis.dtm"]):
                print("Returns that can be ground." in CliRunner().invoke(hive, words).output)
            print("returns" in [one.name for one in find_task("gis.dtm_tile", or_part=True).parameters])
            dtm = find_task("gis.dtm")
            print(dtm(Path({str(TILE)!r}), Path("whole.tif"), returns="last").points)
            print(dtm(Path({str(TILE)!r}), Path("tiled.tif"), tile=200, returns="last").points)
            print(json.dumps([one["returns"] for one in stages if one.get("type") == "filters.smrf"]))
        """)
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    *lines, returns = ended.stdout.splitlines()
    assert lines == ["True", "True", "True", "110000", "110000"]
    assert json.loads(returns)[2:]  # of the whole, and of each tile
    assert set(json.loads(returns)) == {"last"}

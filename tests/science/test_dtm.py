"""gis.dtm against plain PDAL run by hand, against figures of the plain libraries, and against closed forms."""

import json
import subprocess

import numpy as np
import pytest

from hive.errors import BadParameterError, EngineError, InputError
from tests.support import DATA, TILE, missing, require_program, wait_until

pytestmark = pytest.mark.science
FOOT = 0.3048


@pytest.fixture(scope="module")
def pdal():
    """Run a pipeline by hand."""
    program = require_program("pdal")

    def run(folder, *stages):
        (folder / "pipeline.json").write_text(json.dumps(stages))
        subprocess.run(
            [program, "pipeline", folder / "pipeline.json", "--metadata", folder / "metadata.json"],
            check=True,
            capture_output=True,
        )
        return json.loads((folder / "metadata.json").read_text())["stages"]

    return run


@pytest.fixture(scope="module")
def dtm(pdal):
    try:
        import rasterio
    except ImportError:
        missing("rasterio")
    assert rasterio
    from hive_workers.gis.dtm import dtm

    return dtm


def read(path):
    import rasterio

    with rasterio.open(path) as file:
        return file.read(1, masked=True), file


def ground_by_hand():
    """The ground of the tile, with SMRF's lengths written in the tile's own feet."""
    return [
        {"type": "filters.assign", "value": "Classification = 0"},
        {
            "type": "filters.smrf", "cell": str(1 / FOOT), "window": str(18 / FOOT), "threshold": str(0.5 / FOOT),
            "slope": 0.15, "scalar": 1.25,
        },
        {"type": "filters.range", "limits": "Classification[2:2]"},
    ]  # fmt: skip


@pytest.mark.parametrize("cell", [1.0, 2.5])
def test_it_equals_plain_pdal_on_the_same_tile_to_the_bit(dtm, pdal, tmp_path, cell):
    measured = dtm(TILE, tmp_path / "hive.tif", cell=cell)
    feet = cell / FOOT
    west, south = np.floor(636001.76 / feet) * feet, np.floor(848935.20 / feet) * feet
    told = pdal(
        tmp_path,
        {"filename": str(TILE)},
        *ground_by_hand(),
        {"type": "filters.stats", "dimensions": "Z"},
        {
            "type": "writers.gdal", "filename": str(tmp_path / "hand.tif"), "output_type": "idw",
            "data_type": "float32", "nodata": -9999, "resolution": repr(feet), "window_size": 3,
            "origin_x": repr(float(west)), "origin_y": repr(float(south)),
            "width": int(np.floor(637179.22 / feet) + 1 - np.floor(636001.76 / feet)),
            "height": int(np.floor(849497.90 / feet) + 1 - np.floor(848935.20 / feet)),
        },
    )  # fmt: skip
    by_hive, by_hand = read(tmp_path / "hive.tif")[0], read(tmp_path / "hand.tif")[0]
    assert by_hive.shape == by_hand.shape
    assert np.array_equal(by_hive.mask, by_hand.mask)
    assert np.array_equal(by_hive.compressed(), by_hand.compressed())
    assert measured.ground_points == told["filters.stats"]["statistic"][0]["count"]


def test_measures_are_those_of_the_raster_in_metres(dtm, tmp_path):
    measured = dtm(TILE, tmp_path / "a.tif", cell=2)
    elevation, _ = read(tmp_path / "a.tif")
    found = (measured.lowest, measured.mean, measured.highest)
    wanted = (elevation.min(), elevation.astype(float).mean(), elevation.max())
    assert found == pytest.approx([value * FOOT for value in wanted], rel=1e-7)  # float32 has 24 bits
    assert (measured.points, measured.cells, measured.elevation_unit) == (110_000, elevation.size, "ft")
    assert measured.empty_share == pytest.approx(elevation.mask.mean())


def test_smrf_finds_the_ground_of_the_reference(pdal, dtm, tmp_path):
    """86,660 points: PDAL 2.2.0 and 2.9.2 with SMRF's defaults read as feet."""
    measured = dtm(TILE, tmp_path / "a.tif", ground_cell=FOOT, window=18 * FOOT, threshold=0.5 * FOOT)
    assert measured.ground_points == 86_660


def test_the_raster_is_a_cloud_optimised_geotiff_with_crs_no_data_and_unit(dtm, tmp_path):
    from rio_cogeo import cog_validate

    dtm(TILE, tmp_path / "a.tif", cell=0.5)
    is_valid, errors, warned = cog_validate(tmp_path / "a.tif")
    assert (is_valid, errors, warned) == (True, [], [])
    import rasterio

    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.linear_units_factor == ("foot", FOOT)
        assert (file.nodata, file.units, file.dtypes) == (-9999.0, ("ft",), ("float32",))
        assert file.overviews(1)


def test_the_grid_of_neighbours_fits_together(dtm, tmp_path):
    dtm(TILE, tmp_path / "a.tif", cell=3)
    _, file = read(tmp_path / "a.tif")
    edges = np.array([file.bounds.left, file.bounds.bottom, file.bounds.right, file.bounds.top]) / (3 / FOOT)
    assert edges == pytest.approx(np.round(edges), abs=1e-6)  # GeoTIFF keeps the corner and the cell as float64


def test_the_preview_shows_the_terrain(dtm, tmp_path):
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    dtm(TILE, tmp_path / "a.tif", preview=tmp_path / "a.png")
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "a.png") as file:
        grey, alpha = file.read()
    assert grey[alpha > 0].std() > 30
    assert 0.7 < (alpha > 0).mean() < 0.95
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.tif"]


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("towards", [0, 90, 180, 225, 315])
def test_a_tilted_plane_has_the_brightness_of_lamberts_law(slope, towards):
    from hive_workers.gis.dtm.terrain import hillshade

    azimuth = np.radians(towards)
    south, east = np.mgrid[0:20, 0:30] * 2.0
    elevation = -slope * (np.sin(azimuth) * east - np.cos(azimuth) * south)  # falls towards the azimuth
    steepness = np.arctan(slope)
    zenith = np.radians(45)
    wanted = np.cos(zenith) * np.cos(steepness)
    wanted += np.sin(zenith) * np.sin(steepness) * np.cos(np.radians(315) - azimuth)
    assert hillshade(elevation, 2.0) == pytest.approx(max(0.0, wanted), abs=1e-12)


def make_tile(path, **classes):
    """A tile of 40 m x 40 m in UTM: flat ground, every point of the class and returns that are given."""
    import laspy

    count = 1600
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [500_000, 4_000_000, 0]
    cloud = laspy.LasData(header)
    rows, columns = np.divmod(np.arange(count), 40)
    cloud.x, cloud.y, cloud.z = 500_000.5 + columns, 4_000_000.5 + rows, np.full(count, 100.0)
    cloud.return_number = np.full(count, classes.get("return_number", 1))
    cloud.number_of_returns = np.full(count, classes.get("number_of_returns", 1))
    cloud.classification = np.full(count, classes.get("classification", 0))
    if classes.get("points") == 0:
        cloud.points = cloud.points[:0]
    cloud.write(path)
    return path


def test_a_flat_tile_gives_a_flat_model(dtm, tmp_path):
    measured = dtm(make_tile(tmp_path / "flat.laz"), tmp_path / "a.tif", crs="EPSG:32610")
    assert (measured.lowest, measured.mean, measured.highest) == (100.0, 100.0, 100.0)
    assert (measured.cells, measured.empty_share, measured.ground_points) == (1600, 0.0, 1600)


@pytest.mark.parametrize("without", [{"classification": 7}, {"classification": 18}, {"number_of_returns": 2}])
def test_a_tile_without_ground_is_said_so(dtm, tmp_path, without):
    tile = make_tile(tmp_path / "none.laz", **without)
    with pytest.raises(
        InputError, match="No ground was found among the 1,600 points of none.laz. Try a larger --window"
    ):
        dtm(tile, tmp_path / "a.tif", crs="EPSG:32610")
    assert not (tmp_path / "a.tif").exists()


def test_an_empty_tile_is_said_so(dtm, tmp_path):
    with pytest.raises(InputError, match="empty.las has no points"):
        dtm(make_tile(tmp_path / "empty.las", points=0), tmp_path / "a.tif", crs="EPSG:32610")


def test_a_tile_without_crs_asks_for_one(dtm, tmp_path):
    tile = DATA / "gis" / "sample_c.las"
    with pytest.raises(InputError, match="does not say its coordinate reference system. .* --crs EPSG:32610"):
        dtm(tile, tmp_path / "a.tif")
    measured = dtm(tile, tmp_path / "a.tif", crs="EPSG:32617")
    assert measured.points == 14_408
    assert read(tmp_path / "a.tif")[1].crs.to_epsg() == 32617


def test_us_survey_feet_are_told_from_feet(dtm, tmp_path):
    assert dtm(TILE, tmp_path / "a.tif", cell=2, crs="EPSG:2271").elevation_unit == "us-ft"
    import rasterio

    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.units == ("us-ft",)


@pytest.mark.parametrize(("metres", "symbol"), [(0.3048, "ft"), (0.3048006, "us-ft"), (1.0, "m"), (0.9144, "0.9144 m")])
def test_a_unit_that_a_file_writes_with_seven_digits_is_known(metres, symbol):
    from hive_workers.gis.cloud import _symbol

    assert _symbol(metres) == symbol


def test_a_copc_file_is_read_and_a_wrong_crs_record_can_be_corrected(dtm, tmp_path):
    """192,187 ground points: SMRF with its defaults in metres, PDAL 2.2.0 and 2.9.2 alike."""
    tile = DATA / "gis" / "lone-star.copc.laz"
    with pytest.raises(InputError, match="is geocentric"):
        dtm(tile, tmp_path / "a.tif")
    measured = dtm(tile, tmp_path / "a.tif", crs="EPSG:32612")
    assert (measured.points, measured.ground_points, measured.elevation_unit) == (518_862, 192_187, "m")


@pytest.mark.parametrize(("crs", "words"), [("EPSG:4326", "is in degrees"), ("EPSG:4978", "is geocentric")])
def test_a_crs_without_lengths_is_refused(dtm, tmp_path, crs, words):
    with pytest.raises(InputError, match=words):
        dtm(TILE, tmp_path / "a.tif", crs=crs)


def test_a_crs_that_does_not_exist_is_refused(dtm, tmp_path):
    with pytest.raises(BadParameterError, match="EPSG:999999 is not a known coordinate reference system"):
        dtm(TILE, tmp_path / "a.tif", crs="EPSG:999999")


def test_pdal_that_is_killed_is_the_attempts_error_and_not_the_workers(tmp_path, monkeypatch):
    from hive_workers.gis import engine

    (tmp_path / "pdal").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "pdal").chmod(0o755)
    monkeypatch.setattr(engine, "_search_path", lambda: str(tmp_path))
    with pytest.raises(EngineError, match="PDAL was ended by SIGKILL. The machine most likely ran out of memory"):
        engine.run_pipeline([{"filename": str(TILE)}], "tile.laz")


def test_pdal_ends_with_the_worker_that_started_it(tmp_path):
    """An orphan would go on computing for nobody."""
    import os
    import signal
    import sys

    import psutil

    (tmp_path / "pdal").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "pdal").chmod(0o755)
    code = f"""if True:
        from hive_workers.gis import engine
        engine._search_path = lambda: "{tmp_path}:/usr/bin:/bin"
        engine.run_pipeline([{{"filename": "a.laz"}}], "a.laz")
    """
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)

    try:
        [child] = wait_until(
            lambda: [one for one in psutil.Process(parent.pid).children() if one.name() == "sleep"], "the pipeline runs"
        )
        parent.kill()
        parent.wait()
        assert psutil.wait_procs([child], timeout=10)[1] == []
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if psutil.pid_exists(parent.pid) else None

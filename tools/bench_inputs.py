"""Inputs on which each task works for 20 s or more, made of the real data of the tests."""

import os
import shutil
from pathlib import Path
from typing import Any

import laspy
import numpy as np  # noqa: TID253  nothing of Hive imports this
import obspy  # noqa: TID253

DATA = Path(__file__).parents[1] / "tests" / "data"
# How often the data of the tests is laid side by side, repeated, or learned from.
TILES = (8, 5)
HOURS_OF_NETWORK = 75
STATIONS = 400
FRAMES = 135
DEPTH = 10
EPOCHS = 280


def make_inputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the inputs into a folder; returns the values of each task, without the files that it writes."""
    return {
        "gis.dtm": {"cloud": str(many_tiles(folder / "area.laz"))},
        "geophysics.detect": {"waveforms": [str(one) for one in long_traces(folder / "network")]},
        "geophysics.pick": {"waveforms": [str(one) for one in many_stations(folder / "stations")]},
        "3d-generation.fuse": {"scan": str(long_scan(folder / "room"))},
        "3d-generation.mesh": {"cloud": str(DATA / "3d" / "fragment.pcd"), "depth": DEPTH},
        "training.fit": {"files": [str(DATA / "training" / "digits.csv.gz")], "epochs": EPOCHS},
    }


def many_tiles(file: Path) -> Path:
    """One large cloud: the LiDAR tile of the demo, side by side."""
    tile = laspy.read(DATA / "gis" / "autzen_trim.laz")
    columns, rows = TILES
    width, height = (int(np.ptp(axis)) + 1 for axis in (tile.X, tile.Y))
    with laspy.open(file, "w", header=tile.header) as writer:
        for east in range(columns):
            for north in range(rows):
                points = tile.points.copy()
                points["X"] += east * width
                points["Y"] += north * height
                writer.write_points(points)
    return file


def long_traces(folder: Path) -> list[Path]:
    """Hours of a small network: its minutes with three earthquakes, again and again."""
    folder.mkdir()
    files = []
    for source in sorted((DATA / "geophysics").glob("BW.UH*Z*.gz")):
        [trace] = obspy.read(source)
        repeats = int(HOURS_OF_NETWORK * 3600 * trace.stats.sampling_rate / trace.stats.npts)
        trace.data = np.tile(trace.data.astype(np.int32), repeats)
        files.append(folder / f"{trace.stats.station}.mseed")
        trace.write(str(files[-1]), format="MSEED")
    return files


def many_stations(folder: Path) -> list[Path]:
    """One event at many stations: each has the three components of the same real one."""
    folder.mkdir()
    files = []
    columns = {one: np.loadtxt(DATA / "geophysics" / f"loc_RJOB20050801145719850.{one}") for one in "zne"}
    for number in range(STATIONS):
        stream = obspy.Stream(
            obspy.Trace(data, {"station": f"S{number:03}", "channel": f"EH{one.upper()}", "sampling_rate": 200.0})
            for one, data in columns.items()
        )
        files.append(folder / f"S{number:03}.mseed")
        stream.write(str(files[-1]), format="MSEED", encoding="FLOAT64")
    return files


def long_scan(folder: Path) -> Path:
    """A long walk through a room: its frames to and fro."""
    room = DATA / "3d" / "livingroom1"
    poses = (room / "trajectory.log").read_text().splitlines()
    count = len(poses) // 5
    for name, ending in (("depth", "png"), ("image", "jpg")):
        (folder / name).mkdir(parents=True)
        for number in range(FRAMES):
            os.link(room / name / f"{number % count:05}.{ending}", folder / name / f"{number:05}.{ending}")
    with (folder / "trajectory.log").open("w") as file:
        for number in range(FRAMES):
            at = 5 * (number % count)
            file.write("\n".join([f"{number} {number} {number + 1}", *poses[at + 1 : at + 5]]) + "\n")
    shutil.copy(room / "intrinsic.json", folder)
    return folder

"""geophysics.detect against ObsPy called by hand, against stored figures, and against closed forms."""

import csv
import gzip
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from hive.errors import BadParameterError, InputError
from tests.support import DATA

pytestmark = pytest.mark.science
FILES = sorted((DATA / "geophysics").glob("BW.UH*"))
# Time, duration [s] and stations: the coincidence trigger of ObsPy 1.5.1, as in its own test of these files.
EVENTS = [
    ("2010-05-27T16:24:33.210000Z", 4.27, ["UH3", "UH2", "UH1", "UH4"]),
    ("2010-05-27T16:27:01.260000Z", 3.44, ["UH2", "UH3", "UH1"]),
    ("2010-05-27T16:27:30.510000Z", 4.29, ["UH3", "UH2", "UH1", "UH4"]),
]


@pytest.fixture
def detect(obspy, tmp_path):
    """Run the task into a folder of its own; returns its measures and the rows of its table."""
    from hive_workers.geophysics.detect import detect

    out = tmp_path / "out"
    out.mkdir()

    def run(files, **more):
        found = detect(files, events=out / "a.xml", table=out / "a.csv", preview=out / "a.png", **more)
        with (out / "a.csv").open(newline="") as sheet:
            return found, list(csv.DictReader(sheet))

    return run


@pytest.fixture(scope="module")
def network(obspy):
    """The vertical traces of the four stations."""
    stream = obspy.Stream()
    for file in FILES:
        stream += obspy.read(str(file), format="SLIST")
    return stream.select(component="Z")


def by_hand(network, min_stations=3, **more):
    from obspy.signal.trigger import coincidence_trigger

    stream = network.copy()
    stream.detrend("linear")
    stream.detrend("demean")
    stream.filter("bandpass", freqmin=more.get("low", 10), freqmax=more.get("high", 20))
    windows = {"sta": more.get("sta", 0.5), "lta": more.get("lta", 10)}
    return coincidence_trigger("recstalta", more.get("on", 3.5), more.get("off", 1), stream, min_stations, **windows)


def written(folder, stream, name="SLIST"):
    """One file per trace."""
    folder.mkdir(exist_ok=True)
    files = []
    for number, trace in enumerate(stream):
        files.append(folder / f"{number}.dat")
        trace.write(str(files[-1]), format=name)
    return files


def plain(network):
    """The traces with samples of one type, as miniSEED wants them."""
    stream = network.copy()
    for trace in stream:
        trace.data = trace.data.astype(np.int32)
    return stream


def noise(obspy, station, seconds=120.0, rate=100.0, start=0.0, seed=1):
    """A trace of weak noise; stations differ by their seed."""
    samples = np.random.default_rng(seed).normal(scale=100.0, size=round(seconds * rate))
    header = {"network": "XX", "station": station, "channel": "HHZ", "sampling_rate": rate}
    return obspy.Trace(samples.round().astype(np.int32), header | {"starttime": obspy.UTCDateTime(2020, 1, 1) + start})


def quake(trace, at, length=4.0, factor=50):
    """Make the noise many times as strong from `at` on [s]."""
    rate = trace.stats.sampling_rate
    trace.data[round(at * rate) : round((at + length) * rate)] *= factor
    return trace


def three(obspy, **more):
    """Three stations that see an event at 60 s."""
    return [quake(noise(obspy, name, seed=seed, **more), 60) for seed, name in enumerate(("A", "B", "C"))]


def test_it_finds_the_events_of_the_reference(detect):
    found, rows = detect(FILES)
    assert [(row["time"], float(row["duration_s"])) for row in rows] == [event[:2] for event in EVENTS]
    assert [row["triggered"].replace("BW.", "").split() for row in rows] == [event[2] for event in EVENTS]
    assert [int(row["stations"]) for row in rows] == [4, 3, 4]
    assert (found.events, found.stations, found.traces, found.gaps, found.left_out) == (3, 4, 6, 0, {})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"min_stations": 2},
        {"min_stations": 4},
        {"low": 5.0, "high": 15.0},
        {"sta": 0.3, "lta": 5.0, "on": 2.5, "min_stations": 2},
        {"on": 6.0, "off": 1.5},
    ],
)
def test_it_equals_obspy_called_by_hand(detect, network, more):
    _, rows = detect(FILES, **more)
    wanted = by_hand(network, **more)
    assert [row["time"] for row in rows] == [str(one["time"]) for one in wanted]
    assert [float(row["duration_s"]) for row in rows] == pytest.approx([one["duration"] for one in wanted], abs=6e-4)
    triggered = [row["triggered"].replace("BW.", "").split() for row in rows]
    assert triggered == [one["stations"] for one in wanted]


def test_triggers_are_counted_as_obspy_finds_them_also_those_of_no_event(detect, network):
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset

    found, _ = detect(FILES)
    for trace in network.copy():
        trace.detrend("linear")
        trace.detrend("demean")
        trace.filter("bandpass", freqmin=10, freqmax=20)
        rate = trace.stats.sampling_rate
        ratio = recursive_sta_lta(trace.data, int(0.5 * rate), int(10 * rate))
        assert found.triggers[f"BW.{trace.stats.station}"] == len(trigger_onset(ratio, 3.5, 1))


def test_a_station_with_three_components_counts_once_and_the_component_can_be_chosen(detect):
    assert [int(row["stations"]) for row in detect(FILES)[1]] == [4, 3, 4]
    found, rows = detect(FILES, component="n", min_stations=1)
    assert (found.stations, found.triggers.keys()) == (1, {"BW.UH3"})
    assert found.left_out["BW.UH1"] == "no component N, only Z"
    assert {row["triggered"] for row in rows} == {"BW.UH3"}


@pytest.mark.parametrize("name", ["MSEED", "SAC", "GSE2", "SLIST", "TSPAIR"])
def test_every_format_gives_the_same_events(detect, network, tmp_path, name):
    _, rows = detect(written(tmp_path / "in", plain(network), name))
    # SAC keeps its times in milliseconds and GSE2 too, 2 microseconds off for UH1; SAC its rates in single precision.
    assert [row["time"][:22] for row in rows] == [event[0][:22] for event in EVENTS]
    assert [int(row["stations"]) for row in rows] == [4, 3, 4]


def test_one_file_with_all_stations_is_as_good_as_one_for_each(detect, network, tmp_path):
    plain(network).write(str(tmp_path / "all.mseed"), format="MSEED")
    with gzip.open(tmp_path / "packed [1]", "wb") as packed:
        packed.write((tmp_path / "all.mseed").read_bytes())
    assert detect([tmp_path / "all.mseed"]) == detect([tmp_path / "packed [1]"])
    assert detect([tmp_path / "all.mseed"])[0].events == 3


def test_an_hour_in_pieces_is_joined_before_it_is_filtered(detect, network, tmp_path):
    parts = []
    for trace in network:
        middle = trace.stats.starttime + 30  # in the middle of the first event
        parts += [trace.slice(endtime=middle), trace.slice(starttime=middle + trace.stats.delta)]
    found, rows = detect(written(tmp_path / "in", parts))
    assert [row["time"] for row in rows] == [event[0] for event in EVENTS]
    assert (found.traces, found.gaps) == (8, 0)


def test_a_trace_that_is_there_twice_counts_once_and_is_named_in_the_log(detect, tmp_path, caplog):
    shutil.copy(FILES[0], tmp_path / "copy.gz")
    found, rows = detect([*FILES, tmp_path / "copy.gz"])
    assert [row["time"] for row in rows] == [event[0] for event in EVENTS]
    assert (found.traces, found.triggers["BW.UH1"]) == (7, 4)
    assert "BW.UH1..SHZ: 11517 samples occur more than once; the copies are dropped" in caplog.text


def test_traces_that_overlap_and_differ_are_named_in_the_log(detect, obspy, tmp_path, caplog):
    other = quake(noise(obspy, "A", seed=9, start=30.0), 30)
    found, rows = detect(written(tmp_path / "in", [*three(obspy), other]))
    assert "XX.A..HHZ: some traces overlap with different samples" in caplog.text
    assert [int(row["stations"]) for row in rows] == [3]
    assert found.gaps == 0


def test_each_station_keeps_its_own_sampling_rate(detect, obspy, tmp_path):
    traces = [quake(noise(obspy, name, rate=rate), 60) for name, rate in (("A", 50.0), ("B", 100.0), ("C", 125.0))]
    found, rows = detect(written(tmp_path / "in", traces))
    assert found.sampling_rates == [50.0, 100.0, 125.0]
    assert [int(row["stations"]) for row in rows] == [3]


def test_the_ratio_of_a_constant_tends_to_one_as_its_closed_form_says(obspy):
    """Both averages are geometric sums: 1 - (1 - 1/n)^i after i samples."""
    from hive_workers.geophysics.detect.triggers import sta_lta
    from hive_workers.geophysics.parameters import Detector

    detector = Detector(low=1, high=2, sta=0.5, lta=10.0, on=3.5, off=1.0)
    ratio = sta_lta(np.ones(20_000), 100.0, detector)
    count = np.arange(20_000)
    wanted = (1 - (1 - 1 / 50) ** count) / (1 - (1 - 1 / 1000) ** count.clip(1))
    assert (ratio[:1000] == 0).all()
    assert ratio[1000:] == pytest.approx(wanted[1000:], rel=1e-9)
    assert ratio[-1] == pytest.approx(1.0, rel=1e-8)


def test_impulses_trigger_when_they_come_and_at_no_other_time(detect, obspy, tmp_path):
    """An impulse on weak noise: the filter is causal, so the trigger comes at its sample or a few hundredths later."""
    at = [20.0, 47.0, 74.0, 101.0]
    traces = [noise(obspy, name, seed=seed) for seed, name in enumerate("ABC")]
    for trace in traces:
        for second in at:
            trace.data[round(second * 100)] = 100_000
    found, rows = detect(written(tmp_path / "in", traces))
    times = [float(obspy.UTCDateTime(row["time"]) - obspy.UTCDateTime(2020, 1, 1)) for row in rows]
    assert times == pytest.approx(at, abs=0.1)
    assert min(np.subtract(times, at)) >= 0
    assert found.triggers == {"XX.A": 4, "XX.B": 4, "XX.C": 4}


def test_noise_alone_is_no_event(detect, obspy, tmp_path):
    found, rows = detect(written(tmp_path / "in", [noise(obspy, name, seed=seed) for seed, name in enumerate("ABC")]))
    assert (found.events, rows) == (0, [])
    assert obspy.read_events(str(tmp_path / "out" / "a.xml")).count() == 0


@pytest.mark.parametrize("hole", ["missing", "zeros", "nan"])
def test_the_edges_of_a_gap_are_no_triggers(detect, obspy, tmp_path, hole, caplog):
    """Behind the gap the signal stands far off zero; a filled gap would have two edges of 1,000,000."""
    files = []
    for trace in three(obspy):
        trace.data = trace.data.astype(np.float64)
        trace.data[3000:] += 1_000_000
        if hole == "missing":
            start = trace.stats.starttime
            parts = [trace.slice(endtime=start + 19.99), trace.slice(starttime=start + 35)]
            files += written(tmp_path / trace.stats.station, parts)
        else:
            trace.data[2000:3500] = {"zeros": 0.0, "nan": np.nan}[hole]
            files += written(tmp_path / trace.stats.station, [trace], "SAC" if hole == "nan" else "MSEED")
    found, rows = detect(files)
    assert (found.gaps, found.gap_length) == (3, pytest.approx(45.0))
    assert found.triggers == {"XX.A": 1, "XX.B": 1, "XX.C": 1}
    assert [row["time"][:19] for row in rows] == ["2020-01-01T00:01:00"]
    assert ("they count as a gap" in caplog.text) == (hole != "missing")


def test_a_step_within_the_data_shows_that_edges_would_trigger(detect, obspy, tmp_path):
    traces = [noise(obspy, name, seed=seed) for seed, name in enumerate("ABC")]
    for trace in traces:
        trace.data[3000:] += 1_000_000
    assert [row["time"][:19] for row in detect(written(tmp_path / "in", traces))[1]] == ["2020-01-01T00:00:30"]


def test_a_piece_that_is_shorter_than_the_long_window_is_no_harm(detect, obspy, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    traces = three(obspy)
    start = traces[0].stats.starttime
    parts = [traces[0].slice(endtime=start + 5), traces[0].slice(starttime=start + 8), *traces[1:]]
    found, rows = detect(written(tmp_path / "in", parts))
    assert (found.gaps, len(rows)) == (1, 1)
    assert "XX.A: 1 pieces between gaps are not longer than lta and cannot trigger" in caplog.text


def silence(trace, value=0):
    trace.data[:] = value
    return trace


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (silence, "only zeros"),
        (lambda trace: silence(trace, 7), "the signal does not change"),
        (
            lambda trace: trace.slice(endtime=trace.stats.starttime + 9),
            "no piece is longer than lta 10 s; the longest is 9.01 s",
        ),
        (lambda trace: trace.decimate(4, no_filter=True), "sampled at 25 Hz, so high must be less than 12.5 Hz"),
    ],
)
def test_a_station_without_data_is_named_with_the_reason(detect, obspy, tmp_path, change, why):
    fourth = change(noise(obspy, "D", seed=4))
    fourth.data = fourth.data.astype(np.int32)
    found, rows = detect(written(tmp_path / "in", [*three(obspy), fourth], "MSEED"))
    assert found.left_out == {"XX.D": why}
    assert (found.stations, len(rows)) == (3, 1)


def test_a_station_with_no_numbers_is_named(detect, obspy, tmp_path):
    fourth = noise(obspy, "D")
    fourth.data = np.full(fourth.stats.npts, np.nan, dtype=np.float32)
    found, _ = detect(written(tmp_path / "in", [*three(obspy), fourth], "SAC"))
    assert found.left_out == {"XX.D": "no sample is a number"}


@pytest.mark.parametrize(
    ("traces", "says"),
    [
        (
            lambda o: [silence(noise(o, name)) for name in "ABC"],
            "0 of 3 stations have usable data, fewer than min_stations 3: XX.A only zeros; XX.B only zeros; ",
        ),
        (
            lambda o: [noise(o, name, seconds=8) for name in "ABC"],
            "XX.A no piece is longer than lta 10 s; the longest is 8 s",
        ),
        (
            lambda o: [noise(o, name, start=200.0 * number) for number, name in enumerate("ABC")],
            "At most 1 of 3 stations have data at the same time, fewer than min_stations 3: XX.A 2020-01-01T00:00:00",
        ),
        (lambda o: [*three(o)[:2], noise(o, "C", start=119.0)], "At most 2 of 3 stations have data at the same time"),
        (
            lambda o: [*three(o)[:2], noise(o, "A", seed=9), noise(o, "C", start=119.0)],
            "At most 2 of 3 stations have data at the same time",
        ),
    ],
)
def test_a_network_that_can_see_no_event_is_said_so(detect, obspy, tmp_path, traces, says):
    with pytest.raises(InputError, match=says):
        detect(written(tmp_path / "in", traces(obspy)))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"low": 20.0}, "low must be less than high, 20 Hz, not 20 Hz."),
        ({"sta": 10.0}, "sta must be less than lta, 10 s, not 10 s."),
        ({"off": 4.0}, "off must be at most on, 3.5, not 4."),
        ({"min_stations": 0}, "min_stations must be at least 1, not 0."),
        (
            {"min_stations": 5},
            "min_stations must be at most the number of stations in the files, 4, not 5: BW.UH1, BW.UH2",
        ),
        ({"high": 60.0}, "BW.UH1 sampled at 50 Hz, so high must be less than 25 Hz"),
        ({"sta": 0.001}, "BW.UH1 sampled at 50 Hz, so sta must be at least 0.02 s"),
        ({"component": "X"}, "BW.UH1 no component X, only Z; BW.UH2 no component X"),
        ({"component": "HZ"}, "component must be one letter or digit such as Z, not 'HZ'."),
        ({"low": "ten"}, "low must be a number in Hz: 'ten' is not a number."),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(detect, more, says):
    with pytest.raises(BadParameterError, match=says.replace("?", ".")):
        detect(FILES, **more)


def cut_short(folder):
    (folder / "cut.gz").write_bytes(FILES[0].read_bytes()[:9000])
    return folder / "cut.gz"


def text(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (text("notes.txt", b"hello"), "notes.txt is not a waveform file that Hive reads: miniSEED, SAC, GSE"),
        (text("noise.bin", bytes(range(256)) * 40), "noise.bin is not a waveform file"),
        (text("empty.gz", gzip.compress(b"")), "empty.gz is not a waveform file"),
        (cut_short, "cut.gz is damaged: it cannot be unpacked with gzip. Copy it again."),
        (text("z.txt", b"1.5\n2.5\n"), "z.txt is a plain column of numbers: it holds no station"),
        (
            text(
                "bad.slist",
                b"TIMESERIES BW_UH1__SHZ_D, 3 samples, 50 sps, 2010-05-27T16:24:03, SLIST, INTEGER, \n1 x 3\n",
            ),
            "bad.slist looks like SLIST but cannot be read",
        ),
        (
            text("none.slist", b"TIMESERIES BW_UH1__SHZ_D, 0 samples, 50 sps, 2010-05-27T16:24:03, SLIST, INTEGER, \n"),
            "none.slist holds no samples.",
        ),
    ],
)
def test_a_file_that_is_no_waveform_is_said_so(detect, tmp_path, make, says):
    with pytest.raises(InputError, match=says):
        detect([*FILES, make(tmp_path)])


def test_a_trace_without_a_station_is_said_so(detect, obspy, tmp_path):
    with pytest.raises(InputError, match="0.dat does not name its station. Write it into the header; in SAC that is"):
        detect(written(tmp_path / "in", [noise(obspy, "")], "SAC"))


def test_a_miniseed_file_that_was_cut_is_read_as_far_as_it_goes(detect, network, tmp_path):
    plain(network).write(str(tmp_path / "all.mseed"), format="MSEED", reclen=4096)
    (tmp_path / "cut.mseed").write_bytes((tmp_path / "all.mseed").read_bytes()[:-1000])
    found, _ = detect([tmp_path / "cut.mseed"])
    assert found.stations == 4


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_a_pickled_stream_is_never_loaded(detect, tmp_path):
    """ObsPy would load it to see what it is."""
    content = pickle.dumps(["obspy.core.stream", Trap(tmp_path / "touched")])
    (tmp_path / "stream.pickle").write_bytes(content)
    with pytest.raises(InputError, match="stream.pickle is not a waveform file"):
        detect([tmp_path / "stream.pickle"])
    assert not (tmp_path / "touched").exists()


def test_the_events_are_valid_quakeml_with_the_trigger_times_of_their_stations(detect, obspy, tmp_path):
    from obspy.io.quakeml.core import _validate

    detect(FILES)
    assert _validate(str(tmp_path / "out" / "a.xml"))
    events = obspy.read_events(str(tmp_path / "out" / "a.xml"))
    assert [[pick.waveform_id.station_code for pick in event.picks] for event in events] == [one[2] for one in EVENTS]
    assert [str(event.picks[0].time) for event in events] == [one[0] for one in EVENTS]
    assert events[0].comments[0].text == "Coincidence of 4 stations for 4.270 s; not located."
    assert {pick.evaluation_mode for event in events for pick in event.picks} == {"automatic"}
    assert events[0].origins == []


def test_the_record_section_shows_traces_triggers_and_events(detect, tmp_path):
    from matplotlib.image import imread

    detect(FILES)
    picture = (imread(tmp_path / "out" / "a.png")[:, :, :3] * 255).round().astype(int)
    assert picture.shape[1] == 1100
    assert 0.01 < (picture.sum(axis=2) < 3 * 100).mean() < 0.2  # ink: traces and letters

    def share(red, green, blue):
        return (np.abs(picture - [red, green, blue]).sum(axis=2) < 40).mean()

    assert share(213, 94, 0) > 0.001  # triggers go on
    assert share(0, 114, 178) > 0.001  # and stay on
    assert share(249, 231, 191) > 0.01  # the events behind them
    assert not picture[picture.shape[0] // 2 :, 5:40].min() > 200  # the axis has its label


def test_the_same_files_give_the_same_results_to_the_byte(detect, tmp_path):
    out = tmp_path / "out"
    detect(FILES)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    detect(FILES[::-1])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert sorted(first) == ["a.csv", "a.png", "a.xml"]


def test_a_day_of_many_stations_keeps_only_its_triggers(obspy, tmp_path):
    """What is kept of a station must not grow with its samples."""
    from hive_workers.geophysics._seismic.reading import read_headers
    from hive_workers.geophysics.detect.triggers import watch_station
    from hive_workers.geophysics.parameters import Detector

    detector = Detector(low=10, high=20, sta=0.5, lta=10, on=3.5, off=1)
    (file,) = written(tmp_path / "in", [quake(noise(obspy, "A", seconds=3600), 60)], "MSEED")
    watched = watch_station("XX.A", read_headers(file), detector)
    assert sum(one.stats.npts for one in watched.ratios) < 2000
    assert all(one.data.base is None for one in watched.ratios)  # a view would hold the whole hour
    assert sum(one.seconds.size for one in watched.envelopes) <= 1500

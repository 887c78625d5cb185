"""geophysics.pick against ObsPy called by hand, against stored figures, and against onsets that are known."""

import csv

import numpy as np
import pytest

from hive.errors import BadParameterError, InputError
from tests.support import DATA

pytestmark = pytest.mark.science
FOLDER = DATA / "geophysics"
THREE = [FOLDER / f"loc_RJOB20050801145719850.{letter}" for letter in "zne"]
ONE = FOLDER / "manz_waldk.a01.gz"
# ObsPy 1.5.1 on these files, as in its own tests: ar_pick [s], and the sample of pk_baer, counted from 1.
P_S, S_S, BAER_SAMPLE, BAER_WORD = 30.635, 31.165, 17545, "IPU0"


@pytest.fixture
def pick(obspy, tmp_path):
    """Run the task into a folder of its own; returns its measures and the rows of its table."""
    from hive_workers.geophysics.pick import pick

    out = tmp_path / "out"
    out.mkdir()

    def run(files, **more):
        found = pick(files, picks=out / "a.xml", table=out / "a.csv", preview=out / "a.png", **more)
        with (out / "a.csv").open(newline="") as sheet:
            return found, list(csv.DictReader(sheet))

    return run


def ar_by_hand(samples, rate=200.0, low=1.0, high=20.0, order_s=8):
    from obspy.signal.trigger import ar_pick

    return ar_pick(*samples, rate, low, high, 1.0, 0.1, 4.0, 1.0, 2, order_s, 0.1, 0.2)


@pytest.fixture
def event(obspy):
    """Three components of noise; P comes at 20 s, S at 25 s, each many times as strong as what was before."""
    rate, start = 100.0, obspy.UTCDateTime(2020, 1, 1)
    random = np.random.default_rng(3)
    traces = []
    for letter, p_factor, s_factor in (("Z", 30, 1), ("N", 3, 60), ("E", 3, 90)):
        samples = random.normal(size=6000)
        samples[2000:2500] *= p_factor
        samples[2500:] *= s_factor * np.exp(-np.arange(3500) / 400)
        header = {"network": "XX", "station": "A", "channel": f"HH{letter}", "sampling_rate": rate, "starttime": start}
        traces.append(obspy.Trace((samples * 1000).round().astype(np.int32), header))
    return traces


def written(folder, traces, name="MSEED"):
    folder.mkdir(exist_ok=True)
    files = []
    for number, trace in enumerate(traces):
        files.append(folder / f"{number}.dat")
        trace.write(str(files[-1]), format=name)
    return files


def test_ar_finds_p_and_s_of_the_reference(pick):
    found, rows = pick(THREE, sampling_rate=200.0)
    assert (found.p_after_start, found.s_after_start) == ({"STA": P_S}, {"STA": S_S})
    assert [(row["phase"], float(row["after_start_s"])) for row in rows] == [("P", P_S), ("S", S_S)]
    assert (found.picks, found.stations, found.traces, found.missing, found.left_out) == (2, 1, 3, {}, {})


@pytest.mark.parametrize("more", [{}, {"low": 2.0, "high": 15.0}, {"order_s": 4}])
def test_ar_equals_obspy_called_by_hand(pick, more):
    found, _ = pick(THREE, sampling_rate=200.0, **more)
    p_by_hand, s_by_hand = ar_by_hand([np.loadtxt(file) for file in THREE], **more)
    # ObsPy counts samples and gives seconds in single precision: 24 bits.
    assert found.p_after_start["STA"] == pytest.approx(p_by_hand, rel=1e-7)
    assert found.s_after_start["STA"] == pytest.approx(s_by_hand, rel=1e-7)


def test_the_order_of_the_files_does_not_matter(pick):
    assert pick(THREE[::-1], sampling_rate=200.0) == pick(THREE, sampling_rate=200.0)


def test_ar_on_waveform_files_equals_obspy_called_by_hand(pick, event, tmp_path):
    found, rows = pick(written(tmp_path / "in", event))
    p_by_hand, s_by_hand = ar_by_hand([one.data for one in event], rate=100.0)
    assert found.p_after_start["XX.A"] == pytest.approx(p_by_hand, rel=1e-6)
    assert found.s_after_start["XX.A"] == pytest.approx(s_by_hand, rel=1e-6)
    assert [row["channel"] for row in rows] == ["XX.A..HHZ", "XX.A..HHE"]  # S where it is stronger


def test_ar_finds_onsets_where_they_were_put(pick, event, tmp_path):
    """P at 20 s, S at 25 s, to within the window that it compares for P, 0.1 s, and the short window for S, 1 s."""
    found, _ = pick(written(tmp_path / "in", event))
    assert found.p_after_start["XX.A"] == pytest.approx(20.0, abs=0.1)
    assert found.s_after_start["XX.A"] == pytest.approx(25.0, abs=1.0)
    assert found.p_time["XX.A"].startswith(("2020-01-01T00:00:20.0", "2020-01-01T00:00:19.9"))


def test_baer_finds_the_sample_and_the_word_of_the_reference(pick):
    found, rows = pick([ONE], method="baer", sampling_rate="200 Hz")
    assert found.quality == {"STA": BAER_WORD}
    assert found.p_after_start["STA"] * 200 == pytest.approx(BAER_SAMPLE - 1)
    assert [rows[0][name] for name in ("phase", "onset", "polarity", "weight")] == ["P", "impulsive", "positive", "0"]
    assert (found.picks, found.s_after_start, rows[0]["method"]) == (1, {}, "baer")


@pytest.mark.parametrize(
    "more",
    [{}, {"threshold": 12.0}, {"up_time": 1.0}, {"down_time": "0.5 s"}, {"noise_window": 2.0}, {"threshold": 3.0}],
)
def test_baer_equals_obspy_called_by_hand(pick, more):
    from obspy.signal.trigger import pk_baer

    counts = {"threshold": 7.0, "up_time": 60, "down_time": 20, "noise_window": 100}
    for name, value in more.items():
        counts[name] = value if name == "threshold" else round(float(str(value).removesuffix(" s")) * 200)
    samples = np.loadtxt(ONE, dtype=np.float32)
    number, word = pk_baer(
        samples, 200.0, counts["down_time"], counts["up_time"], counts["threshold"], 12.0, counts["noise_window"], 100
    )
    found, _ = pick([ONE], method="baer", sampling_rate=200.0, **more)
    assert found.p_after_start["STA"] == pytest.approx((number - 1) / 200)
    assert found.quality["STA"] == word


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("at", [3000, 3001, 3002, 4567])
def test_baer_finds_the_very_sample_at_which_a_step_comes(obspy, at, sign):
    """ObsPy counts from 1 here; counted from 0, as times are, the sample is one less."""
    from hive_workers.geophysics.parameters import BaerSettings
    from hive_workers.geophysics.pick.onsets import pick_baer

    samples = np.random.default_rng(at).normal(size=6000)
    samples[at:] += sign * 500 * np.cos(np.arange(6000 - at) / 5)
    [onset], missing = pick_baer(samples, 100.0, BaerSettings())
    assert (onset.sample, onset.quality, missing) == (at, "IPU0" if sign > 0 else "IPD0", "")


@pytest.mark.parametrize(("gain", "offset"), [(1e-6, 0.0), (1e4, 0.0), (1.0, 1e6)])
def test_gain_and_offset_of_a_recorder_do_not_move_a_pick(pick, tmp_path, gain, offset):
    """ObsPy's Baer picker overflows on this trace times 100, and picks its beginning."""
    (tmp_path / "a.txt").write_text("\n".join(map(repr, (np.loadtxt(ONE) * gain + offset).tolist())))
    found, _ = pick([tmp_path / "a.txt"], method="baer", sampling_rate=200.0)
    assert found.p_after_start["STA"] * 200 == pytest.approx(BAER_SAMPLE - 1)
    assert found.quality == {"STA": BAER_WORD}


def test_a_band_keeps_what_baer_shall_not_hear_away_from_it(pick, event, tmp_path):
    trace = event[0]
    hum = np.sin(2 * np.pi * 0.5 * np.arange(6000) / 100) * 300_000  # a swell of 2 s, ten times as strong as P
    trace.data = (trace.data + hum).astype(np.int32)
    files = written(tmp_path / "in", [trace])
    heard, _ = pick(files, method="baer", filtered=True, low=5.0, high=20.0)
    assert heard.p_after_start["XX.A"] == pytest.approx(20.0, abs=0.2)  # a causal filter lets it come a little late


def test_times_of_plain_columns_are_known_only_when_they_are_said(pick, obspy, tmp_path):
    unsaid, rows = pick(THREE, sampling_rate=200.0)
    assert (unsaid.p_time, unsaid.s_time, rows[0]["time"]) == ({}, {}, "")
    event = obspy.read_events(str(tmp_path / "out" / "a.xml"))[0]
    assert "times count from 1970-01-01T00:00:00Z" in event.comments[0].text
    said, rows = pick(THREE, sampling_rate=200.0, start="2005-08-01T14:57:19.85Z", station="RJOB")
    assert said.p_time == {"RJOB": "2005-08-01T14:57:50.485000Z"}
    assert said.s_time == {"RJOB": rows[1]["time"]} == {"RJOB": "2005-08-01T14:57:51.015000Z"}
    event = obspy.read_events(str(tmp_path / "out" / "a.xml"))[0]
    assert event.comments[0].text == "Picks of one record; not located."


def test_the_picks_are_valid_quakeml(pick, obspy, tmp_path):
    from obspy.io.quakeml.core import _validate

    pick([ONE], method="baer", sampling_rate=200.0, start="2001-02-03T04:05:06Z")
    assert _validate(str(tmp_path / "out" / "a.xml"))
    [one] = obspy.read_events(str(tmp_path / "out" / "a.xml"))[0].picks
    assert (one.phase_hint, one.onset, one.polarity, one.evaluation_mode) == (
        "P", "impulsive", "positive", "automatic",
    )  # fmt: skip
    assert (one.time, one.comments[0].text) == (obspy.UTCDateTime(2001, 2, 3, 4, 6, 33, 720000), "Quality IPU0.")


def test_the_preview_shows_traces_and_picks(pick, tmp_path):
    from matplotlib.image import imread

    pick(THREE, sampling_rate=200.0)
    picture = (imread(tmp_path / "out" / "a.png")[:, :, :3] * 255).round().astype(int)
    assert 0.01 < (picture.sum(axis=2) < 3 * 100).mean() < 0.2
    for colour in ((213, 94, 0), (0, 114, 178)):  # P and S
        columns = (np.abs(picture - colour).sum(axis=2) < 40).sum(axis=0)
        assert (columns > 80).sum() >= 2  # a line through a whole panel, on the left and on the right


def test_the_longest_stretch_that_all_components_share_is_picked(pick, event, tmp_path, caplog):
    start = event[0].stats.starttime
    parts = [event[0], event[1].slice(endtime=start + 10), event[1].slice(starttime=start + 12), event[2]]
    found, _ = pick(written(tmp_path / "in", parts))
    assert found.p_after_start["XX.A"] == pytest.approx(20.0, abs=0.1)  # seconds still count from the first sample
    assert "only the longest stretch without a gap is picked, 2020-01-01T00:00:12" in caplog.text


def test_samples_that_are_no_numbers_are_a_gap(pick, event, tmp_path, caplog):
    event[1].data = event[1].data.astype(np.float32)
    event[1].data[500:600] = np.nan
    found, _ = pick(written(tmp_path / "in", event, "SAC"))
    assert found.p_after_start["XX.A"] == pytest.approx(20.0, abs=0.1)
    assert "XX.A..HHN: 100 of 6000 samples are not numbers" in caplog.text


def test_p_so_early_that_s_has_no_window_is_said_so(pick, event, tmp_path):
    late = event[0].stats.starttime + 17
    found, rows = pick(written(tmp_path / "in", [one.slice(starttime=late) for one in event]))
    assert [row["phase"] for row in rows] == ["P"]
    assert found.missing == {"XX.A": "P is less than lta_s 4 s after the start, so S cannot be picked"}


def test_baer_on_noise_says_that_nothing_rose(pick, event, tmp_path):
    quiet = event[0].slice(endtime=event[0].stats.starttime + 15)
    found, rows = pick(written(tmp_path / "in", [quiet]), method="baer")
    assert (found.picks, rows) == (0, [])
    assert found.missing == {"XX.A": "nothing rose above threshold 7 for up_time 0.3 s"}


def test_a_station_that_cannot_be_picked_is_named_and_the_others_are(pick, event, tmp_path):
    alone = event[0].copy()
    alone.stats.station = "B"
    found, _ = pick(written(tmp_path / "in", [*event, alone]))
    assert found.left_out == {
        "XX.B": "ar needs the components Z, N and E (or Z, 1 and 2), but the files have Z; baer needs one"
    }
    assert found.p_after_start.keys() == {"XX.A"}


def test_horizontal_components_may_be_numbered(pick, event, tmp_path):
    for trace, letter in zip(event, "Z12", strict=True):
        trace.stats.channel = f"HH{letter}"
    assert pick(written(tmp_path / "in", event))[0].picks == 2


def without(letter):
    return lambda traces: [one for one in traces if one.stats.channel[-1] != letter]


def zeros(traces):
    traces[1].data[:] = 0
    return traces


def apart(traces):
    traces[2].stats.starttime += 3600
    return traces


def coarse(traces):
    traces[2].decimate(2, no_filter=True)
    traces[2].data = traces[2].data.astype(np.int32)
    return traces


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (
            without("N"),
            {},
            "XX.A ar needs the components Z, N and E (or Z, 1 and 2), but the files have E, Z; baer needs one",
        ),
        (without("Z"), {"method": "baer"}, "XX.A no component Z, only E, N"),
        (zeros, {}, "XX.A XX.A..HHN: only zeros"),
        (apart, {}, "XX.A its components have no time in common"),
        (coarse, {}, "XX.A its components are sampled at different rates: 50 Hz, 100 Hz"),
        (
            lambda traces: [one.slice(endtime=one.stats.starttime + 7) for one in traces],
            {},
            "XX.A 7.01 s without a gap; more than twice the long window, 8 s, is needed",
        ),
        (
            lambda traces: traces[:1],
            {"method": "baer", "noise_window": 40.0},
            "60 s without a gap; more than 2 x noise_window",
        ),
        (lambda traces: traces, {"high": 50.0}, "XX.A sampled at 100 Hz, so high must be less than 50 Hz"),
        (lambda traces: traces, {"window_p": 0.02}, "so window_p must be more than 0.02 s: more samples than order_p"),
        (lambda traces: traces, {"sta_p": 0.001}, "so sta_p and sta_s must be at least 0.01 s"),
        (
            lambda traces: traces[:1],
            {"method": "baer", "filtered": True, "high": 60.0},
            "so high must be less than 50 Hz",
        ),
    ],
)
def test_a_record_that_cannot_be_picked_is_said_so(pick, event, tmp_path, change, more, says):
    import re

    with pytest.raises(InputError, match=re.escape(says)):
        pick(written(tmp_path / "in", change(event)), **more)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"low": 20.0}, "low must be less than high, 20 Hz, not 20 Hz."),
        ({"sta_p": 1.0}, "sta_p must be less than lta_p, 1 s, not 1 s."),
        ({"sta_s": 5.0}, "sta_s must be less than lta_s, 4 s, not 5 s."),
        ({"threshold": 8.0}, "threshold belongs to the method baer; add --method baer, or leave it out."),
        ({"method": "baer", "order_p": 3}, "order_p belongs to the method ar; add --method ar, or leave it out."),
        ({"method": "baer", "low": 2.0}, "low and high do nothing with the method baer alone; add --filtered."),
        ({"filtered": True}, "filtered belongs to the method baer; ar always filters. Leave it out."),
        ({"method": "aic"}, "method must be one of ar, baer, not 'aic'."),
        (
            {"start": "2005-08-01T14:57:19Z"},
            "start and station are for plain columns of numbers; they need sampling_rate",
        ),
        ({"sampling_rate": 30.0}, "high must be less than half the sampling rate, 15 Hz, not 20 Hz."),
        ({"sampling_rate": 200.0, "start": "yesterday"}, "start must be a time in UTC such as 2005-08-01T14:57:19.85Z"),
        (
            {"sampling_rate": 200.0, "start": "2005-13-01T00:00:00Z"},
            "start must be a time in UTC .*: month must be in 1..12",
        ),
        ({"sampling_rate": 200.0, "station": "a b"}, "station must be up to eight letters and digits, not 'a b'."),
        ({"sampling_rate": 0.0}, "sampling_rate must be more than 0 Hz, not 0 Hz."),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(pick, more, says):
    with pytest.raises(BadParameterError, match=says):
        pick(THREE, **more)


def column(name, content):
    def make(folder):
        (folder / name).write_text(content)
        return [folder / name]

    return make


@pytest.mark.parametrize(
    ("make", "more", "says"),
    [
        (
            column("a.z", "1\n2\n3\n"),
            {"sampling_rate": None},
            "a.z is a plain column of numbers: it holds no station.* --sampling-rate",
        ),
        (column("a.z", "1\n" * 30 + "x\n"), {}, "a.z is not a plain column of numbers: "),
        (column("a.z", "1 2 3\n4 5 6\n"), {}, "a.z is not a waveform file that Hive reads"),
        (column("a.z", "1\n" * 30 + "1 2\n"), {}, "a.z is not a plain column of numbers: "),
        (column("notes.txt", "hello\n"), {}, "notes.txt is not a waveform file"),
        (column("a.z", "nan\n" * 3000), {"method": "baer"}, "STA STA..Z: no sample is a number"),
        (column("a.z", "1\n"), {"method": "baer"}, "STA"),
        (
            lambda folder: column("a.1", "1\n2\n")(folder) + column("b.1", "1\n2\n")(folder),
            {"method": "baer"},
            "a.1 and b.1 are plain columns of one station with 1. End their names in .z, .n and .e",
        ),
        (
            lambda folder: column("a", "1\n2\n")(folder) + column("b", "1\n2\n")(folder),
            {"method": "baer"},
            "a and b are plain columns of one station with no component in its name",
        ),
    ],
)
def test_a_column_that_cannot_be_read_is_said_so(pick, tmp_path, make, more, says):
    with pytest.raises(InputError, match=says):
        pick(make(tmp_path), **{"sampling_rate": 200.0} | more)

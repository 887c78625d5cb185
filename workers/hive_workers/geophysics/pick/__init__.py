"""`geophysics.pick`: onsets of P and S in the waveforms of one event."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from hive.errors import BadParameterError
from hive.task import Preview, Waveform, progress
from hive.units import AtLeast, Help, Hertz, Matching, MoreThan, Seconds
from hive_workers.geophysics import geophysics
from hive_workers.geophysics.files import QuakeML, Table
from hive_workers.geophysics.pick.settings import ArSettings, BaerSettings

_AR, _BAER = ArSettings(), BaerSettings()
_OF_AR = ("sta_p", "lta_p", "sta_s", "lta_s", "order_p", "order_s", "window_p", "window_s")
_OF_BAER = ("threshold", "noise_threshold", "up_time", "down_time", "noise_window", "amplitude_window")


@dataclass(frozen=True)
class Picks:
    """The onsets that were found, by station."""

    picks: int
    stations: Annotated[int, Help("Stations that were worked on.")]
    traces: Annotated[int, Help("Traces read, of all components.")]
    p_after_start: Annotated[dict[str, float], Help("P onset of each station [s after its first sample].")]
    s_after_start: Annotated[dict[str, float], Help("S onset of each station [s after its first sample].")]
    p_time: Annotated[dict[str, str], Help("P onset of each station, where the time is known.")]
    s_time: Annotated[dict[str, str], Help("S onset of each station, where the time is known.")]
    quality: Annotated[dict[str, str], Help("Baer's word: impulsive or emergent, P, up or down, weight 0 to 4.")]
    missing: Annotated[dict[str, str], Help("Onsets that were not found, and why.")]
    left_out: Annotated[dict[str, str], Help("Stations that were not worked on, and why.")]


def _check(values: Mapping[str, Any]) -> None:
    """Refuse values that do not fit each other, or belong to the other method."""
    _check_method(values)
    for smaller, larger, unit in (("low", "high", " Hz"), ("sta_p", "lta_p", " s"), ("sta_s", "lta_s", " s")):
        if values[smaller] >= values[larger]:
            raise BadParameterError(
                f"{smaller} must be less than {larger}, {values[larger]:g}{unit}, not {values[smaller]:g}{unit}."
            )
    _check_columns(values["sampling_rate"], values["start"], values["station"])
    rate = values["sampling_rate"]
    if rate is not None and (values["method"] == "ar" or values["filtered"]) and values["high"] >= rate / 2:
        raise BadParameterError(
            f"high must be less than half the sampling rate, {rate / 2:g} Hz, not {values['high']:g} Hz."
        )


def _check_method(values: Mapping[str, Any]) -> None:
    """Refuse what the chosen method would not look at."""
    is_ar = values["method"] == "ar"
    other, settings, names = ("baer", _BAER, _OF_BAER) if is_ar else ("ar", _AR, _OF_AR)
    for name in names:
        if values[name] != getattr(settings, name):
            raise BadParameterError(f"{name} belongs to the method {other}; add --method {other}, or leave it out.")
    if is_ar and values["filtered"]:
        raise BadParameterError("filtered belongs to the method baer; ar always filters. Leave it out.")
    if not is_ar and not values["filtered"] and (values["low"], values["high"]) != (_AR.low, _AR.high):
        raise BadParameterError("low and high do nothing with the method baer alone; add --filtered.")


def _check_columns(sampling_rate: float | None, start: str | None, station: str | None) -> None:
    if sampling_rate is None and (start or station):
        raise BadParameterError("start and station are for plain columns of numbers; they need sampling_rate as well.")
    if start is not None:
        try:
            datetime.fromisoformat(start)
        except ValueError as error:
            raise BadParameterError(f"start must be a time in UTC such as 2005-08-01T14:57:19.85Z: {error}.") from error


@geophysics.task(together=_check)
def pick(
    waveforms: Annotated[
        list[Waveform], Help("Waveform files of one event: miniSEED, SAC, GSE, SLIST, TSPAIR, or plain columns.")
    ],
    *,
    picks: QuakeML,
    table: Table,
    method: Annotated[
        Literal["ar", "baer"], Help("ar: P and S on three components; baer: P on one, with its first motion.")
    ] = "ar",
    component: Annotated[
        str, Matching(r"[A-Za-z0-9]", "one letter or digit such as Z"), Help("baer: which component to pick.")
    ] = "Z",
    low: Annotated[Hertz, MoreThan(0), Help("Lower corner of the band.")] = _AR.low,
    high: Annotated[Hertz, MoreThan(0), Help("Upper corner of the band, below half the sampling rate.")] = _AR.high,
    sta_p: Annotated[Seconds, MoreThan(0), Help("ar: short window for P.")] = _AR.sta_p,
    lta_p: Annotated[Seconds, MoreThan(0), Help("ar: long window for P.")] = _AR.lta_p,
    sta_s: Annotated[Seconds, MoreThan(0), Help("ar: short window for S.")] = _AR.sta_s,
    lta_s: Annotated[Seconds, MoreThan(0), Help("ar: long window for S; S needs so much before P.")] = _AR.lta_s,
    order_p: Annotated[int, AtLeast(1), Help("ar: coefficients of the autoregressive model for P.")] = _AR.order_p,
    order_s: Annotated[int, AtLeast(1), Help("ar: coefficients of the autoregressive model for S.")] = _AR.order_s,
    window_p: Annotated[Seconds, MoreThan(0), Help("ar: variance window for P.")] = _AR.window_p,
    window_s: Annotated[Seconds, MoreThan(0), Help("ar: variance window for S.")] = _AR.window_s,
    threshold: Annotated[float, MoreThan(0), Help("baer: a pick starts above this, in deviations of the noise.")] = (
        _BAER.threshold
    ),
    noise_threshold: Annotated[float, MoreThan(0), Help("baer: the noise is learned while below this.")] = (
        _BAER.noise_threshold
    ),
    up_time: Annotated[Seconds, MoreThan(0), Help("baer: a pick must stay up that long.")] = _BAER.up_time,
    down_time: Annotated[Seconds, MoreThan(0), Help("baer: and may be down for so long in between.")] = _BAER.down_time,
    noise_window: Annotated[
        Seconds, MoreThan(0), Help("baer: no pick before twice this time; the noise is learned.")
    ] = (_BAER.noise_window),
    amplitude_window: Annotated[Seconds, MoreThan(0), Help("baer: after the onset, for its weight.")] = (
        _BAER.amplitude_window
    ),
    filtered: Annotated[bool, Help("baer: keep only the band from low to high first.")] = False,
    sampling_rate: Annotated[
        Hertz | None, MoreThan(0), Help("Plain columns: their sampling rate, which they do not say themselves.")
    ] = None,
    start: Annotated[
        str | None,
        Matching(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z", "a time in UTC such as 2005-08-01T14:57:19.85Z"),
        Help("Plain columns: time of their first sample, where it is known."),
    ] = None,
    station: Annotated[
        str | None,
        Matching(r"[A-Za-z0-9]{1,8}", "up to eight letters and digits"),
        Help("Plain columns: name of their station; without it, STA."),
    ] = None,
    preview: Preview | None = None,
) -> Picks:
    """Pick the onsets of P and S in the waveforms of one event.

    AR-AIC (ar) finds P on the vertical and S on the horizontal components where a model of the noise and one of the
    signal fit best on their two sides. The picker of Baer and Kradolfer (baer) finds P on one component and says how
    clear it is. Each station is picked once, on its longest stretch without a gap. The preview shows the traces with
    the picks.
    """
    from obspy import UTCDateTime

    from hive_workers.geophysics._seismic.columns import UNKNOWN_START, Columns
    from hive_workers.geophysics._seismic.drawing import utc
    from hive_workers.geophysics.pick.picture import draw_picks
    from hive_workers.geophysics.pick.report import write_quakeml, write_table
    from hive_workers.geophysics.pick.stations import pick_stations

    columns = None
    if sampling_rate is not None:
        columns = Columns(sampling_rate, UTCDateTime(start) if start else UNKNOWN_START, station or "STA")
    band = (low, high) if filtered else None
    settings: ArSettings | BaerSettings = (
        ArSettings(low, high, sta_p, lta_p, sta_s, lta_s, order_p, order_s, window_p, window_s)
        if method == "ar"
        else BaerSettings(threshold, noise_threshold, up_time, down_time, noise_window, amplitude_window, band)
    )
    found = pick_stations(waveforms, columns, component, settings)
    write_quakeml(found.picked, method, picks)
    write_table(found.picked, method, table)
    if preview is not None:
        draw_picks(found.picked, method, preview)
    every = [(one, onset) for one in found.picked for onset in one.onsets]
    progress(len(found.picked), len(found.picked), "stations", f"{len(every)} {'pick' if len(every) == 1 else 'picks'}")
    p_onsets, s_onsets = ([pair for pair in every if pair[1].phase == phase] for phase in ("P", "S"))
    return Picks(
        picks=len(every),
        stations=len(found.picked),
        traces=found.traces,
        p_after_start={one.station: one.after_start(onset) for one, onset in p_onsets},
        s_after_start={one.station: one.after_start(onset) for one, onset in s_onsets},
        p_time={one.station: utc(one.time(onset), 6) for one, onset in p_onsets if one.is_timed},
        s_time={one.station: utc(one.time(onset), 6) for one, onset in s_onsets if one.is_timed},
        quality={one.station: onset.quality for one, onset in every if onset.quality},
        missing={one.station: one.missing for one in found.picked if one.missing},
        left_out=found.left_out,
    )

"""`geophysics.pick`: onsets of P and S in the waveforms of one event."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Literal

from hive.errors import BadParameterError
from hive.task import Preview, Waveform, progress
from hive.units import Help, Hertz, Matching, MoreThan
from hive_workers.geophysics import geophysics
from hive_workers.geophysics.parameters import ArSettings, BaerSettings, Band, QuakeML, Table


@dataclass(frozen=True)
class Picks:
    """Onsets by station."""

    picks: int
    stations: Annotated[int, Help("Stations processed.")]
    traces: Annotated[int, Help("Traces read, of all components.")]
    p_after_start: Annotated[dict[str, float], Help("P onset of each station [s after its first sample].")]
    s_after_start: Annotated[dict[str, float], Help("S onset of each station [s after its first sample].")]
    p_time: Annotated[dict[str, str], Help("P onset of each station, where the time is known.")]
    s_time: Annotated[dict[str, str], Help("S onset of each station, where the time is known.")]
    quality: Annotated[dict[str, str], Help("Baer's code: impulsive or emergent, P, up or down, weight 0 to 4.")]
    missing: Annotated[dict[str, str], Help("Onsets that are missing, and why.")]
    left_out: Annotated[dict[str, str], Help("Stations left out, and why.")]


def _check(values: Mapping[str, Any]) -> None:
    """Refuse values that do not fit each other, or belong to the other method."""
    _check_method(values["method"], values["band"], values["ar"], values["baer"])
    _check_columns(values["sampling_rate"], values["start"], values["station"])
    rate, high = values["sampling_rate"], values["band"].high
    if rate is not None and (values["method"] == "ar" or values["baer"].filtered) and high >= rate / 2:
        raise BadParameterError(f"high must be less than half the sampling rate, {rate / 2:g} Hz, not {high:g} Hz.")


def _check_method(method: str, band: Band, ar: ArSettings, baer: BaerSettings) -> None:
    """Refuse parameters that the chosen method would ignore."""
    if method == "ar" and baer.filtered:
        raise BadParameterError("filtered belongs to the method baer; ar always filters. Leave it out.")
    other, settings = ("baer", baer) if method == "ar" else ("ar", ar)
    for field in fields(settings):
        if getattr(settings, field.name) != field.default:
            raise BadParameterError(
                f"{field.name} belongs to the method {other}; add --method {other}, or leave it out."
            )
    if method == "baer" and not baer.filtered and band != Band():
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
    band: Band = Band(),
    ar: ArSettings = ArSettings(),
    baer: BaerSettings = BaerSettings(),
    sampling_rate: Annotated[
        Hertz | None, MoreThan(0), Help("Plain columns: their sampling rate, which the files do not hold.")
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
    signal fit best on their two sides. The picker of Baer and Kradolfer (baer) finds P on one component and rates how
    clear it is. Each station is picked once, on its longest stretch without a gap. The preview shows the traces with
    the picks.
    """
    from obspy import UTCDateTime

    from hive_workers.geophysics._seismic.drawing import utc
    from hive_workers.geophysics._seismic.reading import UNKNOWN_START, Columns
    from hive_workers.geophysics.pick.report import draw_picks, write_quakeml, write_table
    from hive_workers.geophysics.pick.stations import Picker, pick_stations

    columns = None
    if sampling_rate is not None:
        columns = Columns(sampling_rate, UTCDateTime(start) if start else UNKNOWN_START, station or "STA")
    picker = Picker(ar, band) if method == "ar" else Picker(baer, band if baer.filtered else None, component)
    picking = pick_stations(waveforms, columns, picker)
    write_quakeml(picking.picked, method, picks)
    write_table(picking.picked, method, table)
    if preview is not None:
        draw_picks(picking.picked, method, preview)
    pairs = [(picked, onset) for picked in picking.picked for onset in picked.onsets]
    count = f"{len(pairs)} {'pick' if len(pairs) == 1 else 'picks'}"
    progress(len(picking.picked), len(picking.picked), "stations", count)
    p_onsets, s_onsets = ([pair for pair in pairs if pair[1].phase == phase] for phase in ("P", "S"))
    return Picks(
        picks=len(pairs),
        stations=len(picking.picked),
        traces=picking.traces,
        p_after_start={picked.station: picked.after_start(onset) for picked, onset in p_onsets},
        s_after_start={picked.station: picked.after_start(onset) for picked, onset in s_onsets},
        p_time={picked.station: utc(picked.time(onset), 6) for picked, onset in p_onsets if picked.is_timed},
        s_time={picked.station: utc(picked.time(onset), 6) for picked, onset in s_onsets if picked.is_timed},
        quality={picked.station: onset.quality for picked, onset in pairs if onset.quality},
        missing={picked.station: picked.missing for picked in picking.picked if picked.missing},
        left_out=picking.left_out,
    )

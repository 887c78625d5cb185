"""One station after the other: choose its channels, take the longest stretch without a gap, pick."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from obspy import Trace, UTCDateTime

from hive.errors import InputError
from hive.task import progress
from hive_workers.geophysics._seismic.pieces import Pieces, cut_at_gaps
from hive_workers.geophysics._seismic.reading import (
    PLAIN,
    UNKNOWN_START,
    Columns,
    Header,
    best_channel,
    by_channel,
    by_station,
    read_headers,
    read_samples,
)
from hive_workers.geophysics.parameters import ArSettings, BaerSettings, Band
from hive_workers.geophysics.pick.onsets import Onset, pick_ar, pick_baer, reason_against_ar, reason_against_baer

logger = logging.getLogger(__name__)
_HORIZONTAL = (("N", "E"), ("1", "2"), ("2", "3"))  # named by direction, or by number where that is not true north
_DEAD_S = 5.0  # a trace that stays on one value for so long holds no signal there
_Span = tuple[UTCDateTime, UTCDateTime]


@dataclass(frozen=True)
class Picker:
    """How to pick: the settings of the method, the band, and the component that Baer's picker looks at."""

    settings: ArSettings | BaerSettings
    band: Band | None
    component: str = "Z"


@dataclass(frozen=True)
class Picked:
    """One station and its onsets.

    Parameters
    ----------
    station : its name
    traces : the stretch that was worked on, the vertical component first
    start : time of the first sample of the whole record, from which seconds count
    onsets : counted in samples of the stretch
    missing : which onset is missing, and why; empty where none is
    """

    station: str
    traces: tuple[Trace, ...]
    start: UTCDateTime
    onsets: tuple[Onset, ...]
    missing: str

    @property
    def is_timed(self) -> bool:
        """Whether the record has a start time."""
        return bool(self.start != UNKNOWN_START)

    def time(self, onset: Onset) -> UTCDateTime:
        """Time of an onset."""
        first = self.traces[0].stats
        return first.starttime + onset.sample / first.sampling_rate

    def after_start(self, onset: Onset) -> float:
        """Time of an onset after the first sample of the record [s]."""
        first = self.traces[0].stats
        return float(first.starttime - self.start) + onset.sample / float(first.sampling_rate)

    def trace_of(self, onset: Onset) -> Trace:
        """The trace on which an onset is seen."""
        return self.traces[onset.channel]


@dataclass(frozen=True)
class Picking:
    """All stations and their onsets; `left_out` says why the others have none."""

    picked: tuple[Picked, ...]
    left_out: dict[str, str]
    traces: int


def pick_stations(waveforms: Sequence[Path], columns: Columns | None, picker: Picker) -> Picking:
    """Read the headers of all files, then pick station by station.

    Raises
    ------
    InputError
        A file cannot be read, or no station can be worked on.
    """
    headers: list[Header] = []
    for number, file in enumerate(waveforms):
        progress(number, len(waveforms), "files", "reading the headers")
        headers += read_headers(file, columns)
    _refuse_two_of_one(headers)
    stations = by_station(headers)
    picked: list[Picked] = []
    left_out: dict[str, str] = {}
    for number, (station, of_station) in enumerate(stations.items()):
        progress(number, len(stations), "stations", f"picking {station}")
        result = _pick_station(station, of_station, columns, picker)
        if isinstance(result, str):
            left_out[station] = result
            logger.warning("%s is left out: %s", station, result)
        else:
            picked.append(result)
            if result.missing:
                logger.warning("%s: %s", station, result.missing)
    if not picked:
        raise InputError(f"No station can be picked: {'; '.join(f'{name} {why}' for name, why in left_out.items())}.")
    return Picking(tuple(picked), left_out, len(headers))


def _refuse_two_of_one(headers: Sequence[Header]) -> None:
    """Plain columns do not say what they are, so two of them may be taken for one trace."""
    for trace_id, same in by_channel([header for header in headers if header.format == PLAIN]).items():
        if len(same) > 1:
            component = trace_id[-1:].strip(".") or "no component in its name"
            raise InputError(
                f"{same[0].file.name} and {same[1].file.name} are plain columns of one station with {component}. End "
                "their names in .z, .n and .e, or submit one station at a time."
            )


def _pick_station(station: str, headers: Sequence[Header], columns: Columns | None, picker: Picker) -> Picked | str:
    """Pick one station; a text says why it cannot be."""
    is_ar = isinstance(picker.settings, ArSettings)
    chosen = _three_components(headers) if is_ar else _one_component(headers, picker.component)
    if isinstance(chosen, str):
        return chosen
    channels = [cut_at_gaps(read_samples(channel, columns), _DEAD_S) for channel in chosen]
    for header, pieces in zip(chosen, channels, strict=True):
        if pieces.nothing:
            return f"{header[0].id.strip('.')}: {pieces.nothing}"
    traces = longest_stretch(channels)
    if not traces:
        return "its components have no time in common"
    rates = {trace.stats.sampling_rate for trace in traces}
    if len(rates) > 1:
        return f"its components are sampled at different rates: {', '.join(f'{rate:g} Hz' for rate in sorted(rates))}"
    onsets = _pick_traces(traces, float(rates.pop()), picker)
    if isinstance(onsets, str):
        return onsets
    start = min(header.start for header in chosen[0])
    return Picked(station, tuple(traces), start, tuple(onsets[0]), onsets[1])


def _pick_traces(traces: Sequence[Trace], rate: float, picker: Picker) -> tuple[list[Onset], str] | str:
    """The onsets, and why one is missing; a text says why the method cannot work on the traces."""
    seconds, settings, band = traces[0].stats.npts / rate, picker.settings, picker.band
    if isinstance(settings, BaerSettings):
        why = reason_against_baer(seconds, rate, settings, band)
        return why or pick_baer(traces[0].data, rate, settings, band)
    assert band is not None  # noqa: S101  AR-AIC always filters
    why = reason_against_ar(seconds, rate, settings, band)
    return why or pick_ar(np.stack([trace.data for trace in traces]), rate, settings, band)


def _three_components(headers: Sequence[Header]) -> list[list[Header]] | str:
    """The channels of one instrument, vertical first; of several instruments that with most data."""
    channels = by_channel(headers)
    instruments = [
        [channels[instrument + letter] for letter in ("Z", *pair)]
        for instrument in sorted({trace_id[:-1] for trace_id in channels})
        for pair in _HORIZONTAL
        if all(instrument + letter in channels for letter in ("Z", *pair))
    ]
    if not instruments:
        there = ", ".join(sorted({header.component or "one without a name" for header in headers}))
        return f"ar needs the components Z, N and E (or Z, 1 and 2), but the files have {there}; baer needs one"
    return max(instruments, key=lambda three: sum(header.span for header in three[0]))


def _one_component(headers: Sequence[Header], component: str) -> list[list[Header]] | str:
    """The channel of that component; a single channel without a name will do."""
    matching = [header for header in headers if header.component == component.upper()]
    unnamed = [header for header in headers if not header.component]
    if matching or unnamed:
        return [best_channel(matching or unnamed)]
    return f"no component {component.upper()}, only {', '.join(sorted({header.component for header in headers}))}"


def longest_stretch(channels: Sequence[Pieces]) -> list[Trace]:
    """The longest time in which every channel has a piece without a gap, cut out of each; equally long arrays."""
    spans: list[_Span] = [(UTCDateTime(0) - 1e10, UTCDateTime(0) + 1e10)]
    for pieces in channels:
        spans = _in_both(spans, [(trace.stats.starttime, trace.stats.endtime) for trace in pieces.traces])
    if not spans:
        return []
    start, end = max(spans, key=lambda span: span[1] - span[0])
    covering = (
        next(trace for trace in pieces.traces if trace.stats.starttime <= start and trace.stats.endtime >= end)
        for pieces in channels
    )
    traces = [trace.slice(start, end) for trace in covering]
    _report_rest(channels, traces)
    shortest = min(trace.stats.npts for trace in traces)  # samples of the channels may lie beside each other
    for trace in traces:
        trace.data = trace.data[:shortest]
    return traces


def _in_both(left: Sequence[_Span], right: Sequence[_Span]) -> list[_Span]:
    """Times that are in a span of both lists, both in order of time."""
    overlaps: list[_Span] = []
    first = second = 0
    while first < len(left) and second < len(right):
        start, end = max(left[first][0], right[second][0]), min(left[first][1], right[second][1])
        if start < end:
            overlaps.append((start, end))
        if left[first][1] < right[second][1]:
            first += 1
        else:
            second += 1
    return overlaps


def _report_rest(channels: Sequence[Pieces], cut: Sequence[Trace]) -> None:
    for pieces, used in zip(channels, cut, strict=True):
        rest = sum(trace.stats.npts for trace in pieces.traces) - used.stats.npts
        if rest > used.stats.sampling_rate:
            logger.warning(
                "%s: only the longest stretch without a gap is picked, %s to %s; %g s are left out",
                used.id,
                used.stats.starttime,
                used.stats.endtime,
                rest / used.stats.sampling_rate,
            )

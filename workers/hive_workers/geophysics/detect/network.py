"""The network: which files belong to which station, and which triggers of several stations are one event."""

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from obspy import Stream, UTCDateTime
from obspy.signal.trigger import coincidence_trigger

from hive.errors import BadParameterError, InputError
from hive.task import progress
from hive_workers.geophysics._seismic.reading import Header, best_channel, by_station, read_headers
from hive_workers.geophysics.detect.triggers import Trigger, Watched, reason_against, watch_station
from hive_workers.geophysics.parameters import Detector

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coincidence:
    """Triggers of several stations that overlap in time: time of the first, duration of all [s], one per station."""

    time: UTCDateTime
    duration: float
    triggers: tuple[Trigger, ...]


@dataclass(frozen=True)
class Network:
    """All stations and their triggers.

    Parameters
    ----------
    watched : the stations that were listening
    left_out : why the others were not, by station
    traces : how many traces were read, of all components
    """

    watched: tuple[Watched, ...]
    left_out: dict[str, str]
    traces: int

    @property
    def start(self) -> UTCDateTime:
        """The first sample that was worked on."""
        return min(station.envelopes[0].start for station in self.watched)

    @property
    def end(self) -> UTCDateTime:
        """The last one."""
        return max(end for station in self.watched for _, end in station.listening)


def watch_network(waveforms: Sequence[Path], component: str, min_stations: int, detector: Detector) -> Network:
    """Read the headers of all files, then work on one station after the other.

    Raises
    ------
    InputError
        A file cannot be read, or too few stations have data at the same time.
    BadParameterError
        The band or the windows fit no station, or min_stations is more than the stations in the files.
    """
    headers: list[Header] = []
    for number, file in enumerate(waveforms):
        progress(number, len(waveforms), "files", "reading the headers")
        headers += read_headers(file)
    stations = by_station(headers)
    if len(stations) < min_stations:
        raise BadParameterError(
            f"min_stations must be at most the number of stations in the files, {len(stations)}, not {min_stations}: "
            f"{', '.join(stations)}."
        )
    channels, left_out = _choose_channels(stations, component, detector)
    watched: list[Watched] = []
    for number, (station, of_channel) in enumerate(channels.items()):
        progress(number, len(channels), "stations", f"looking for triggers of {station}")
        result = watch_station(station, of_channel, detector)
        if isinstance(result, str):
            left_out[station] = result
        else:
            watched.append(result)
    for station, why in left_out.items():
        logger.warning("%s is left out: %s", station, why)
    progress(len(channels), len(channels), "stations", "comparing the stations")
    _check_together(watched, left_out, min_stations)
    return Network(tuple(watched), left_out, len(headers))


def _choose_channels(
    stations: dict[str, list[Header]], component: str, detector: Detector
) -> tuple[dict[str, list[Header]], dict[str, str]]:
    """One channel for each station, because a station counts once; and why others have none."""
    channels: dict[str, list[Header]] = {}
    left_out: dict[str, str] = {}
    for station, headers in stations.items():
        matching = [header for header in headers if header.component == component.upper()]
        if not matching:
            there = ", ".join(sorted({header.component or "one without a name" for header in headers}))
            left_out[station] = f"no component {component.upper()}, only {there}"
            continue
        channel = best_channel(matching)
        if why := reason_against(channel, detector):
            left_out[station] = why
        else:
            channels[station] = channel
    if not channels:
        raise BadParameterError(f"No station can be processed: {_list(left_out)}.")
    return channels, left_out


def _check_together(watched: Sequence[Watched], left_out: dict[str, str], min_stations: int) -> None:
    """Refuse a network that could not have found an event, whatever happened."""
    if len(watched) < min_stations:
        raise InputError(
            f"{len(watched)} of {len(watched) + len(left_out)} stations have usable data, fewer than min_stations "
            f"{min_stations}: {_list(left_out)}."
        )
    together = most_at_once(watched)
    if together < min_stations:
        spans = {station.station: f"{station.envelopes[0].start} to {station.listening[-1][1]}" for station in watched}
        raise InputError(
            f"At most {together} of {len(watched)} stations have data at the same time, fewer than min_stations "
            f"{min_stations}: {_list(spans)}."
        )


def most_at_once(watched: Sequence[Watched]) -> int:
    """How many stations were listening at the same time, at most."""
    moments = [(start, 1, station.station) for station in watched for start, _ in station.listening]
    moments += [(end, -1, station.station) for station in watched for _, end in station.listening]
    pieces = dict.fromkeys((station.station for station in watched), 0)
    most = 0
    for _, change, name in sorted(moments, key=lambda moment: (moment[0], -moment[1])):
        pieces[name] += change  # two where a station's traces overlap and differ
        most = max(most, sum(count > 0 for count in pieces.values()))
    return most


def _list(reasons: dict[str, str]) -> str:
    """Some of the reasons; hundreds of stations do not fit into a sentence."""
    first = [f"{station} {why}" for station, why in list(reasons.items())[:5]]
    more = len(reasons) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")


def find_coincidences(network: Network, min_stations: int, detector: Detector) -> list[Coincidence]:
    """Find the times at which so many stations are triggered that it counts as an event.

    References
    ----------
    Trnkoczy (2012), New Manual of Seismological Observatory Practice 2, IS 8.1; as implemented in ObsPy.
    """
    ratios = Stream([ratio for station in network.watched for ratio in station.ratios])
    by_trace: dict[str, list[Trigger]] = {}
    for trigger in sorted((trigger for station in network.watched for trigger in station.triggers), key=_on_ns):
        by_trace.setdefault(trigger.trace_id, []).append(trigger)
    events = coincidence_trigger(None, detector.on, detector.off, ratios, min_stations) if by_trace else []
    return [
        Coincidence(event["time"], float(event["duration"]), _members(event["trace_ids"], event["time"], by_trace))
        for event in events
    ]


def _members(
    trace_ids: Sequence[str], time: UTCDateTime, by_trace: Mapping[str, Sequence[Trigger]]
) -> tuple[Trigger, ...]:
    """The first trigger of each station that is in an event; `by_trace` has them in the order in which they came."""
    earliest_ns = time.ns - 1000  # ObsPy hands times on as float seconds since 1970, good to 0.2 microseconds
    members = (by_trace[name][bisect_left(by_trace[name], earliest_ns, key=_on_ns)] for name in trace_ids)
    return tuple(members)


def _on_ns(trigger: Trigger) -> int:
    """When it went on [ns since 1970]."""
    return int(trigger.on.ns)

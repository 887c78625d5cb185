"""`geophysics.detect`: from the waveforms of several stations to events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from hive.errors import BadParameterError
from hive.task import Preview, Waveform, progress
from hive.units import HERTZ, AtLeast, Help, Hertz, Matching, MoreThan, Seconds
from hive_workers.geophysics import geophysics
from hive_workers.geophysics.files import QuakeML, Table


@dataclass(frozen=True)
class Detections:
    """What a network of stations has seen."""

    events: int
    stations: Annotated[int, Help("Stations that were worked on.")]
    triggers: Annotated[dict[str, int], Help("Triggers of each station, also those that became no event.")]
    traces: Annotated[int, Help("Traces read, of all components.")]
    sampling_rates: Annotated[list[float], HERTZ, Help("Sampling rates that were worked on.")]
    start: Annotated[str, Help("Time of the first sample.")]
    end: Annotated[str, Help("Time of the last sample.")]
    span: Annotated[Seconds, Help("From the first to the last sample.")]
    gaps: Annotated[int, Help("Pauses within the channels that were worked on.")]
    gap_length: Annotated[Seconds, Help("All pauses together.")]
    left_out: Annotated[dict[str, str], Help("Stations that were not worked on, and why.")]


def _check(values: Mapping[str, Any]) -> None:
    """Refuse a band or windows that are upside down."""
    low, high, sta, lta, on, off = (values[name] for name in ("low", "high", "sta", "lta", "on", "off"))
    if low >= high:
        raise BadParameterError(f"low must be less than high, {high:g} Hz, not {low:g} Hz.")
    if sta >= lta:
        raise BadParameterError(f"sta must be less than lta, {lta:g} s, not {sta:g} s.")
    if off > on:
        raise BadParameterError(f"off must be at most on, {on:g}, not {off:g}.")


@geophysics.task(together=_check)
def detect(
    waveforms: Annotated[
        list[Waveform], Help("Waveform files of several stations: miniSEED, SAC, GSE, SLIST, TSPAIR.")
    ],
    *,
    events: QuakeML,
    table: Table,
    low: Annotated[Hertz, MoreThan(0), Help("Lower corner of the band.")] = 10.0,
    high: Annotated[Hertz, MoreThan(0), Help("Upper corner of the band, below half the sampling rate.")] = 20.0,
    sta: Annotated[Seconds, MoreThan(0), Help("Short window: about as long as an onset.")] = 0.5,
    lta: Annotated[
        Seconds, MoreThan(0), Help("Long window: longer than an event; no trigger before it is full.")
    ] = 10.0,
    on: Annotated[float, MoreThan(0), Help("A station triggers where the ratio short/long reaches this.")] = 3.5,
    off: Annotated[float, MoreThan(0), Help("Its trigger ends where the ratio falls below this.")] = 1.0,
    min_stations: Annotated[int, AtLeast(1), Help("So many stations triggered at the same time are an event.")] = 3,
    component: Annotated[
        str,
        Matching(r"[A-Za-z0-9]", "one letter or digit such as Z"),
        Help("Which component to listen to; a station counts once."),
    ] = "Z",
    preview: Preview | None = None,
) -> Detections:
    """Detect earthquakes that several stations of a network saw at the same time.

    Each station's trace is detrended, band-passed and watched with a recursive STA/LTA trigger: the energy of a short
    window over that of a long one. Where the triggers of enough stations overlap, there is an event. Events are not
    located. Gaps are not filled; after each one a station can trigger again when the long window is full. The preview
    is a record section with the triggers.
    """
    from hive_workers.geophysics._seismic.drawing import utc
    from hive_workers.geophysics.detect.network import find_coincidences, watch_network
    from hive_workers.geophysics.detect.report import write_quakeml, write_table
    from hive_workers.geophysics.detect.section import draw_section
    from hive_workers.geophysics.detect.triggers import Detector

    detector = Detector(low=low, high=high, sta=sta, lta=lta, on=on, off=off)
    network = watch_network(waveforms, component, min_stations, detector)
    found = find_coincidences(network, min_stations, detector)
    write_quakeml(found, events)
    write_table(found, table)
    if preview is not None:
        draw_section(network, found, detector, preview)
    watched = network.watched
    progress(len(watched), len(watched), "stations", f"{len(found)} {'event' if len(found) == 1 else 'events'}")
    return Detections(
        events=len(found),
        stations=len(watched),
        triggers={one.station: len(one.triggers) for one in watched},
        traces=network.traces,
        sampling_rates=sorted({rate for one in watched for rate in one.sampling_rates}),
        start=utc(network.start, 6),
        end=utc(network.end, 6),
        span=float(network.end - network.start),
        gaps=sum(one.gaps for one in watched),
        gap_length=sum(one.gap_s for one in watched),
        left_out=network.left_out,
    )

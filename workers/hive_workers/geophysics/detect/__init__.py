"""`geophysics.detect`: from the waveforms of several stations to events."""

from dataclasses import dataclass
from typing import Annotated

from hive.task import Preview, Waveform, progress
from hive.units import HERTZ, AtLeast, Help, Matching, Seconds
from hive_workers.geophysics import geophysics
from hive_workers.geophysics.parameters import Detector, QuakeML, Table


@dataclass(frozen=True)
class Detections:
    """What a network of stations recorded."""

    events: int
    stations: Annotated[int, Help("Stations processed.")]
    triggers: Annotated[dict[str, int], Help("Triggers of each station, also those that are part of no event.")]
    traces: Annotated[int, Help("Traces read, of all components.")]
    sampling_rates: Annotated[list[float], HERTZ, Help("Sampling rates processed.")]
    start: Annotated[str, Help("Time of the first sample.")]
    end: Annotated[str, Help("Time of the last sample.")]
    span: Annotated[Seconds, Help("From the first to the last sample.")]
    gaps: Annotated[int, Help("Gaps within the channels processed.")]
    gap_length: Annotated[Seconds, Help("Total length of the gaps.")]
    left_out: Annotated[dict[str, str], Help("Stations left out, and why.")]


@geophysics.task
def detect(
    waveforms: Annotated[
        list[Waveform], Help("Waveform files of several stations: miniSEED, SAC, GSE, SLIST, TSPAIR.")
    ],
    *,
    events: QuakeML,
    table: Table,
    detector: Detector = Detector(),
    min_stations: Annotated[int, AtLeast(1), Help("This many stations triggered at the same time are an event.")] = 3,
    component: Annotated[
        str,
        Matching(r"[A-Za-z0-9]", "one letter or digit such as Z"),
        Help("Which component to listen to; a station counts once."),
    ] = "Z",
    preview: Preview | None = None,
) -> Detections:
    """Detect earthquakes that several stations of a network recorded at the same time.

    Each station's trace is detrended, band-passed and watched with a recursive STA/LTA trigger: the energy of a short
    window over that of a long one. Where the triggers of enough stations overlap, there is an event. Events are not
    located. Gaps are not filled; after each one a station can trigger again when the long window is full. The preview
    is a record section with the triggers.
    """
    from hive_workers.geophysics._seismic.drawing import utc
    from hive_workers.geophysics.detect.network import find_coincidences, watch_network
    from hive_workers.geophysics.detect.report import draw_section, write_quakeml, write_table

    network = watch_network(waveforms, component, min_stations, detector)
    coincidences = find_coincidences(network, min_stations, detector)
    write_quakeml(coincidences, events)
    write_table(coincidences, table)
    if preview is not None:
        draw_section(network, coincidences, detector, preview)
    watched = network.watched
    progress(
        len(watched), len(watched), "stations", f"{len(coincidences)} {'event' if len(coincidences) == 1 else 'events'}"
    )
    return Detections(
        events=len(coincidences),
        stations=len(watched),
        triggers={station.station: len(station.triggers) for station in watched},
        traces=network.traces,
        sampling_rates=sorted({rate for station in watched for rate in station.sampling_rates}),
        start=utc(network.start, 6),
        end=utc(network.end, 6),
        span=float(network.end - network.start),
        gaps=sum(station.gaps for station in watched),
        gap_length=sum(station.gap_s for station in watched),
        left_out=network.left_out,
    )

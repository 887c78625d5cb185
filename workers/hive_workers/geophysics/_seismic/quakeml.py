"""Writing QuakeML: the same input gives the same file, so nothing in it is random or the time of day."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from obspy import UTCDateTime
from obspy.core.event import Catalog, Comment, Event, Pick, ResourceIdentifier, WaveformStreamID

from hive.task import replaced_atomically

_AUTHORITY = "smi:local/hive"
_OTHER_LETTERS = re.compile(r"[^A-Za-z0-9._~/-]")


@dataclass(frozen=True)
class Arrival:
    """One onset on one trace, as QuakeML takes it.

    Parameters
    ----------
    trace_id : network.station.location.channel
    time : of the onset
    method : of the picker or trigger
    phase : P, S, or empty
    onset : "impulsive", "emergent", or empty
    polarity : "positive", "negative", or empty
    comment : anything else
    """

    trace_id: str
    time: UTCDateTime
    method: str
    phase: str = ""
    onset: str = ""
    polarity: str = ""
    comment: str = ""


def event(name: str, comment: str, arrivals: Sequence[Arrival]) -> Event:
    """An event made of arrivals; it has no origin, because nothing was located."""
    return Event(
        resource_id=_name("event", name),
        picks=[_pick(f"{name}/{number}", arrival) for number, arrival in enumerate(arrivals, start=1)],
        comments=[_comment(name, comment)],
    )


def write_events(events: Sequence[Event], name: str, file: Path) -> None:
    """Write events as QuakeML 1.2."""
    catalog = Catalog(events=list(events), resource_id=_name("catalog", name))
    with replaced_atomically(file) as unfinished:
        catalog.write(str(unfinished), format="QUAKEML")


def _pick(name: str, arrival: Arrival) -> Pick:
    network, station, location, channel = arrival.trace_id.split(".")
    return Pick(
        resource_id=_name("pick", name),
        time=arrival.time,
        waveform_id=WaveformStreamID(network, station, location or None, channel or None),
        method_id=_name("method", arrival.method),
        phase_hint=arrival.phase or None,
        onset=arrival.onset or None,
        polarity=arrival.polarity or None,
        evaluation_mode="automatic",
        comments=[_comment(f"pick/{name}", arrival.comment)] if arrival.comment else [],
    )


def _comment(name: str, text: str) -> Comment:
    return Comment(text=text, resource_id=_name("comment", name))


def _name(kind: str, name: str) -> ResourceIdentifier:
    """A public identifier of QuakeML; it allows letters, digits and a few marks."""
    allowed = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._~/") else "_" for letter in name
    )
    return ResourceIdentifier(f"{_AUTHORITY}/{kind}/{allowed}")

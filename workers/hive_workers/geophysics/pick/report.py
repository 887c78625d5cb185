"""Picks on paper: QuakeML and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

from hive.task import replaced_atomically
from hive_workers.geophysics._seismic.drawing import utc
from hive_workers.geophysics._seismic.quakeml import Arrival, event, write_events
from hive_workers.geophysics.pick.onsets import Onset
from hive_workers.geophysics.pick.stations import Picked

_COLUMNS = ("station", "channel", "phase", "after_start_s", "time", "onset", "polarity", "weight", "method")
# Letters of Baer's word, "IPU0": onset, phase, first motion, weight.
_ONSET = {"I": "impulsive", "E": "emergent"}
_POLARITY = {"U": "positive", "D": "negative"}
_UNTIMED = "Its start is not known: times count from 1970-01-01T00:00:00Z, which stands for the first sample."


def onset_of(onset: Onset) -> str:
    """Impulsive or emergent; empty where the method does not say."""
    return _ONSET.get(onset.quality[:1], "")


def polarity_of(onset: Onset) -> str:
    """Direction of the first motion; empty where the method does not say."""
    return _POLARITY.get(onset.quality[2:3], "")


def write_quakeml(picked: Sequence[Picked], method: str, file: Path) -> None:
    """Write all picks as those of one event, which is not located."""
    first = min((one.start for one in picked), default=None)
    arrivals = [_arrival(one, onset, method) for one in picked for onset in one.onsets]
    comment = "Picks of one record; not located." + ("" if all(one.is_timed for one in picked) else f" {_UNTIMED}")
    name = f"pick/{utc(first, 6) if first is not None else 'none'}"
    write_events([event(name, comment, arrivals)], "pick", file)


def _arrival(picked: Picked, onset: Onset, method: str) -> Arrival:
    return Arrival(
        picked.trace_of(onset).id,
        picked.time(onset),
        method,
        onset.phase,
        onset_of(onset),
        polarity_of(onset),
        f"Quality {onset.quality}." if onset.quality else "",
    )


def write_table(picked: Sequence[Picked], method: str, file: Path) -> None:
    """Write one row per pick; what is not known is empty."""
    rows = [
        (
            one.station,
            one.trace_of(onset).id.strip("."),
            onset.phase,
            f"{one.after_start(onset):.6f}",
            utc(one.time(onset), 6) if one.is_timed else "",
            onset_of(onset),
            polarity_of(onset),
            onset.quality[3:4],
            method,
        )
        for one in picked
        for onset in one.onsets
    ]
    with replaced_atomically(file) as unfinished, unfinished.open("w", newline="") as sheet:
        csv.writer(sheet).writerows([_COLUMNS, *rows])

"""Events on paper: QuakeML and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

from hive.task import replaced_atomically
from hive_workers.geophysics._seismic.drawing import utc
from hive_workers.geophysics._seismic.quakeml import Arrival, event, write_events
from hive_workers.geophysics.detect.network import Coincidence
from hive_workers.geophysics.detect.triggers import Trigger

_COLUMNS = ("event", "time", "duration_s", "stations", "largest_ratio", "triggered")


def write_quakeml(found: Sequence[Coincidence], file: Path) -> None:
    """Write one event per coincidence, with the time at which each of its stations triggered as a pick."""
    events = [
        event(
            f"detect/{utc(one.time, 6)}",
            f"Coincidence of {len(one.triggers)} stations for {one.duration:.3f} s; not located.",
            [_arrival(trigger) for trigger in one.triggers],
        )
        for one in found
    ]
    write_events(events, "detect", file)


def _arrival(trigger: Trigger) -> Arrival:
    length = float(trigger.off - trigger.on)
    comment = f"STA/LTA trigger, {length:.3f} s long, largest ratio {trigger.peak:.3f}."
    return Arrival(trigger.trace_id, trigger.on, "recursive-sta-lta", comment=comment)


def write_table(found: Sequence[Coincidence], file: Path) -> None:
    """Write one row per event; `triggered` lists the stations in the order in which they triggered."""
    rows = [
        (
            number,
            utc(one.time, 6),
            f"{one.duration:.3f}",
            len(one.triggers),
            f"{max(trigger.peak for trigger in one.triggers):.3f}",
            " ".join(trigger.station for trigger in one.triggers),
        )
        for number, one in enumerate(found, start=1)
    ]
    with replaced_atomically(file) as unfinished, unfinished.open("w", newline="") as sheet:
        csv.writer(sheet).writerows([_COLUMNS, *rows])

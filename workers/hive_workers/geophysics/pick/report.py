"""Picks as QuakeML, as a table, and as a picture of the traces."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from obspy import Trace

from hive.task import replaced_atomically
from hive_workers.geophysics._seismic.drawing import BLUE, INK, VERMILION, envelope, new_figure, save_png, utc
from hive_workers.geophysics._seismic.quakeml import Arrival, event, write_events
from hive_workers.geophysics.pick.onsets import Onset
from hive_workers.geophysics.pick.stations import Picked

_COLUMNS = ("station", "channel", "phase", "after_start_s", "time", "onset", "polarity", "weight", "method")
# Letters of Baer's code, "IPU0": onset, phase, first motion, weight.
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
    first = min((station.start for station in picked), default=None)
    arrivals = [_arrival(station, onset, method) for station in picked for onset in station.onsets]
    comment = "Picks of one record; not located." + (
        "" if all(station.is_timed for station in picked) else f" {_UNTIMED}"
    )
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
            station.station,
            station.trace_of(onset).id.strip("."),
            onset.phase,
            f"{station.after_start(onset):.6f}",
            utc(station.time(onset), 6) if station.is_timed else "",
            onset_of(onset),
            polarity_of(onset),
            onset.quality[3:4],
            method,
        )
        for station in picked
        for onset in station.onsets
    ]
    with replaced_atomically(file) as unfinished, unfinished.open("w", newline="") as sheet:
        csv.writer(sheet).writerows([_COLUMNS, *rows])


_MOST_TRACES = 24  # more rows cannot be told apart on a screen
_PICTURE_COLUMNS = 1500  # more than a panel has pixels across
_COLOURS = {"P": VERMILION, "S": BLUE}
_BESIDE_S = 1.0  # least time around a single onset that the right-hand panel shows


def draw_picks(picked: Sequence[Picked], method: str, file: Path) -> None:
    """Draw as many stations as there is room for, in the order of their names."""
    stations: list[Picked] = []
    for station in picked:
        if not stations or sum(len(other.traces) for other in (*stations, station)) <= _MOST_TRACES:
            stations.append(station)
    rows = [(station, trace) for station in stations for trace in station.traces]
    figure = new_figure(10.0, 1.3 + 1.05 * len(rows))
    panels = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), (station, trace) in zip(panels, rows, strict=True):
        _draw_trace(left, station, trace, (-np.inf, np.inf))
        _draw_trace(right, station, trace, _around_onsets(station))
        left.set_ylabel(trace.id.strip("."), rotation=0, ha="right", va="center", fontsize=8)
        if trace is station.traces[-1]:
            since = utc(station.start) if station.is_timed else "the first sample (UTC not known)"
            left.set_xlabel(f"seconds after {since}", fontsize=8)
            right.set_xlabel("seconds, around the onsets", fontsize=8)
    hidden = len(picked) - len(stations)
    words = f"Onsets by {method}; each panel scaled to its own maximum, mean removed"
    figure.suptitle(words + (f"; {hidden} stations more" if hidden else ""), fontsize=10)
    _draw_legend(figure, stations)
    save_png(figure, file)


def _around_onsets(picked: Picked) -> tuple[float, float]:
    """What to look at closely [s after the start]."""
    times = [picked.after_start(onset) for onset in picked.onsets]
    if not times:
        return -np.inf, np.inf
    beside = max(_BESIDE_S, 1.5 * (max(times) - min(times)))
    return min(times) - beside, max(times) + 2 * beside


def _draw_trace(axes: Any, picked: Picked, trace: Trace, view: tuple[float, float]) -> None:  # noqa: ANN401  matplotlib's
    begin = float(trace.stats.starttime - picked.start)
    length = float(trace.stats.endtime - trace.stats.starttime)
    low, high = max(view[0], begin), min(view[1], begin + length)
    part = trace.slice(picked.start + low, picked.start + high)
    shape = envelope(part.data - trace.data.mean(), part.stats.sampling_rate, part.stats.starttime, _PICTURE_COLUMNS)
    seconds = shape.seconds + float(shape.start - picked.start)
    line = np.column_stack([shape.lowest, shape.highest]).ravel() / (shape.amplitude or 1.0)
    axes.plot(np.repeat(seconds, 2), line, color=INK, linewidth=0.6)
    for onset in picked.onsets:
        time = picked.after_start(onset)
        is_own = trace is picked.trace_of(onset)
        axes.axvline(
            time, color=_COLOURS[onset.phase], linewidth=1.4 if is_own else 0.9, linestyle="-" if is_own else ":"
        )
        if is_own:
            axes.annotate(
                f" {onset.quality or onset.phase}",
                (time, 1.0),
                color=_COLOURS[onset.phase],
                fontsize=8,
                va="top",
                fontweight="bold",
            )
    axes.set_xlim(low, high)
    axes.set_ylim(-1.1, 1.1)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_legend(figure: Any, stations: Sequence[Picked]) -> None:  # noqa: ANN401  matplotlib's figure
    from matplotlib.lines import Line2D

    phases = sorted({onset.phase for station in stations for onset in station.onsets})
    signs = [Line2D([], [], color=_COLOURS[phase], linewidth=1.4, label=f"{phase} onset") for phase in phases]
    if signs:
        figure.legend(handles=signs, loc="outside lower center", ncols=2, frameon=False, fontsize=8)

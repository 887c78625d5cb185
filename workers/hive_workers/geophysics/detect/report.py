"""Events as QuakeML, as a table, and as a record section with the triggers."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from obspy import UTCDateTime

from hive.task import replaced_atomically
from hive_workers.geophysics._seismic.drawing import BLUE, DEAF, INK, ORANGE, VERMILION, new_figure, save_png, utc
from hive_workers.geophysics._seismic.quakeml import Arrival, event, write_events
from hive_workers.geophysics.detect.network import Coincidence, Network
from hive_workers.geophysics.detect.triggers import Trigger, Watched
from hive_workers.geophysics.parameters import Detector

_COLUMNS = ("event", "time", "duration_s", "stations", "largest_ratio", "triggered")


def write_quakeml(coincidences: Sequence[Coincidence], file: Path) -> None:
    """Write one event per coincidence, with the time at which each of its stations triggered as a pick."""
    events = [
        event(
            f"detect/{utc(coincidence.time, 6)}",
            f"Coincidence of {len(coincidence.triggers)} stations for {coincidence.duration:.3f} s; not located.",
            [_arrival(trigger) for trigger in coincidence.triggers],
        )
        for coincidence in coincidences
    ]
    write_events(events, "detect", file)


def _arrival(trigger: Trigger) -> Arrival:
    length = float(trigger.off - trigger.on)
    comment = f"STA/LTA trigger, {length:.3f} s long, largest ratio {trigger.peak:.3f}."
    return Arrival(trigger.trace_id, trigger.on, "recursive-sta-lta", comment=comment)


def write_table(coincidences: Sequence[Coincidence], file: Path) -> None:
    """Write one row per event; `triggered` lists the stations in the order in which they triggered."""
    rows = [
        (
            number,
            utc(coincidence.time, 6),
            f"{coincidence.duration:.3f}",
            len(coincidence.triggers),
            f"{max(trigger.peak for trigger in coincidence.triggers):.3f}",
            " ".join(trigger.station for trigger in coincidence.triggers),
        )
        for number, coincidence in enumerate(coincidences, start=1)
    ]
    with replaced_atomically(file) as unfinished, unfinished.open("w", newline="") as sheet:
        csv.writer(sheet).writerows([_COLUMNS, *rows])


_MOST_STATIONS = 40  # more rows cannot be told apart on a screen
_HALF_ROW = 0.45
_MOST_LABELS = 16  # side by side; of events that are closer to each other only the first has its number and time
_TIMES = ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%H:%M:%S"]  # where ticks are years, … hours, minutes, seconds


def draw_section(network: Network, coincidences: Sequence[Coincidence], detector: Detector, file: Path) -> None:
    """Draw one row per station; with more stations than rows, those with most triggers."""
    rows = sorted(network.watched, key=lambda station: (-len(station.triggers), station.station))[:_MOST_STATIONS]
    rows.sort(key=lambda station: station.station, reverse=True)  # the first name on top
    figure = new_figure(10.0, 1.6 + 0.62 * len(rows))
    axes = figure.add_subplot()
    _draw_events(axes, coincidences, len(rows), (network.end - network.start) / _MOST_LABELS)
    for height, station in enumerate(rows):
        _draw_station(axes, station, height, detector.lta)
    axes.set_yticks(range(len(rows)), [station.station for station in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(network.start.matplotlib_date, network.end.matplotlib_date)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, formats=_TIMES, zero_formats=_TIMES, show_offset=False)
    )
    axes.set_xlabel(f"Time (UTC) on {_days(network.start, network.end)}")
    axes.set_ylabel("Station")
    hidden = len(network.watched) - len(rows)
    events = f"{len(coincidences)} {'event' if len(coincidences) == 1 else 'events'}"
    rest = f"; {hidden} stations more" if hidden else ""
    axes.set_title(
        f"{events}; ground motion {detector.low:g} to {detector.high:g} Hz, square root of amplitude, each row scaled "
        f"on its own{rest}",
        fontsize=10,
        pad=28 if coincidences else 8,
    )
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    _draw_legend(figure, bool(coincidences))
    save_png(figure, file)


def _draw_events(axes: Any, coincidences: Sequence[Coincidence], rows: int, apart_s: float) -> None:  # noqa: ANN401  matplotlib's axes
    """Shade all events, and write number and time over those that are so far apart [s]."""
    spans = [(coincidence.time.matplotlib_date, coincidence.duration / 86400) for coincidence in coincidences]
    axes.broken_barh(
        spans, (0, 1), transform=axes.get_xaxis_transform(), color=ORANGE, alpha=0.25, linewidth=0, zorder=0
    )
    labelled: UTCDateTime | None = None
    for number, coincidence in enumerate(coincidences, start=1):
        if labelled is not None and coincidence.time - labelled < apart_s:
            continue
        labelled = coincidence.time
        axes.annotate(
            f"{number}\n{coincidence.time.strftime('%H:%M:%S')}",
            (coincidence.time.matplotlib_date, rows - 0.4),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            ha="center",
            va="bottom",
            annotation_clip=False,
        )


def _draw_station(axes: Any, station: Watched, height: int, lta: float) -> None:  # noqa: ANN401  matplotlib's axes
    largest = max(envelope.amplitude for envelope in station.envelopes) or 1.0
    pause = [np.nan]  # lifts the pen between two pieces
    seconds = np.concatenate([np.r_[np.repeat(envelope.seconds, 2), pause] for envelope in station.envelopes])
    days = np.concatenate(
        [
            np.r_[np.repeat(envelope.start.matplotlib_date + envelope.seconds / 86400, 2), pause]
            for envelope in station.envelopes
        ]
    )
    both = np.concatenate(
        [np.r_[np.column_stack([envelope.lowest, envelope.highest]).ravel(), pause] for envelope in station.envelopes]
    )
    # Events of one hour differ by factors of a hundred; their square roots fit into one row.
    line = height + _HALF_ROW * np.sign(both) * np.sqrt(np.abs(both) / largest)
    axes.plot(days, np.where(seconds < lta, line, np.nan), color=DEAF, linewidth=0.5, zorder=1)
    axes.plot(days, np.where(seconds >= lta, line, np.nan), color=INK, linewidth=0.5, zorder=2)
    on = [trigger.on.matplotlib_date for trigger in station.triggers]
    off = [trigger.off.matplotlib_date for trigger in station.triggers]
    axes.hlines([height - _HALF_ROW] * len(on), on, off, color=BLUE, linewidth=3, zorder=3)
    width = min(1.3, 150 / max(1, len(on)))  # so that the trace stays visible under hundreds of them
    axes.vlines(on, height - _HALF_ROW, height + _HALF_ROW, color=VERMILION, linewidth=width, zorder=3)


def _draw_legend(figure: Any, has_events: bool) -> None:  # noqa: ANN401  matplotlib's figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    signs: list[Any] = [
        Line2D([], [], color=INK, linewidth=1, label="trace"),
        Line2D([], [], color=DEAF, linewidth=1, label="long window not full yet"),
        Line2D([], [], color=VERMILION, linewidth=1.3, label="trigger on"),
        Line2D([], [], color=BLUE, linewidth=3, label="triggered"),
    ]
    if has_events:
        signs.append(Patch(color=ORANGE, alpha=0.25, label="event"))
    figure.legend(handles=signs, loc="outside lower center", ncols=5, frameon=False, fontsize=8)


def _days(start: UTCDateTime, end: UTCDateTime) -> str:
    first, last = utc(start, 0)[:10], utc(end, 0)[:10]
    return first if first == last else f"{first} to {last}"

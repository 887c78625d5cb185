"""What the previews share: a figure without a window, traces as envelopes, times in UTC."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from obspy import UTCDateTime

from hive.task import replaced_atomically

# Colours that are told apart with every kind of colour vision (Okabe and Ito 2008).
BLACK, BLUE, ORANGE, SKY, VERMILION = "#000000", "#0072B2", "#E69F00", "#56B4E9", "#D55E00"
INK, DEAF = "#404040", "#B0B0B0"
_DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Envelope:
    """Lowest and highest sample of each column of pixels; all a picture needs of a trace.

    Parameters
    ----------
    start : time of the first sample
    seconds : (columns,) after `start`
    lowest, highest : (columns,) in the trace's own unit
    """

    start: UTCDateTime
    seconds: NDArray[np.float64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @property
    def amplitude(self) -> float:
        """The largest excursion from zero."""
        return float(max(np.abs(self.lowest).max(), np.abs(self.highest).max()))


def envelope(samples: NDArray[np.float64], sampling_rate: float, start: UTCDateTime, columns: int) -> Envelope:
    """Reduce samples to at most so many columns, and at least one; few samples stay as they are."""
    starts = np.arange(0, samples.size, -(-samples.size // max(1, columns)))
    return Envelope(
        start,
        starts / sampling_rate,
        np.minimum.reduceat(samples, starts).astype(np.float32),
        np.maximum.reduceat(samples, starts).astype(np.float32),
    )


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that nobody else holds: pyplot would keep it from one job of a worker to the next."""
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, file: Path) -> None:
    """Write the figure; without the name of the program in it, so that the same input gives the same file."""
    with replaced_atomically(file) as unfinished:
        figure.savefig(unfinished, format="png", metadata={"Software": None})


def utc(time: UTCDateTime, decimals: int = 3) -> str:
    """Write a time as RFC 3339 in UTC, rounded to so many decimals of a second.

    >>> utc(UTCDateTime(2010, 5, 27, 16, 24, 33, 399998), 2), utc(UTCDateTime(2010, 5, 27, 16, 24, 33, 399998), 0)
    ('2010-05-27T16:24:33.40Z', '2010-05-27T16:24:33Z')
    """
    text = UTCDateTime(ns=round(time.ns, decimals - 9)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text[: -6 + decimals].rstrip(".") + "Z" if decimals < 6 else f"{text}Z"

"""From traces to continuous pieces of real data: joined where they meet, cut where samples are missing.

Gaps are never filled. A filled gap has edges, and an edge looks like an onset.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from obspy import Stream, Trace

logger = logging.getLogger(__name__)
# Samples of two files meet where they are off by less than that share of the sampling interval.
_MISALIGNED = 1e-2


@dataclass(frozen=True)
class Pieces:
    """The continuous pieces of one channel in order of time.

    Parameters
    ----------
    traces : float64, all samples finite
    gaps : number of pauses between them
    gap_s : their length together [s]
    nothing : why there is no piece at all; empty where there are some
    """

    traces: tuple[Trace, ...]
    gaps: int = 0
    gap_s: float = 0.0
    nothing: str = ""


def cut_at_gaps(stream: Stream, dead_s: float) -> Pieces:
    """Join the traces of one channel where they meet, and cut where samples are missing.

    Missing are: what no file has, what is no number, and what stays on one value for `dead_s` seconds, as loggers write
    where they have nothing. Copies of the same samples are dropped.

    Parameters
    ----------
    stream : traces of one channel, float64
    dead_s : an unchanging signal this long is none [s]
    """
    before = len(stream)
    joined = _join(stream)
    if before > len(joined):
        logger.info("%s: %d traces joined to %d", joined[0].id, before, len(joined))
    pieces = (piece for trace in joined for piece in _real_parts(trace, dead_s))
    traces = sorted(pieces, key=lambda trace: trace.stats.starttime)
    if not traces:
        return Pieces((), nothing=_why_nothing(joined))
    pauses = [pause for earlier, later in pairwise(traces) if (pause := _pause(earlier, later)) > 0]
    return Pieces(tuple(traces), len(pauses), float(sum(pauses)))


def _join(stream: Stream) -> Stream:
    """Join what meets and drop copies, for each sampling rate separately."""
    joined = Stream()
    for rate in sorted({trace.stats.sampling_rate for trace in stream}):
        same = Stream([trace for trace in stream if trace.stats.sampling_rate == rate])
        joined += same.merge(method=-1, misalignment_threshold=_MISALIGNED)
    _report_copies(stream, joined)
    return joined


def _report_copies(stream: Stream, joined: Stream) -> None:
    """Log samples that occur twice, and traces that contradict each other."""
    spare = sum(trace.stats.npts for trace in stream) - sum(trace.stats.npts for trace in joined)
    if spare > 0:
        logger.warning("%s: %d samples occur more than once; the copies are dropped", joined[0].id, spare)
    ordered = sorted(joined, key=lambda trace: trace.stats.starttime)
    if any(_pause(earlier, later) < -earlier.stats.delta / 2 for earlier, later in pairwise(ordered)):
        logger.warning("%s: some traces overlap with different samples; each is processed on its own", joined[0].id)


def _pause(earlier: Trace, later: Trace) -> float:
    """Time between two pieces beyond one sampling interval [s]; negative where they overlap, 0 where they meet."""
    pause = float(later.stats.starttime - earlier.stats.endtime) - earlier.stats.delta
    return 0.0 if abs(pause) < earlier.stats.delta / 2 else pause


def _real_parts(trace: Trace, dead_s: float) -> Iterator[Trace]:
    """The parts of a trace that hold a signal."""
    rate = trace.stats.sampling_rate
    parts = real_spans(trace.data, max(2, min(round(dead_s * rate), trace.stats.npts)))
    lost = trace.stats.npts - sum(end - first for first, end in parts)
    if lost:
        logger.warning(
            "%s: %d of %d samples are not numbers, or constant for %g s or more; they count as a gap",
            trace.id,
            lost,
            trace.stats.npts,
            dead_s,
        )
    for first, end in parts:
        yield part_of(trace, trace.data[first:end], first)


def part_of(trace: Trace, samples: NDArray[np.float64], first: int) -> Trace:
    """A trace of these samples, the first of which has the time of sample `first` of `trace`."""
    part = Trace(header=trace.stats.copy())
    part.stats.starttime = trace.stats.starttime + float(first) / trace.stats.sampling_rate
    part.data = samples  # only now, because a trace made of header and data takes the header's number of samples
    return part


def real_spans(samples: NDArray[np.float64], dead: int) -> list[tuple[int, int]]:
    """Where samples are finite and not stuck on one value.

    Parameters
    ----------
    samples : (samples,) float
    dead : so many equal samples in a row are no signal, at least 2

    Returns
    -------
    (first, end) of each span, end not included

    >>> real_spans(np.array([1.0, 2.0, 7.0, 7.0, 7.0, 3.0, np.nan, 4.0]), dead=3)
    [(0, 2), (5, 6), (7, 8)]
    """
    if not samples.size:
        return []
    is_real = np.isfinite(samples)
    for first, end in _runs(samples[1:] == samples[:-1]):
        if end - first + 1 >= dead:  # one equality fewer than equal samples
            is_real[first : end + 1] = False
    return _runs(is_real)


def _runs(is_so: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, end) of each run of True, end not included."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_so, [False]]).view(np.int8)))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _why_nothing(joined: Sequence[Trace]) -> str:
    samples = np.concatenate([trace.data for trace in joined]) if joined else np.array([])
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        return "no sample is a number"
    if not finite.any():
        return "only zeros"
    return "the signal does not change"

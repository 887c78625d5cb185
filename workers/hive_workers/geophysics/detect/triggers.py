"""One station: band-pass, recursive STA/LTA, triggers. Only the triggers and a thin picture of the trace are kept."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from obspy import Trace, UTCDateTime
from obspy.signal.filter import bandpass
from obspy.signal.trigger import recursive_sta_lta, trigger_onset
from scipy.signal import detrend

from hive_workers.geophysics._seismic.drawing import Envelope, envelope
from hive_workers.geophysics._seismic.pieces import cut_at_gaps, part_of
from hive_workers.geophysics._seismic.reading import Header, read_samples
from hive_workers.geophysics.parameters import Detector

logger = logging.getLogger(__name__)
_COLUMNS = 1500  # of the picture, more than it has pixels across


@dataclass(frozen=True)
class Trigger:
    """One time during which a station's ratio was up: when, and how high it went."""

    station: str
    trace_id: str
    on: UTCDateTime
    off: UTCDateTime
    peak: float


@dataclass(frozen=True)
class Watched:
    """Triggers of one station, and when it was listening.

    Parameters
    ----------
    ratios : the ratio within each trigger, one trace per trigger
    listening : (start, end) of the times in which a trigger was possible
    envelopes : the band-passed trace, as the picture needs it
    """

    station: str
    trace_id: str
    sampling_rates: tuple[float, ...]
    triggers: tuple[Trigger, ...]
    ratios: tuple[Trace, ...]
    listening: tuple[tuple[UTCDateTime, UTCDateTime], ...]
    envelopes: tuple[Envelope, ...]
    gaps: int
    gap_s: float


def reason_against(headers: Sequence[Header], detector: Detector) -> str:
    """Why a channel cannot be worked on, as far as its headers tell; empty where it can."""
    rate = max(header.sampling_rate for header in headers)
    if detector.high >= rate / 2:
        return f"sampled at {rate:g} Hz, so high must be less than {rate / 2:g} Hz"
    if detector.sta * rate < 1:
        return f"sampled at {rate:g} Hz, so sta must be at least {1 / rate:g} s"
    return ""


def watch_station(station: str, headers: Sequence[Header], detector: Detector) -> Watched | str:
    """Read one channel of a station and find its triggers; a text says why there is nothing to work on.

    Parameters
    ----------
    station : its name
    headers : of one channel, any number of files
    """
    pieces = cut_at_gaps(read_samples(headers), dead_s=detector.lta)
    if pieces.nothing:
        return pieces.nothing
    usable = [piece for piece in pieces.traces if piece.stats.npts > int(detector.lta * piece.stats.sampling_rate)]
    if not usable:
        longest = max(piece.stats.npts * piece.stats.delta for piece in pieces.traces)
        return f"no piece is longer than lta {detector.lta:g} s; the longest is {longest:g} s"
    if len(usable) < len(pieces.traces):
        short = len(pieces.traces) - len(usable)
        logger.info("%s: %d pieces between gaps are not longer than lta and cannot trigger", station, short)
    total = sum(piece.stats.npts for piece in usable)
    triggers: list[Trigger] = []
    ratios: list[Trace] = []
    envelopes: list[Envelope] = []
    for piece in usable:
        rate = piece.stats.sampling_rate
        band = band_passed(piece.data, rate, detector)
        envelopes.append(envelope(band, rate, piece.stats.starttime, _COLUMNS * band.size // total))
        ratio = sta_lta(band, rate, detector)
        for first, last in trigger_onset(ratio, detector.on, detector.off):
            # Coincidence looks at nothing else, and days of ratios of many stations would not fit into memory.
            up = part_of(piece, ratio[first : last + 1].copy(), first)
            off = piece.stats.starttime + float(last) / rate
            ratios.append(up)
            triggers.append(Trigger(station, piece.id, up.stats.starttime, off, float(up.data.max())))
    return Watched(
        station=station,
        trace_id=usable[0].id,
        sampling_rates=tuple(sorted({piece.stats.sampling_rate for piece in usable})),
        triggers=tuple(triggers),
        ratios=tuple(ratios),
        listening=tuple((piece.stats.starttime + detector.lta, piece.stats.endtime) for piece in usable),
        envelopes=tuple(envelopes),
        gaps=pieces.gaps,
        gap_s=pieces.gap_s,
    )


def band_passed(samples: NDArray[np.float64], sampling_rate: float, detector: Detector) -> NDArray[np.float64]:
    """Remove the trend, the mean and what is outside the band (Butterworth, four corners, causal).

    As `Trace.detrend` and `Trace.filter` do, without the processing records that these write at each call: with
    thousands of gaps the records take longer than the work.
    """
    level = detrend(detrend(samples, type="linear"), type="constant")
    band: NDArray[np.float64] = bandpass(level, detector.low, detector.high, sampling_rate, corners=4)
    return band


def sta_lta(samples: NDArray[np.float64], sampling_rate: float, detector: Detector) -> NDArray[np.float64]:
    """Ratio of short- to long-term average energy, both averages recursive.

    Parameters
    ----------
    samples : (samples,) float, band-passed ground motion, any unit
    sampling_rate : [Hz]

    Returns
    -------
    (samples,) float, dimensionless; 0 for the first `lta`, where the long window is not full

    References
    ----------
    Withers et al. (1998), BSSA 88(1), 95-106; characteristic function: squared amplitude.
    """
    short, long = int(detector.sta * sampling_rate), int(detector.lta * sampling_rate)
    ratio: NDArray[np.float64] = recursive_sta_lta(samples, short, long)
    return ratio

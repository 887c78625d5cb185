"""Onsets of P and S on continuous traces: AR-AIC on three components, Baer and Kradolfer on one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from obspy.signal.filter import bandpass
from obspy.signal.trigger import ar_pick, pk_baer

from hive_workers.geophysics.parameters import ArSettings, BaerSettings, Band

# Baer's picker squares squares of samples in single precision: counts above some 100,000 overflow, and then it picks
# anything. Its answer does not depend on the gain, so every trace is brought to this largest amplitude.
_SAFE_AMPLITUDE = 1000.0


@dataclass(frozen=True)
class Onset:
    """One onset in an array of samples.

    Parameters
    ----------
    phase : "P" or "S"
    sample : number of the first sample of the onset, counted from 0
    channel : number of the trace on which it is seen, counted from 0
    quality : Baer's code such as "IPU0": impulsive or emergent, phase, up or down, weight 0 (best) to 4; or empty
    """

    phase: str
    sample: int
    channel: int = 0
    quality: str = ""


def pick_ar(
    samples: NDArray[np.float64], sampling_rate: float, settings: ArSettings, band: Band
) -> tuple[list[Onset], str]:
    """Pick P and S by autoregressive models and Akaike's information criterion.

    Parameters
    ----------
    samples : (3, samples) float, vertical and two horizontal components, any unit
    sampling_rate : [Hz]

    Returns
    -------
    The onsets, P first; and why one of them is missing, empty where both are there.

    References
    ----------
    Akazawa (2004), 13th World Conference on Earthquake Engineering, paper 786; as implemented in ObsPy.
    """
    first, _ = _ar(samples, sampling_rate, settings, band, s_pick=False)
    if first <= 0:
        return [], "no P onset was found"
    p_onset = Onset("P", round(first * sampling_rate))
    if first < settings.lta_s:
        # ObsPy then looks for the long window of S before the first sample, outside the array.
        return [p_onset], f"P is less than lta_s {settings.lta_s:g} s after the start, so S cannot be picked"
    first, second = _ar(samples, sampling_rate, settings, band, s_pick=True)
    if second <= first:
        return [p_onset], "no S onset was found behind P"
    horizontal = [np.abs(_band_passed(component, sampling_rate, band)).max() for component in samples[1:]]
    return [p_onset, Onset("S", round(second * sampling_rate), 1 + int(np.argmax(horizontal)))], ""


def _ar(
    samples: NDArray[np.float64], sampling_rate: float, ar: ArSettings, band: Band, *, s_pick: bool
) -> tuple[float, float]:
    times: tuple[float, float] = ar_pick(
        *samples,
        sampling_rate,
        band.low,
        band.high,
        ar.lta_p,
        ar.sta_p,
        ar.lta_s,
        ar.sta_s,
        ar.order_p,
        ar.order_s,
        ar.window_p,
        ar.window_s,
        s_pick=s_pick,
    )
    return times


def reason_against_ar(seconds: float, sampling_rate: float, ar: ArSettings, band: Band) -> str:
    """Why AR-AIC cannot work on a stretch of that many seconds; empty where it can."""
    if why := _beyond_nyquist(band, sampling_rate):
        return why
    shortest = 2 * max(ar.lta_p, ar.lta_s)
    if seconds <= shortest:
        return f"{seconds:g} s without a gap; more than twice the long window, {shortest:g} s, is needed"
    for phase, window, order in (("p", ar.window_p, ar.order_p), ("s", ar.window_s, ar.order_s)):
        if int(window * sampling_rate) <= order:
            return (
                f"sampled at {sampling_rate:g} Hz, so window_{phase} must be more than {order / sampling_rate:g} s: "
                f"more samples than order_{phase}"
            )
    if int(min(ar.sta_p, ar.sta_s) * sampling_rate) < 1:
        return f"sampled at {sampling_rate:g} Hz, so sta_p and sta_s must be at least {1 / sampling_rate:g} s"
    return ""


def _beyond_nyquist(band: Band, sampling_rate: float) -> str:
    if band.high < sampling_rate / 2:
        return ""
    return f"sampled at {sampling_rate:g} Hz, so high must be less than {sampling_rate / 2:g} Hz"


def pick_baer(
    samples: NDArray[np.float64], sampling_rate: float, settings: BaerSettings, band: Band | None = None
) -> tuple[list[Onset], str]:
    """Pick P where the squared envelope leaves what noise does.

    Parameters
    ----------
    samples : (samples,) float, any unit
    sampling_rate : [Hz]

    Returns
    -------
    The onset, and why there is none; one of them is empty.

    References
    ----------
    Baer and Kradolfer (1987), BSSA 77(4), 1437-1445; as implemented in ObsPy.
    """

    def count(seconds: float) -> int:
        return max(1, round(seconds * sampling_rate))

    centred = samples - samples.mean()
    if band is not None:
        centred = _band_passed(centred, sampling_rate, band)
    number, quality = pk_baer(
        (centred * (_SAFE_AMPLITUDE / np.abs(centred).max())).astype(np.float32),
        sampling_rate,
        count(settings.down_time),
        count(settings.up_time),
        settings.threshold,
        settings.noise_threshold,
        count(settings.noise_window),
        count(settings.amplitude_window),
    )
    if not quality:
        return [], f"nothing rose above threshold {settings.threshold:g} for up_time {settings.up_time:g} s"
    return [Onset("P", number - 1, quality=quality)], ""  # ObsPy counts the samples of this picker from 1


def _band_passed(samples: NDArray[np.float64], sampling_rate: float, band: Band) -> NDArray[np.float64]:
    """Keep a band (Butterworth, four corners, causal: an onset does not move ahead of itself)."""
    passed: NDArray[np.float64] = bandpass(samples - samples.mean(), band.low, band.high, sampling_rate, corners=4)
    return passed


def reason_against_baer(seconds: float, sampling_rate: float, baer: BaerSettings, band: Band | None = None) -> str:
    """Why Baer's picker cannot work on a stretch of that many seconds; empty where it can."""
    if band is not None and (why := _beyond_nyquist(band, sampling_rate)):
        return why
    shortest = 2 * baer.noise_window + baer.up_time
    if seconds <= shortest:
        return f"{seconds:g} s without a gap; more than 2 x noise_window + up_time, {shortest:g} s, is needed"
    if baer.noise_window * sampling_rate < 2:
        return f"sampled at {sampling_rate:g} Hz, so noise_window must be at least {2 / sampling_rate:g} s"
    return ""

"""The parameters of the two pickers, with the defaults that `geophysics.pick` offers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArSettings:
    """AR-AIC: corners [Hz], STA/LTA windows for P and S [s], orders of the models, variance windows [s]."""

    low: float = 1.0
    high: float = 20.0
    sta_p: float = 0.1
    lta_p: float = 1.0
    sta_s: float = 1.0
    lta_s: float = 4.0
    order_p: int = 2
    order_s: int = 8
    window_p: float = 0.1
    window_s: float = 0.2


@dataclass(frozen=True)
class BaerSettings:
    """Baer and Kradolfer: thresholds of the characteristic function, and times [s].

    Parameters
    ----------
    threshold : what starts a pick
    noise_threshold : below this the noise is still learned
    up_time : a pick must stay up that long
    down_time : and may drop below the threshold for so long in between
    noise_window : the noise is learned from twice this long at the start
    amplitude_window : after the onset, for its quality
    band : corners of a band-pass that goes first [Hz]; None leaves the trace as it is
    """

    threshold: float = 7.0
    noise_threshold: float = 12.0
    up_time: float = 0.3
    down_time: float = 0.1
    noise_window: float = 0.5
    amplitude_window: float = 0.5
    band: tuple[float, float] | None = None

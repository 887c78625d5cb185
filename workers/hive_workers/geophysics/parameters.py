"""What the tasks of `geophysics` take: groups of parameters, each declared once, and kinds of files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hive.errors import BadParameterError
from hive.task import Written
from hive.units import AtLeast, Help, Hertz, MoreThan, Seconds

QuakeML = Annotated[Path, Written("QuakeML file", (".xml", ".quakeml", ".qml"))]
Table = Annotated[Path, Written("table", (".csv",))]


@dataclass(frozen=True)
class Detector:
    """Trigger (recursive STA/LTA)."""

    low: Annotated[Hertz, MoreThan(0), Help("Lower corner of the band.")] = 10.0
    high: Annotated[Hertz, MoreThan(0), Help("Upper corner of the band, below half the sampling rate.")] = 20.0
    sta: Annotated[Seconds, MoreThan(0), Help("Short window: about as long as an onset.")] = 0.5
    lta: Annotated[Seconds, MoreThan(0), Help("Long window: longer than an event; no trigger before it is full.")] = (
        10.0
    )
    on: Annotated[float, MoreThan(0), Help("A station triggers where the ratio short/long reaches this.")] = 3.5
    off: Annotated[float, MoreThan(0), Help("Its trigger ends where the ratio falls below this.")] = 1.0

    def __post_init__(self) -> None:
        """Refuse a band, windows or thresholds that are upside down."""
        _refuse_unless_less("low", self.low, "high", self.high, " Hz")
        _refuse_unless_less("sta", self.sta, "lta", self.lta, " s")
        if self.off > self.on:
            raise BadParameterError(f"off must be at most on, {self.on:g}, not {self.off:g}.")


@dataclass(frozen=True)
class Band:
    """Band-pass filter."""

    low: Annotated[Hertz, MoreThan(0), Help("Lower corner of the band.")] = 1.0
    high: Annotated[Hertz, MoreThan(0), Help("Upper corner of the band, below half the sampling rate.")] = 20.0

    def __post_init__(self) -> None:
        """Refuse corners that are upside down."""
        _refuse_unless_less("low", self.low, "high", self.high, " Hz")


@dataclass(frozen=True)
class ArSettings:
    """AR-AIC (--method ar)."""

    sta_p: Annotated[Seconds, MoreThan(0), Help("Short window for P.")] = 0.1
    lta_p: Annotated[Seconds, MoreThan(0), Help("Long window for P.")] = 1.0
    sta_s: Annotated[Seconds, MoreThan(0), Help("Short window for S.")] = 1.0
    lta_s: Annotated[Seconds, MoreThan(0), Help("Long window for S; S needs as much before P.")] = 4.0
    order_p: Annotated[int, AtLeast(1), Help("Coefficients of the autoregressive model for P.")] = 2
    order_s: Annotated[int, AtLeast(1), Help("Coefficients of the autoregressive model for S.")] = 8
    window_p: Annotated[Seconds, MoreThan(0), Help("Variance window for P.")] = 0.1
    window_s: Annotated[Seconds, MoreThan(0), Help("Variance window for S.")] = 0.2

    def __post_init__(self) -> None:
        """Refuse windows that are upside down."""
        _refuse_unless_less("sta_p", self.sta_p, "lta_p", self.lta_p, " s")
        _refuse_unless_less("sta_s", self.sta_s, "lta_s", self.lta_s, " s")


@dataclass(frozen=True)
class BaerSettings:
    """Baer and Kradolfer (--method baer)."""

    threshold: Annotated[float, MoreThan(0), Help("A pick starts above this, in deviations of the noise.")] = 7.0
    noise_threshold: Annotated[float, MoreThan(0), Help("The noise is learned while below this.")] = 12.0
    up_time: Annotated[Seconds, MoreThan(0), Help("A pick must stay above the threshold this long.")] = 0.3
    down_time: Annotated[Seconds, MoreThan(0), Help("It may drop below the threshold for this long in between.")] = 0.1
    noise_window: Annotated[
        Seconds, MoreThan(0), Help("No pick before twice this time, from which the noise is learned.")
    ] = 0.5
    amplitude_window: Annotated[Seconds, MoreThan(0), Help("Time after the onset that its weight is from.")] = 0.5
    filtered: Annotated[bool, Help("Band-pass from low to high first.")] = False


def _refuse_unless_less(smaller: str, low: float, larger: str, high: float, unit: str) -> None:
    if low >= high:
        raise BadParameterError(f"{smaller} must be less than {larger}, {high:g}{unit}, not {low:g}{unit}.")

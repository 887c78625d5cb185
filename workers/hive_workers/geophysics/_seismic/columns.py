"""Plain columns of numbers: one sample per line, no header. What they do not say, the caller does."""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from obspy import Trace, UTCDateTime

from hive.errors import InputError

PLAIN = "COLUMN"
# Where no time is known, counting starts here; it marks the time as unknown, so nobody takes it for a real one.
UNKNOWN_START = UTCDateTime(0)
_LINES_LOOKED_AT = 20
_COMPONENT = re.compile(r"[._-](?:[a-z][a-z])?([zne12])$", re.IGNORECASE)
_ENDINGS = re.compile(r"(\.(gz|txt|asc|ascii|dat))+$", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """What is said about plain columns: sampling rate [Hz], time of the first sample, station."""

    sampling_rate: float
    start: UTCDateTime
    station: str


def is_plain_column(file: Path) -> bool:
    """Whether the first lines are one number each."""
    try:
        with file.open(encoding="ascii") as text:
            lines = [line.strip() for line in islice(text, _LINES_LOOKED_AT)]
        [float(line) for line in lines if line]
    except ValueError:  # no number, or no text at all
        return False
    return any(lines)


def component_of(name: str) -> str:
    """The component that a file's name ends in, behind a dot, dash or underscore; empty where there is none.

    >>> component_of("loc_RJOB20050801145719850.z"), component_of("rjob_BHN.txt.gz"), component_of("manz_waldk.a01")
    ('Z', 'N', '')
    """
    found = _COMPONENT.search(_ENDINGS.sub("", name))
    return found.group(1).upper() if found else ""


def plain_trace(file: Path, name: str, columns: Columns) -> Trace:
    """Read a column as a trace; its component comes from the file's name.

    Raises
    ------
    InputError
        A line is no number, or holds several.
    """
    try:
        samples = np.loadtxt(file, dtype=np.float64, ndmin=1)
    except ValueError as error:
        raise InputError(f"{name} is no plain column of numbers: {' '.join(str(error).split())}.") from error
    if samples.ndim != 1:
        raise InputError(f"{name} has {samples.shape[1]} numbers per line; one trace per file is wanted, one number.")
    header = {
        "station": columns.station,
        "channel": component_of(name),
        "sampling_rate": columns.sampling_rate,
        "starttime": columns.start,
    }
    return Trace(samples, header)

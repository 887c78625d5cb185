"""Reading waveform files with ObsPy: headers first, samples of one channel at a time.

The format of a file is found among those listed here and never left to ObsPy: what it takes for a pickled stream it
loads, and a pickle can run any command.
"""

import glob
import gzip
import logging
import re
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import obspy
from obspy import Stream, Trace, UTCDateTime

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


logger = logging.getLogger(__name__)
# Those whose beginning tells them. ObsPy also knows SAC written as text, but takes columns of numbers for it.
FORMATS = ("MSEED", "SAC", "GSE2", "GSE1", "SLIST", "TSPAIR")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Header:
    """What a file tells of one trace in it.

    Parameters
    ----------
    file : where it is
    id : network.station.location.channel, as SEED writes it
    format : the reader's name
    start, end : times of the first and last sample
    samples : how many there are
    sampling_rate : [Hz]
    """

    file: Path
    id: str
    format: str
    start: UTCDateTime
    end: UTCDateTime
    samples: int
    sampling_rate: float

    @property
    def station(self) -> str:
        """Network and station: `BW.UH1`; the station alone where the file names no network."""
        network, station, _, _ = self.id.split(".")
        return f"{network}.{station}" if network else station

    @property
    def component(self) -> str:
        """The last letter of the channel, `Z` of `SHZ`; empty where the file names no channel."""
        return self.id[-1:].upper().strip(".")

    @property
    def span(self) -> float:
        """From the first to the last sample [s]."""
        return float(self.end - self.start)


def read_headers(file: Path, columns: Columns | None = None) -> list[Header]:
    """Read the headers of all traces in a file; `columns` says what a plain column of numbers does not.

    Raises
    ------
    InputError
        The file is no waveform file, is damaged, holds no samples, or does not name its station.
    """
    with _unpacked(file) as plain:
        name = _recognise(plain, file, columns)
        stream = _read(plain, file, name, columns, headonly=True)
    found = [
        Header(file, one.id, name, one.stats.starttime, one.stats.endtime, one.stats.npts, one.stats.sampling_rate)
        for one in stream
        if one.stats.npts
    ]
    if not found:
        raise InputError(f"{file.name} holds no samples.")
    if not all(one.id.split(".")[1] for one in found):
        raise InputError(f"{file.name} does not name its station. Write it into the header; in SAC that is KSTNM.")
    return found


def read_samples(headers: Iterable[Header], columns: Columns | None = None) -> Stream:
    """Read the samples of one channel, from all files that have some, as float64."""
    stream = Stream()
    for file, trace_id, name in dict.fromkeys((one.file, one.id, one.format) for one in headers):
        with _unpacked(file) as plain:
            # miniSEED keeps many stations in one file; its reader can leave the others where they are.
            only = {"sourcename": trace_id} if name == "MSEED" else {}
            read = _read(plain, file, name, columns, **only)
        stream += Stream([_as_floats(one) for one in read if one.id == trace_id and one.stats.npts])
    return stream


def _as_floats(trace: Trace) -> Trace:
    trace.data = np.ma.filled(np.ma.asarray(trace.data, dtype=np.float64), np.nan)
    trace.stats.calib = 1.0  # ratios do not know it, and ObsPy joins only traces that agree on it
    return trace


@contextmanager
def _unpacked(file: Path) -> Iterator[Path]:
    """The file itself, or what a gzip file holds, in a temporary file."""
    with file.open("rb") as packed:
        if packed.read(len(_GZIP)) != _GZIP:
            yield file
            return
    with tempfile.NamedTemporaryFile(prefix="waveform-") as plain:
        try:
            with gzip.open(file, "rb") as packed_file:
                shutil.copyfileobj(packed_file, plain)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{file.name} is damaged: it cannot be unpacked with gzip. Copy it again.") from error
        plain.flush()
        yield Path(plain.name)


@cache
def _tells(name: str) -> Any:  # noqa: ANN401  ObsPy's own function
    """The function of ObsPy that tells whether a file has this format."""
    (entry,) = entry_points(group=f"obspy.plugin.waveform.{name}", name="isFormat")
    return entry.load()


def _recognise(plain: Path, file: Path, columns: Columns | None) -> str:
    for name in FORMATS:
        if _tells(name)(str(plain)):
            return name
    if not is_plain_column(plain):
        raise InputError(
            f"{file.name} is no waveform file that can be read here: miniSEED, SAC, GSE, SLIST or TSPAIR, also gzipped."
        )
    if columns is None:
        raise InputError(
            f"{file.name} is a plain column of numbers: nothing in it says the station, the time and the sampling "
            "rate. Convert it to miniSEED or SAC; for geophysics.pick you may say the rate: --sampling-rate 200Hz."
        )
    return PLAIN


def _read(plain: Path, file: Path, name: str, columns: Columns | None, **more: object) -> Stream:
    """Let ObsPy read a file of a known format; what it warns of becomes a log line, what it raises one sentence."""
    if name == PLAIN and columns is not None:
        return Stream([plain_trace(plain, file.name, columns)])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            # ObsPy takes a name for a pattern, so one with brackets in it must be quoted.
            stream = obspy.read(glob.escape(str(plain)), format=name, check_compression=False, **more)
        except Exception as error:  # readers raise whatever comes up; each has types of its own
            raise InputError(f"{file.name} looks like {name} but cannot be read: {_words(error)}.") from error
    for text in dict.fromkeys(str(one.message) for one in said if "Deprecat" not in one.category.__name__):
        logger.warning("%s: %s", file.name, text)
    return stream


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")


def by_station(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers by station, stations in the order of their names."""
    found: dict[str, list[Header]] = {}
    for header in sorted(headers, key=lambda one: (one.station, one.id, one.start)):
        found.setdefault(header.station, []).append(header)
    return found


def by_channel(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers by SEED identifier."""
    found: dict[str, list[Header]] = {}
    for header in headers:
        found.setdefault(header.id, []).append(header)
    return found


def best_channel(headers: Sequence[Header]) -> list[Header]:
    """The channel with most seconds of data among several of one component; on a tie the finer, then the first."""
    channels = by_channel(headers)

    def rank(trace_id: str) -> tuple[float, float]:
        return sum(one.span for one in channels[trace_id]), max(one.sampling_rate for one in channels[trace_id])

    chosen = max(sorted(channels), key=rank)
    for other in channels.keys() - {chosen}:
        logger.info("%s is left out: %s has the same component and more data or finer samples", other, chosen)
    return channels[chosen]

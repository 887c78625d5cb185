"""Reading waveform files with ObsPy: headers first, samples of one channel at a time.

The format is one of those listed here and never left to ObsPy, which would load a pickled stream; a pickle can run
any command.
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

logger = logging.getLogger(__name__)
PLAIN = "COLUMN"
# The start of a record without times; it marks the time as unknown, so that nobody takes it for a real one.
UNKNOWN_START = UTCDateTime(0)
_LINES_INSPECTED = 20
_COMPONENT = re.compile(r"[._-](?:[a-z][a-z])?([zne12])$", re.IGNORECASE)
_ENDINGS = re.compile(r"(\.(gz|txt|asc|ascii|dat))+$", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """What plain columns of numbers do not hold: sampling rate [Hz], time of the first sample, station."""

    sampling_rate: float
    start: UTCDateTime
    station: str


def is_plain_column(file: Path) -> bool:
    """Whether the first lines are one number each."""
    try:
        with file.open(encoding="ascii") as text:
            lines = [line.strip() for line in islice(text, _LINES_INSPECTED)]
        [float(line) for line in lines if line]
    except ValueError:  # not a number, or not text at all
        return False
    return any(lines)


def component_of(name: str) -> str:
    """The component that a file's name ends in, behind a dot, dash or underscore; empty where there is none.

    >>> component_of("loc_RJOB20050801145719850.z"), component_of("rjob_BHN.txt.gz"), component_of("manz_waldk.a01")
    ('Z', 'N', '')
    """
    match = _COMPONENT.search(_ENDINGS.sub("", name))
    return match.group(1).upper() if match else ""


def plain_trace(file: Path, name: str, columns: Columns) -> Trace:
    """Read a column as a trace; its component comes from the file's name.

    Raises
    ------
    InputError
        A line is not a number, or holds several.
    """
    try:
        samples = np.loadtxt(file, dtype=np.float64, ndmin=1)
    except ValueError as error:
        raise InputError(f"{name} is not a plain column of numbers: {' '.join(str(error).split())}.") from error
    if samples.ndim != 1:
        raise InputError(
            f"{name} has {samples.shape[1]} numbers per line; write one number per line and one trace per file."
        )
    header = {
        "station": columns.station,
        "channel": component_of(name),
        "sampling_rate": columns.sampling_rate,
        "starttime": columns.start,
    }
    return Trace(samples, header)


# Recognised by their first bytes. ObsPy also reads SAC written as text, but takes columns of numbers for it.
FORMATS = ("MSEED", "SAC", "GSE2", "GSE1", "SLIST", "TSPAIR")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Header:
    """Header of one trace in a file.

    Parameters
    ----------
    file : its path
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
    """Read the headers of all traces in a file; `columns` for a plain column of numbers.

    Raises
    ------
    InputError
        The file is not a waveform file, is damaged, holds no samples, or does not name its station.
    """
    with _unpacked(file) as plain:
        name = _recognise(plain, file, columns)
        stream = _read(plain, file, name, columns, headonly=True)
    headers = [_header(file, name, trace) for trace in stream if trace.stats.npts]
    if not headers:
        raise InputError(f"{file.name} holds no samples.")
    if not all(header.id.split(".")[1] for header in headers):
        raise InputError(f"{file.name} does not name its station. Write it into the header; in SAC that is KSTNM.")
    return headers


def _header(file: Path, name: str, trace: Trace) -> Header:
    stats = trace.stats
    return Header(file, trace.id, name, stats.starttime, stats.endtime, stats.npts, stats.sampling_rate)


def read_samples(headers: Iterable[Header], columns: Columns | None = None) -> Stream:
    """Read the samples of one channel, from all files that have some, as float64."""
    stream = Stream()
    for file, trace_id, name in dict.fromkeys((header.file, header.id, header.format) for header in headers):
        with _unpacked(file) as plain:
            # miniSEED keeps many stations in one file; its reader can leave the others where they are.
            only = {"sourcename": trace_id} if name == "MSEED" else {}
            read = _read(plain, file, name, columns, **only)
        stream += Stream([_as_floats(trace) for trace in read if trace.id == trace_id and trace.stats.npts])
    return stream


def _as_floats(trace: Trace) -> Trace:
    trace.data = np.ma.filled(np.ma.asarray(trace.data, dtype=np.float64), np.nan)
    trace.stats.calib = 1.0  # ratios do not depend on it, and ObsPy joins only traces that agree on it
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
            f"{file.name} is not a waveform file that Hive reads: miniSEED, SAC, GSE, SLIST or TSPAIR, also gzipped."
        )
    if columns is None:
        raise InputError(
            f"{file.name} is a plain column of numbers: it holds no station, time or sampling rate. "
            "Convert it to miniSEED or SAC; geophysics.pick takes the rate as an option: --sampling-rate 200Hz."
        )
    return PLAIN


def _read(plain: Path, file: Path, name: str, columns: Columns | None, **more: object) -> Stream:
    """Let ObsPy read a file of a known format; its warnings are logged, its errors become one sentence."""
    if name == PLAIN and columns is not None:
        return Stream([plain_trace(plain, file.name, columns)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # ObsPy takes a name for a pattern, so one with brackets in it must be quoted.
            stream = obspy.read(glob.escape(str(plain)), format=name, check_compression=False, **more)
        except Exception as error:  # each reader raises types of its own
            raise InputError(f"{file.name} looks like {name} but cannot be read: {_words(error)}.") from error
    for text in dict.fromkeys(
        str(warning.message) for warning in caught if "Deprecat" not in warning.category.__name__
    ):
        logger.warning("%s: %s", file.name, text)
    return stream


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")


def by_station(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers by station, stations in the order of their names."""
    stations: dict[str, list[Header]] = {}
    for header in sorted(headers, key=lambda header: (header.station, header.id, header.start)):
        stations.setdefault(header.station, []).append(header)
    return stations


def by_channel(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers by SEED identifier."""
    channels: dict[str, list[Header]] = {}
    for header in headers:
        channels.setdefault(header.id, []).append(header)
    return channels


def best_channel(headers: Sequence[Header]) -> list[Header]:
    """The channel with most seconds of data among several of one component; on a tie the finer, then the first."""
    channels = by_channel(headers)

    def rank(trace_id: str) -> tuple[float, float]:
        same = channels[trace_id]
        return sum(header.span for header in same), max(header.sampling_rate for header in same)

    best = max(sorted(channels), key=rank)
    for other in channels.keys() - {best}:
        logger.info("%s is left out: %s has the same component and more data or finer samples", other, best)
    return channels[best]

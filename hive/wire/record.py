"""What one process writes and another one reads, perhaps with an older or a newer Hive.

A record is checked when it is read. Fields that a reader does not know are ignored, and fields with a default may be
missing, so that either side may be updated first. `v` is raised only where an older reader would misread a record; it
then refuses it by name. The version 1 is not written.
"""

import json
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from hive.errors import UnreadableRecordError

if TYPE_CHECKING:
    from hive.task.values import Json

    Value = Json
else:
    Value = Any  # msgspec reads any JSON value so; it cannot resolve a type that names itself

R = TypeVar("R")
logger = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A typed record; its version is the newest one that this Hive can read."""

    v: int = 1


def read_record(kind: type[R], text: str | bytes, what: str) -> R:
    """Read a record from JSON; a dataclass does as well, without a version.

    Raises
    ------
    UnreadableRecordError
        It is no JSON, lacks a field, has one of another type, or is of a version that this Hive does not know.
    """
    try:
        # Not msgspec's decoder: measures may be NaN, and file names may hold what is no text.
        return convert_record(kind, json.loads(text), what)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable(what, error) from error


def convert_record(kind: type[R], values: object, what: str, *, from_text: bool = False) -> R:
    """Read a record from a dictionary; with `from_text`, from one of texts, as Redis keeps a hash.

    Raises
    ------
    UnreadableRecordError
        As for `read_record`.
    """
    try:
        return _in_version(msgspec.convert(values, kind, strict=not from_text), what)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable(what, error) from error


def write_record(record: Record) -> str:
    """Write a record as JSON."""
    return json.dumps(msgspec.to_builtins(record))


class Unreadable:
    """Counts records that were left out of a list because they cannot be read, and warns of each once."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def count(self) -> int:
        """How many there have been."""
        return len(self._names)

    def warn(self, name: str, error: UnreadableRecordError) -> None:
        """Count a record that is left out; the first time, say why."""
        if name not in self._names:
            self._names.add(name)
            logger.warning("%s", error)


def _in_version(record: R, what: str) -> R:
    if isinstance(record, Record):
        newest = type(record).__struct_defaults__[-1]  # that of `v`, which comes last
        if record.v > newest:
            raise UnreadableRecordError(f"{what} has version {record.v}; this Hive reads {newest}. Update Hive.")
    return record


def _unreadable(what: str, error: Exception) -> UnreadableRecordError:
    return UnreadableRecordError(f"{what} cannot be read: {error}.")

"""Job-wide options, each declared once: what any job accepts beside the parameters of its task.

The command line, Python, `POST /task`, the OpenAPI document and the names that a task's parameters must not have are
all read from the fields of `JobOptions`. An option that workers must know is also a field of `hive.wire.job`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from hive.errors import BadParameterError, UnknownNameError, did_you_mean


class Priority(StrEnum):
    """Which jobs of a queue go first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True)
class Option:
    """How one job-wide option is spelled, described and validated.

    `read` takes a word of the command line or a JSON value; it raises ValueError with the words that follow "must be".
    """

    name: str
    flag: str
    metavar: str
    help: str
    default: object
    read: Callable[[object], object]
    schema: Mapping[str, object]
    words: Sequence[str] = ()

    @property
    def label(self) -> str:
        """What people call it: `budget` for `budget_usd`."""
        return self.flag.removeprefix("--").replace("-", " ")

    def check(self, value: object) -> object:
        """Return the value as a job takes it.

        Raises
        ------
        BadParameterError
            One sentence with the name, the value and what would be accepted.
        """
        try:
            return self.read(value)
        except ValueError as error:
            raise BadParameterError(f"The {self.label} must be {error}, not {value!r}.") from error


def option(
    read: Callable[[object], object],
    help: str,
    *,
    default: object = None,
    metavar: str,
    schema: Mapping[str, object],
    flag: str = "",
    words: Sequence[str] = (),
) -> Any:  # noqa: ANN401  dataclasses.field has no better type
    """Declare an option; its flag is `--name` where no other is given, `words` are all that it accepts."""
    described = {"read": read, "help": help, "metavar": metavar, "schema": schema, "flag": flag, "words": words}
    return field(default=default, metadata=described)


def _queue(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError("the name of a queue")


def _priority(value: object) -> Priority:
    if not isinstance(value, str) or value not in set(Priority):
        raise ValueError("low, normal or high")
    return Priority(value)


def _dollars(value: object) -> float | None:
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("an amount of 0 US$ or more")
    return number


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is submitted; every value is checked, also in Python.

    >>> JobOptions(priority="urgent")
    Traceback (most recent call last):
    ...
    hive.errors.BadParameterError: The priority must be low, normal or high, not 'urgent'.
    """

    queue: str | None = option(
        _queue,
        "Queue to send to instead of the capability's own.",
        metavar="NAME",
        schema={"type": ["string", "null"]},
    )
    priority: str = option(
        _priority,
        "Which jobs of the queue go first: low, normal or high.",
        default=Priority.NORMAL,
        metavar="LEVEL",
        schema={"enum": [str(level) for level in Priority]},
        words=[str(level) for level in Priority],
    )
    budget_usd: float | None = option(
        _dollars,
        "Send nothing if the history of the task predicts a higher cost [US$].",
        metavar="USD",
        schema={"type": ["number", "null"], "minimum": 0},
        flag="--budget",
    )

    def __post_init__(self) -> None:
        """Check every value."""
        for declared in job_options():
            object.__setattr__(self, declared.name, declared.check(getattr(self, declared.name)))

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Self:
        """Make options from names and values.

        Raises
        ------
        UnknownNameError
            A name is no option.
        BadParameterError
            A value is not acceptable.
        """
        names = [declared.name for declared in job_options()]
        for name in values:
            if name not in names:
                raise UnknownNameError(
                    f"There is no job option {name!r}. Known are: {', '.join(names)}.{did_you_mean(name, names)}"
                )
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks each of them


def job_options() -> tuple[Option, ...]:
    """All job-wide options, in the order of `--help`."""
    return tuple(
        Option(
            name=declared.name,
            default=declared.default,
            **{**declared.metadata, "flag": declared.metadata["flag"] or "--" + declared.name.replace("_", "-")},
        )
        for declared in fields(JobOptions)
    )


def reserved_names() -> frozenset[str]:
    """Names that a task's parameter cannot have, because job-wide options have them."""
    return frozenset(name for declared in job_options() for name in (declared.name, declared.label.replace(" ", "_")))


# What a job is submitted with where nothing else is said.
USUAL = JobOptions()

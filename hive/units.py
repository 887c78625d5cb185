"""Units, limits and help texts that a task's signature carries.

A parameter such as `cell: Annotated[Metres, MoreThan(0), Help("Edge of a grid cell.")] = 1.0` tells the command line,
the checks and the schema all they need. Values are SI inside Hive; text may name another unit of the same kind:

>>> METRE.parse("250 cm")
2.5
>>> METRE.parse("10 ft")
3.048
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d][^\s]*)?\s*")


@dataclass(frozen=True)
class Unit:
    """A unit of measure: its symbol, and the factors of other units of the same kind."""

    symbol: str
    others: Mapping[str, float] = field(default_factory=dict, hash=False)

    def parse(self, text: str) -> float:
        """Turn text such as `2`, `2 m` or `2ft` into a number of this unit.

        Raises
        ------
        ValueError
            The text is not a finite number, or names an unknown unit.
        """
        match = _QUANTITY.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a number")
        number, name = match.groups()
        factor = self._factor(name)
        value = float(number) * factor
        if not math.isfinite(value):
            raise ValueError(f"{text!r} is not a finite number")
        return value

    def _factor(self, name: str | None) -> float:
        if name is None or name == self.symbol:
            return 1.0
        if name not in self.others:
            units = ", ".join(sorted({self.symbol, *self.others} - {""}))
            raise ValueError(f"{name!r} is not one of the units {units}" if units else "it takes no unit")
        return self.others[name]

    def show(self, value: float) -> str:
        """Write a value with its unit, as messages and tables do.

        >>> METRE.show(-2.0)
        '-2 m'
        """
        return f"{value:.10g} {self.symbol}".rstrip()


# Exact by definition: inch and foot from the 1959 international yard; US survey foot 1200/3937 m (NIST SP 811, B.6).
METRE = Unit("m", {"mm": 1e-3, "cm": 1e-2, "km": 1e3, "in": 0.0254, "ft": 0.3048, "us-ft": 1200 / 3937})
SECOND = Unit("s", {"ms": 1e-3, "min": 60.0, "h": 3600.0, "d": 86400.0})
HERTZ = Unit("Hz", {"mHz": 1e-3, "kHz": 1e3})
DEGREE = Unit("°", {"deg": 1.0})
# Prefixes of IEC 80000-13: k is 1000, Ki is 1024.
BYTE = Unit("B", {"kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30})
PLAIN = Unit("")
PERCENT = Unit("%")

Metres = Annotated[float, METRE]
Seconds = Annotated[float, SECOND]
Hertz = Annotated[float, HERTZ]
Degrees = Annotated[float, DEGREE]
Bytes = Annotated[int, BYTE]


@dataclass(frozen=True)
class Help:
    """One sentence about a parameter, shown by `--help` and in the schema."""

    text: str


@dataclass(frozen=True)
class Rest:
    """A list of text takes every word behind `--` on the command line, as it is."""


@dataclass(frozen=True)
class Matching:
    """Text must match a regular expression as a whole; `words` say what that means, after "must be"."""

    pattern: str
    words: str


@dataclass(frozen=True)
class OneOf:
    """Text must be one of these words; for words that only the running Hive knows; others are a `Literal`."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """A bound that a number must keep."""

    bound: float
    words: ClassVar[str]
    keyword: ClassVar[str]  # of JSON Schema
    compare: ClassVar[Callable[[float, float], bool]]

    def holds(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return type(self).compare(value, self.bound)


class MoreThan(Limit):
    """The value must be greater than the bound."""

    words, keyword, compare = "more than", "exclusiveMinimum", operator.gt


class AtLeast(Limit):
    """The value must not be less than the bound."""

    words, keyword, compare = "at least", "minimum", operator.ge


class LessThan(Limit):
    """The value must be less than the bound."""

    words, keyword, compare = "less than", "exclusiveMaximum", operator.lt


class AtMost(Limit):
    """The value must not be greater than the bound."""

    words, keyword, compare = "at most", "maximum", operator.le


Share = Annotated[float, PLAIN, AtLeast(0), AtMost(1)]

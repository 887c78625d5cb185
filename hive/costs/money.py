"""Amounts of money as text."""

import math

_CENTS_FROM = 0.095  # below it, cents would be too coarse
_LEAST = 1e-9


def dollars(usd: float | None) -> str:
    """Format US$ with cents, and less than ten cents with two significant digits.

    >>> dollars(4.208), dollars(0.00052), dollars(0.0), dollars(1234.5), dollars(None)
    ('$4.21', '$0.00052', '$0', '$1,234.50', 'unknown')
    """
    if usd is None:
        return "unknown"
    if usd < _LEAST:
        return "$0"
    digits = 2 if usd >= _CENTS_FROM else 1 - math.floor(math.log10(usd))
    return f"${usd:,.{digits}f}"


def rate(usd_per_h: float | None) -> str:
    """Format a price per hour.

    >>> rate(0.526), rate(0.0), rate(None)
    ('$0.526/h', '$0/h', 'unknown')
    """
    return "unknown" if usd_per_h is None else f"${usd_per_h:.5g}/h"

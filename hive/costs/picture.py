"""The chart of a report: bars in a terminal, or an SVG file for a browser."""

from collections.abc import Sequence
from html import escape

from hive.costs.money import dollars

_BAR_CHARACTERS, _LABEL_CHARACTERS = 30, 32
_ROW, _LABEL, _BAR, _VALUE, _HEAD = 26, 240, 360, 120, 46  # [px]
_WORK, _REST = "#2f6f4f", "#b08a3c"


def bar(usd: float, most_usd: float) -> str:
    """A bar of characters, proportional to the largest one.

    >>> bar(1, 4), bar(0, 4), bar(0, 0)
    ('████████', '', '')
    """
    length = round(_BAR_CHARACTERS * usd / most_usd) if most_usd > 0 else 0
    return "█" * max(length, int(usd > 0))


def svg(title: str, rows: Sequence[tuple[str, float]], rest: Sequence[tuple[str, float]]) -> str:
    """Draw the bars of `rows`, and in another colour those of `rest`; names are escaped."""
    bars = [(*row, _WORK) for row in rows] + [(*row, _REST) for row in rest]
    most = max((usd for _, usd, _ in bars), default=0.0) or 1.0
    width, height = _LABEL + _BAR + _VALUE, _HEAD + _ROW * len(bars) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="16" fill="#1d1d1f">{escape(title)}</text>',
    ]
    for number, (name, usd, colour) in enumerate(bars):
        lines += _drawn(name, usd, usd / most * _BAR, _HEAD + _ROW * number, colour)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(name: str, usd: float, length: float, top: float, colour: str) -> list[str]:
    name = "".join(char if char.isprintable() else "?" for char in name)
    label = name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 1]}…"
    return [
        f'<text x="{_LABEL - 10}" y="{top + 16}" text-anchor="end" fill="#1d1d1f">{escape(label)}</text>',
        f'<rect x="{_LABEL}" y="{top + 4}" width="{length:.1f}" height="{_ROW - 8}" rx="2" fill="{colour}"/>',
        f'<text x="{_LABEL + length + 8:.1f}" y="{top + 16}" fill="#1d1d1f">{escape(dollars(usd))}</text>',
    ]

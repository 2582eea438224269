"""Values as short text: cells of a table, durations, a curve in characters.

Owns: how a number, a time and a name look. Does not own: which of them are shown (`tables`).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        title: What it is; may be empty.
        columns: The heads.
        rows: As many cells each as there are heads. No cell holds control characters; a cell may
            hold brackets, which a printer with markup has to escape.
        right: The columns, by position from 0, whose cells stand to the right: numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def plain_lines(table: Table) -> list[str]:
    """A table as lines without control codes: the title, the heads, the rows."""
    cells = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = [table.title] if table.title else []
    for row in cells:
        padded = [
            _padded(text, most, right=place in table.right)
            for place, (text, most) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a mark."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _padded(text: str, columns: int, *, right: bool) -> str:
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def truncate(text: str, longest: int) -> str:
    """A text of at most `longest` columns of a terminal, an ellipsis where it was cut."""
    if width(text) <= longest:
        return text
    kept, left = [], longest - 1
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def short_name(name: str, longest: int = 28) -> str:
    """A name for an axis, a legend or a list: without control characters, cut if it is long."""
    return truncate(cell(name), longest)


def pluralize(count: int, noun: str) -> str:
    """A number with its noun: 1 class, 2 classes, 1,000 rows."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def cell(text: str) -> str:
    """Text without control characters: names and values of strangers can hold any."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def number(value: float | None) -> str:
    """Four significant digits: 0.9650 · 1.0000 · 0.0001235 · 1.235e-05; larger whole numbers and
    all integers without decimals: 253 · 1,000.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if isinstance(value, float) and value in {-1.0, 0.0, 1.0}:
        # A perfect score lines up with 0.9762, and differs from the integer 1.
        return f"{abs(value) if value == 0 else value:.4f}"
    if value == int(value) and size < 1e15:
        return f"{int(value):,}"
    if size >= 1e6 or size < 1e-4:
        return f"{value:.3e}"
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return f"{value:,.{min(decimals, 7) if size < 0.1 else min(decimals, 4)}f}"


def format_interval(low: float | None, high: float | None) -> str:
    """The ends of an interval: [0.9300, 0.9900]; – where there is none."""
    if low is None or high is None:
        return "–"
    return f"[{number(low)}, {number(high)}]"


def format_with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A value with its interval, if it has one: 0.9650 [0.9300, 0.9900]."""
    if low is None or high is None:
        return number(value)
    return f"{number(value)} {format_interval(low, high)}"


def format_count(count: float) -> str:
    """A count of rows, or the sum of their weights: 41 · 1,234 · 12.35."""
    return f"{int(count):,}" if count == int(count) else number(count)


def format_bytes(count: int) -> str:
    """Bytes in the largest unit of 1000 that fits: 12.3 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds in the two largest units: 4.2 s · 3 min 20 s · 2 h 5 min · 3 d 4 h."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in (*_UNITS, ("s", 1)):
        count, left = divmod(left, size)
        if parts or count:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def age(seconds: float) -> str:
    """How long ago, in one unit: just now · 5 min · 3 h · 12 d."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "just now"


def curve(values: Sequence[float | None], width: int = 40) -> str:
    """A line of bars, the lowest value the lowest bar; a blank where nothing is known.

    More values than `width` are thinned out evenly, the first and the last among those kept.
    """
    if len(values) > width > 1:
        step = (len(values) - 1) / (width - 1)
        values = [values[round(place * step)] for place in range(width)]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)

    def bar(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        # Halved, as the span of two large values can be infinite.
        share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.0
        return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]

    return "".join(bar(value) for value in values)

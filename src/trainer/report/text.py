"""Values as short text: table cells, numbers, durations, sparklines."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from trainer.errors import pluralize

if TYPE_CHECKING:
    from trainer.inputs import InputSpec

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Table:
    """A text table.

    Attributes:
        title: Its title; can be empty.
        columns: The column headers.
        rows: A cell per column each. Cells do not contain control characters; they can contain
            brackets, which must be escaped when printed with markup.
        right: The indices of right-aligned columns: numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def inputs_text(inputs: Sequence[InputSpec]) -> str:
    """Return the number of values of a sample, or the shape of an image; each of several inputs."""
    sizes = {spec.name: " × ".join(f"{size:,}" for size in spec.shape) for spec in inputs}
    total = pluralize(sum(prod(spec.shape) for spec in inputs), "input")
    if len(inputs) == 1:
        (name,) = sizes
        return total if len(inputs[0].shape) == 1 else f"{name} {sizes[name]}"
    return f"{total} ({', '.join(f'{name}: {size}' for name, size in sizes.items())})"


def plain_lines(table: Table) -> list[str]:
    """Format a table as plain lines: title, header, rows."""
    cells = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = [table.title] if table.title else []
    for row in cells:
        padded = [
            _pad(text, columns, right=index in table.right)
            for index, (text, columns) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def width(text: str) -> int:
    """Return the terminal columns of a string: wide characters take two, combining ones none."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _pad(text: str, columns: int, *, right: bool) -> str:
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def truncate(text: str, longest: int) -> str:
    """Truncate a string to `longest` terminal columns, with an ellipsis."""
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
    """Return a name for an axis, a legend or a list: without control characters, truncated."""
    return truncate(cell(name), longest)


def cell(text: str) -> str:
    """Escape control characters, which untrusted names and values can contain."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def number(value: float | None) -> str:
    """Format a number with four significant digits: 0.9650 · 1.0000 · 0.0001235 · 1.235e-05.

    Integers other than the floats 0, 1 and -1 have no decimals: 253 · 1,000.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if isinstance(value, float) and value in {-1.0, 0.0, 1.0}:
        # A perfect score is aligned with 0.9762 and differs from the integer 1.
        return f"{abs(value) if value == 0 else value:.4f}"
    if value == int(value) and size < 1e15:
        return f"{int(value):,}"
    if size >= 1e6 or size < 1e-4:
        return f"{value:.3e}"
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return f"{value:,.{min(decimals, 7) if size < 0.1 else min(decimals, 4)}f}"


def format_interval(low: float | None, high: float | None) -> str:
    """Format an interval: [0.9300, 0.9900]; – if there is none."""
    if low is None or high is None:
        return "–"
    return f"[{number(low)}, {number(high)}]"


def format_with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Format a value with its interval, if it has one: 0.9650 [0.9300, 0.9900]."""
    if low is None or high is None:
        return number(value)
    return f"{number(value)} {format_interval(low, high)}"


def format_count(count: float) -> str:
    """Format a number of rows, or the sum of their weights: 41 · 1,234 · 12.35."""
    return f"{int(count):,}" if count == int(count) else number(count)


def format_bytes(count: int) -> str:
    """Format a number of bytes with a decimal prefix: 12.3 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: 4.2 s · 3 min 20 s · 2 h 5 min · 3 d 4 h."""
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
    """Format an age in one unit: just now · 5 min · 3 h · 12 d."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "just now"


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """Draw values as a line of bars; missing ones are blank.

    More values than `width` are sampled evenly, including the first and the last.
    """
    if len(values) > width > 1:
        step = (len(values) - 1) / (width - 1)
        values = [values[round(index * step)] for index in range(width)]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)

    def bar(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        # Halved, as the difference of two large values can overflow.
        share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.0
        return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]

    return "".join(bar(value) for value in values)

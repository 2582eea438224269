"""Text and tables that fit a terminal: lines end between words, wide tables are split into parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from trainer.report.text import Table, plain_lines, width

_GAP = 2
_COMMAND = re.compile(r"\b(?:trainer [a-z]+|pip install|mkdir -p) [^`;()\n]*")
_NO_BREAK = "\0"


def wrap_text(text: str, columns: int | None, indent: str = "  ") -> list[str]:
    """The lines of a text, broken between words only.

    Args:
        text: Lines of any length.
        columns: Of the terminal; None leaves every line whole.
        indent: What the second and later lines of a long one begin with.

    Returns:
        Lines of at most `columns`, longer ones where a word or a command is: what can be pasted stays
        in one piece.
    """
    if columns is None:
        return text.split("\n")
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if width(line) <= columns else _broken(line, columns, indent)
    return lines


def table_lines(table: Table, columns: int | None) -> list[str]:
    """The lines of a table, as `plain_lines`; cells of text are wrapped where it would be too wide,
    and what is still too wide is split into parts that repeat the first column.

    Args:
        table: The table.
        columns: Of the terminal; None leaves every line whole.
    """
    lines = plain_lines(table)
    if columns is None or max(map(width, lines), default=0) <= columns:
        return lines
    return [
        line
        for number, part in enumerate(_parts(table, columns))
        for line in [*([""] if number else []), *plain_lines(_narrowed(part, columns))]
    ]


def _broken(line: str, columns: int, indent: str) -> list[str]:
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _NO_BREAK), line)
    blanks = whole[: len(whole) - len(whole.lstrip(" "))]
    lines: list[str] = []
    now = ""
    for word in whole.split():
        longer = f"{now} {word}" if now.strip() else f"{now or blanks}{word}"
        if now.strip() and width(longer) > columns:
            lines.append(now)
            longer = f"{blanks}{indent}{word}"
        now = longer
    return [each.replace(_NO_BREAK, " ") for each in [*lines, now]]


def _rows(table: Table) -> list[tuple[str, ...]]:
    return [table.columns, *table.rows] if any(table.columns) else list(table.rows)


def _widths(table: Table) -> list[int]:
    return [max(map(width, column)) for column in zip(*_rows(table), strict=True)]


def _least(table: Table) -> list[int]:
    """How narrow each column can be: as its longest word, a column of numbers as it is."""
    return [
        widest
        if place in table.right
        else max((width(word) for row in _rows(table) for word in row[place].split()), default=0)
        for place, widest in enumerate(_widths(table))
    ]


def _parts(table: Table, columns: int) -> list[Table]:
    """Tables of some of the columns each, with the first one; as few as fit."""
    least = _least(table)
    first = least[0]
    chosen: list[list[int]] = [[0]]
    used = first
    for place, need in enumerate(least[1:], start=1):
        if used + _GAP + need > columns and len(chosen[-1]) > 1:
            chosen.append([0])
            used = first
        chosen[-1].append(place)
        used += _GAP + need
    parts = [_of_columns(table, places) for places in chosen]
    return [parts[0], *(replace(part, title="") for part in parts[1:])]


def _of_columns(table: Table, places: Sequence[int]) -> Table:
    return Table(
        table.title,
        tuple(table.columns[place] for place in places),
        tuple(tuple(row[place] for place in places) for row in table.rows),
        frozenset(number for number, place in enumerate(places) if place in table.right),
    )


def _narrowed(table: Table, columns: int) -> Table:
    """The table with cells of text broken into several rows, so that it is at most so wide."""
    widths, least = _widths(table), _least(table)
    while sum(widths) + _GAP * (len(widths) - 1) > columns:
        open_to = [place for place, wide in enumerate(widths) if wide > least[place]]
        if not open_to:
            break
        widest = max(open_to, key=lambda place: widths[place])
        widths[widest] -= 1
    rows: list[tuple[str, ...]] = []
    for row in table.rows:
        cells = [wrap_text(cell, widths[place], "") for place, cell in enumerate(row)]
        rows += zip_longest(*cells, fillvalue="")
    return replace(table, rows=tuple(rows))

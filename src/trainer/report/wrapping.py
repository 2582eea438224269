"""Fit text and tables to the width of a terminal: wrap lines, split wide tables."""

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
    """Wrap lines between words; words and commands are never broken, so that they can be copied.

    Args:
        text: Lines of any length.
        columns: The width of the terminal; None for no wrapping.
        indent: The indentation of continuation lines.
    """
    if columns is None:
        return text.split("\n")
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if width(line) <= columns else _wrap_line(line, columns, indent)
    return lines


def table_lines(table: Table, columns: int | None) -> list[str]:
    """Format a table like `plain_lines`, within the width of the terminal.

    Text cells of a wide table are wrapped; if it is still too wide, it is split into parts that repeat
    the first column.

    Args:
        table: The table.
        columns: The width of the terminal; None for no limit.
    """
    lines = plain_lines(table)
    if columns is None or max(map(width, lines), default=0) <= columns:
        return lines
    return [
        line
        for index, part in enumerate(_split(table, columns))
        for line in [*([""] if index else []), *plain_lines(_narrow(part, columns))]
    ]


def _wrap_line(line: str, columns: int, indent: str) -> list[str]:
    line = _COMMAND.sub(lambda match: match[0].replace(" ", _NO_BREAK), line)
    margin = line[: len(line) - len(line.lstrip(" "))]
    lines: list[str] = []
    current = ""
    for word in line.split():
        longer = f"{current} {word}" if current.strip() else f"{current or margin}{word}"
        if current.strip() and width(longer) > columns:
            lines.append(current)
            longer = f"{margin}{indent}{word}"
        current = longer
    return [part.replace(_NO_BREAK, " ") for part in [*lines, current]]


def _rows(table: Table) -> list[tuple[str, ...]]:
    return [table.columns, *table.rows] if any(table.columns) else list(table.rows)


def _widths(table: Table) -> list[int]:
    return [max(map(width, column)) for column in zip(*_rows(table), strict=True)]


def _min_widths(table: Table) -> list[int]:
    """Return the minimum width of each column: its longest word; numbers are not wrapped."""
    return [
        widest
        if index in table.right
        else max((width(word) for row in _rows(table) for word in row[index].split()), default=0)
        for index, widest in enumerate(_widths(table))
    ]


def _split(table: Table, columns: int) -> list[Table]:
    """Split a table into as few tables as fit the width, each with the first column."""
    min_widths = _min_widths(table)
    first = min_widths[0]
    groups: list[list[int]] = [[0]]
    used = first
    for index, needed in enumerate(min_widths[1:], start=1):
        if used + _GAP + needed > columns and len(groups[-1]) > 1:
            groups.append([0])
            used = first
        groups[-1].append(index)
        used += _GAP + needed
    parts = [_select_columns(table, group) for group in groups]
    return [parts[0], *(replace(part, title="") for part in parts[1:])]


def _select_columns(table: Table, indices: Sequence[int]) -> Table:
    return Table(
        table.title,
        tuple(table.columns[index] for index in indices),
        tuple(tuple(row[index] for index in indices) for row in table.rows),
        frozenset(position for position, index in enumerate(indices) if index in table.right),
    )


def _narrow(table: Table, columns: int) -> Table:
    """Wrap text cells over several rows until the table fits the width, if possible."""
    widths, min_widths = _widths(table), _min_widths(table)
    while sum(widths) + _GAP * (len(widths) - 1) > columns:
        shrinkable = [index for index, wide in enumerate(widths) if wide > min_widths[index]]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda index: widths[index])
        widths[widest] -= 1
    rows: list[tuple[str, ...]] = []
    for row in table.rows:
        cells = [wrap_text(cell, widths[index], "") for index, cell in enumerate(row)]
        rows += zip_longest(*cells, fillvalue="")
    return replace(table, rows=tuple(rows))

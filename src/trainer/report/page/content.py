"""What a page consists of, whatever it is written as: sections of prose, tables, plots and lines.

Owns: the pieces. Does not own: what stands in them (the sections), how they look (`document`,
`markdown`, `figures`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.report.text import Table, cell

Shares = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of plain text; `tone` says whether it is a warning."""

    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        table: Its text; the title is the caption, the first cell of a row names the row.
        shares: How strongly each cell after the first is shaded, 0 to 1; () for no shading.
        marked: The rows that stand out.
        is_folded: Whether it is shown on demand only.
    """

    table: Table
    shares: Shares = ()
    marked: frozenset[int] = frozenset()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Text to be copied: commands, a file. `marked` lines stand out."""

    title: str
    lines: tuple[str, ...]
    marked: frozenset[int] = frozenset()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot.

    Attributes:
        name: A word that no other plot of the page has: the file's name, the prefix of ids.
        title: What stands above.
        description: What is to be seen, with figures, for who cannot see it.
        draw: Draws it into matplotlib axes; not called where matplotlib is missing.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
        left: The margin for labels left of the axes, in inches.
        bottom: That below them.
        is_wide: Whether it takes the width of two.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Any], None]
    width: float = 4.0
    height: float = 3.2
    left: float = 0.72
    bottom: float = 0.5
    is_wide: bool = False


Block = Prose | Grid | Lines | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        title: What it is about.
        lead: The first sentences.
        sections: Those that have something in them.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]

    def plots(self) -> list[Plot]:
        """All plots, in their order."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, Plot)]


def section(key: str, title: str, blocks: Iterable[Block]) -> Section:
    """A section without the tables that have no rows."""
    return Section(key, title, tuple(block for block in blocks if not _is_empty(block)))


def grid(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    marked: Iterable[int] = (),
    is_folded: bool = False,
) -> Grid:
    """A table whose cells may hold a stranger's text: control characters are made visible."""
    table = Table(
        cell(title),
        tuple(map(cell, columns)),
        tuple(tuple(map(cell, row)) for row in rows),
        frozenset(right),
    )
    return Grid(table, marked=frozenset(marked), is_folded=is_folded)


def _is_empty(block: Block) -> bool:
    match block:
        case Grid(table):
            return not table.rows
        case Lines(_, lines):
            return not lines
        case _:
            return False

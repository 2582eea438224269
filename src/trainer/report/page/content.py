"""The content of a page in any output format: sections of paragraphs, tables, plots, pictures, code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.report.text import Table, cell

Shares = tuple[tuple[float | None, ...], ...]
Highlights = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of plain text, possibly a warning."""

    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, slots=True)
class Picture:
    """A small image.

    Attributes:
        content: A PNG or JPEG file.
        description: The text alternative.
        caption: The text below it; empty in a cell of a table.
    """

    content: bytes
    description: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side, in rows; `is_wide` for pictures of several panels."""

    title: str
    pictures: tuple[Picture, ...]
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table.

    Attributes:
        table: Its text; the title is the caption, the first cell of each row its header.
        shares: The shading of each cell after the first, 0 to 1; () for none.
        marked: Highlighted rows.
        is_collapsed: Whether it is collapsed.
        pictures: (row, column) → pictures below the text of the cell.
        highlights: (row, column) → the parts of the text of the cell, each with a number from -1 to 1,
            by which it is highlighted in one of two colors.
    """

    table: Table
    shares: Shares = ()
    marked: frozenset[int] = frozenset()
    is_collapsed: bool = False
    pictures: Mapping[tuple[int, int], tuple[Picture, ...]] = field(default_factory=dict)
    highlights: Mapping[tuple[int, int], Highlights] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Preformatted text such as commands or a file; `marked` lines are highlighted."""

    title: str
    lines: tuple[str, ...]
    marked: frozenset[int] = frozenset()
    is_collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot.

    Attributes:
        name: A unique name on the page: the file name, and the prefix of ids.
        title: The caption.
        description: The text alternative, with the main numbers.
        draw: Draws the plot into matplotlib axes; not called without matplotlib.
        width: Figure width in inches.
        height: Figure height in inches.
        left: Left margin of the axes in inches.
        bottom: Bottom margin of the axes in inches.
        is_wide: Whether it spans two columns.
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


Block = Paragraph | TableBlock | CodeBlock | Plot | Gallery


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
        title: The title.
        lead: The introductory sentences.
        sections: The sections.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]

    def plots(self) -> list[Plot]:
        """Return all plots in order."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, Plot)]


def section(key: str, title: str, blocks: Iterable[Block]) -> Section:
    """Make a section without empty tables and galleries."""
    return Section(key, title, tuple(block for block in blocks if not _is_empty(block)))


def table_block(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    marked: Iterable[int] = (),
    is_collapsed: bool = False,
) -> TableBlock:
    """Make a table; control characters in its text, which is untrusted, are escaped."""
    table = Table(
        cell(title),
        tuple(map(cell, columns)),
        tuple(tuple(map(cell, row)) for row in rows),
        frozenset(right),
    )
    return TableBlock(table, marked=frozenset(marked), is_collapsed=is_collapsed)


def _is_empty(block: Block) -> bool:
    match block:
        case TableBlock(table):
            return not table.rows
        case CodeBlock(_, lines):
            return not lines
        case Gallery(_, pictures):
            return not pictures
        case _:
            return False

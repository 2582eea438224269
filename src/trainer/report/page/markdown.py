"""A page as Markdown for a pull request: GitHub's tables, no plots.

Owns: the marks of Markdown and how a stranger's text is kept from being taken for them. Does not own:
what the page says (`content`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from trainer.report.page.content import Block, Grid, Lines, Page, Plot, Prose
from trainer.report.text import Table, cell

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&!$])")


def page_markdown(page: Page) -> str:
    """The page as Markdown; folded tables are folded, folded lines left out."""
    lines = [f"# {_text(page.title)}", ""]
    for sentence in page.lead:
        lines += [_text(sentence), ""]
    for section in page.sections:
        blocks = [line for block in section.blocks for line in _block(block)]
        if blocks:
            lines += [f"## {_text(section.title)}", "", *blocks]
    return "\n".join(lines).rstrip("\n") + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Plot():
            return
        case Prose(text, tone):
            yield f"**{_text(text)}**" if tone == "warning" else _text(text)
            yield ""
        case Lines(title, lines):
            if not block.is_folded:
                yield f"{_text(title)}:"
                yield ""
                # Indented, no line can end the block, as a fence could be ended.
                yield from (f"    {cell(line)}" for line in lines)
                yield ""
        case Grid(table):
            if block.is_folded:
                yield f"<details><summary>{_unnamed(escape(cell(table.title)))}</summary>"
                yield ""
                yield from _table(table)
                yield ""
                yield "</details>"
            else:
                if table.title:
                    yield f"**{_text(table.title)}**"
                    yield ""
                yield from _table(table)
            yield ""


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row(
        tuple("---:" if place in table.right else "---" for place in range(len(table.columns))),
        are_marks=True,
    )
    for row in table.rows:
        yield _row(row)


def _row(cells: tuple[str, ...], *, are_marks: bool = False) -> str:
    return "| " + " | ".join(cells if are_marks else map(_text, cells)) + " |"


def _text(text: str) -> str:
    return _unnamed(_MARKS.sub(r"\\\1", cell(text)))


def _unnamed(text: str) -> str:
    # Whoever is named after an @ would be told, were it not for the blank of no width.
    return text.replace("@", "@\u200b")

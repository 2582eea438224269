"""A page as GitHub-flavored Markdown for pull requests, without plots and pictures; untrusted text
is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from trainer.report.page.content import (
    Block,
    CodeBlock,
    Gallery,
    Page,
    Paragraph,
    Plot,
    TableBlock,
)
from trainer.report.text import Table, cell

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&!$])")


def page_markdown(page: Page) -> str:
    """Render the page as Markdown; folded tables are collapsed, folded code is omitted."""
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
        case Plot() | Gallery():
            return
        case Paragraph(text, tone):
            yield f"**{_text(text)}**" if tone == "warning" else _text(text)
            yield ""
        case CodeBlock(title, lines):
            if not block.is_collapsed:
                yield f"{_text(title)}:"
                yield ""
                # An indented block cannot be closed by a line of its content, unlike a fence.
                yield from (f"    {cell(line)}" for line in lines)
                yield ""
        case TableBlock(table):
            if block.is_collapsed:
                yield f"<details><summary>{_without_mentions(escape(cell(table.title)))}</summary>"
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
        tuple("---:" if index in table.right else "---" for index in range(len(table.columns))),
        escape_cells=False,
    )
    for row in table.rows:
        yield _row(row)


def _row(cells: tuple[str, ...], *, escape_cells: bool = True) -> str:
    return "| " + " | ".join(map(_text, cells) if escape_cells else cells) + " |"


def _text(text: str) -> str:
    return _without_mentions(_MARKS.sub(r"\\\1", cell(text)))


def _without_mentions(text: str) -> str:
    # A zero-width space prevents notifications to users whose name follows an @.
    return text.replace("@", "@\u200b")

"""A page as a self-contained HTML file.

All text of a run is escaped; a content security policy blocks the network and any script but ours.
Without scripts, only sorting of tables is unavailable.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from trainer.packages import install_command
from trainer.report.page.content import (
    Block,
    CodeBlock,
    Gallery,
    Page,
    Paragraph,
    Picture,
    Plot,
    Section,
    TableBlock,
)
from trainer.report.page.figures import can_draw, svg_text
from trainer.report.text import Table, cell, width

_HERE = Path(__file__).parent
_MIN_SORTABLE_ROWS = 3
_HALF_TABLE, _HALF_CODE = 72, 66
"""Maximum width in characters of a table, or code, that takes half of a wide screen."""
_WRAPPED_CELL, _SORT_MARK, _PADDING = 18, 2, 2.5
_LONG_NAME, _LONG_TEXT = 20, 50
"""Names and cells longer than this get a minimum width instead of wrapping at every word."""
_MIN_HIGHLIGHT = 0.1


def page_html(page: Page, *, with_plots: bool = True) -> str:
    """Render the page as HTML, with plots unless disabled or matplotlib is missing."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "sorting.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    can_have_plots = can_draw()
    with_plots = with_plots and can_have_plots
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(page.title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<header>",
            f"<h1>{_text(page.title)}</h1>",
            *(f'<p class="lead">{_text(sentence)}</p>' for sentence in page.lead),
            *([] if can_have_plots else [f"<p>{_text(_without_plots())}</p>"]),
            '<nav aria-label="Sections"><ul>',
            *(
                f'<li><a href="#{section.key}">{_text(section.title)}</a></li>'
                for section in page.sections
            ),
            "</ul></nav>",
            "</header>",
            "<main>",
            *(_section(section, with_plots=with_plots) for section in page.sections),
            "</main>",
            "<footer>Written by <code>trainer</code>.</footer>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _section(section: Section, *, with_plots: bool) -> str:
    return "\n".join(
        [
            f'<section id="{section.key}" aria-labelledby="{section.key}-title">',
            f'<h2 id="{section.key}-title">{_text(section.title)}</h2>',
            *_blocks(section, with_plots=with_plots),
            "</section>",
        ]
    )


def _blocks(section: Section, *, with_plots: bool) -> Iterator[str]:
    """Render the blocks; consecutive plots share a row."""
    for is_plot, blocks in groupby(section.blocks, lambda block: isinstance(block, Plot)):
        if not is_plot:
            yield from (_block(block, section) for block in blocks)
        elif with_plots:
            figures = [_block(block, section) for block in blocks]
            kind = "plots" if len(figures) > 1 else "plots half"
            yield "\n".join([f'<div class="{kind}">', *figures, "</div>"])


def _block(block: Block, section: Section) -> str:
    match block:
        case Paragraph(text, tone):
            kind = ' class="warning"' if tone == "warning" else ""
            return f"<p{kind}>{_text(text)}</p>"
        case Plot():
            return _plot(block)
        case CodeBlock():
            return _lines(block)
        case TableBlock():
            return _grid(block, section)
        case Gallery():
            return _gallery(block)


def _gallery(block: Gallery) -> str:
    items = "\n".join(
        f"<li>{_picture(picture)}<span>{_text(picture.caption)}</span></li>"
        for picture in block.pictures
    )
    kind = "pictures wide" if block.is_wide else "pictures"
    caption = f"<figcaption>{_text(block.title)}</figcaption>"
    return f'<figure>{caption}<ul class="{kind}">\n{items}\n</ul></figure>'


def _picture(picture: Picture) -> str:
    kind = "png" if picture.content.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(picture.content).decode()
    description = _text(picture.description)
    return f'<img src="data:image/{kind};base64,{data}" alt="{description}" title="{description}">'


def _plot(block: Plot) -> str:
    caption = f"<figcaption>{_text(block.title)}</figcaption>"
    if not block.is_wide:
        return f"<figure>{caption}{svg_text(block)}</figure>"
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{_text(block.title)}">'
    return f'<figure class="wide">{caption}{scroll}{svg_text(block)}</div></figure>'


def _lines(block: CodeBlock) -> str:
    text = "\n".join(
        f"<mark>{_text(line)}</mark>" if index in block.marked else _text(line)
        for index, line in enumerate(block.lines)
    )
    label = _text(block.title)
    return _collapsible(
        f'<pre tabindex="0" role="group" aria-label="{label}">{text}</pre>',
        block.title,
        is_collapsed=block.is_collapsed,
        is_half=max(map(width, block.lines), default=0) <= _HALF_CODE,
    )


def _grid(block: TableBlock, section: Section) -> str:
    table = block.table
    has_heads = any(table.columns)
    is_sortable = has_heads and len(table.rows) >= _MIN_SORTABLE_ROWS and not block.shares
    kind = ' class="sortable"' if is_sortable else ""
    parts = [f"<table{kind}>"]
    if has_heads:
        headers = "".join(_head(text, column, block) for column, text in enumerate(table.columns))
        parts.append(f"<thead><tr>{headers}</tr></thead>")
    parts.append("<tbody>")
    for index, row in enumerate(table.rows):
        kind = ' class="marked"' if index in block.marked else ""
        cells = "".join(_cell(text, index, column, block) for column, text in enumerate(row))
        parts.append(f"<tr{kind}>{cells}</tr>")
    parts.append("</tbody></table>")
    label = _text(f"{section.title}: {table.title}" if table.title else section.title)
    text = "\n".join(
        [f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">', *parts, "</div>"]
    )
    is_half = _text_width(table) <= _HALF_TABLE and not block.pictures
    return _collapsible(text, table.title, is_collapsed=block.is_collapsed, is_half=is_half)


def _text_width(table: Table) -> float:
    """Estimate the width of a table in characters."""
    total = 0.0
    for column, (head, *cells) in enumerate(zip(table.columns, *table.rows, strict=True)):
        longest = max(width(head) + _SORT_MARK, *map(width, cells))
        # Numbers are not wrapped.
        total += _PADDING + (longest if column in table.right else min(_WRAPPED_CELL, longest))
    return total


def _head(text: str, column: int, block: TableBlock) -> str:
    if not text:
        return "<td></td>"
    kind = ' class="n"' if column in block.table.right else ""
    return f'<th scope="col"{kind}>{_text(text)}</th>'


def _cell(text: str, row: int, column: int, block: TableBlock) -> str:
    if column == 0:
        kind = ' class="long"' if width(text) > _LONG_NAME else ""
        return f'<th scope="row"{kind}>{_text(text)}</th>'
    kinds = ["n"] if column in block.table.right else []
    if not kinds and width(text) > _LONG_TEXT:
        kinds.append("long")
    style = ""
    share = block.shares[row][column - 1] if block.shares else None
    if share is not None:
        kinds.append("shaded")
        style = f' style="--share: {share:.3f}"'
    pictures = block.pictures.get((row, column), ())
    if pictures:
        kinds.append("pictured")
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    shown = "".join(map(_picture, pictures))
    parts = block.highlights.get((row, column))
    words = _text(text) if parts is None else "".join(_highlighted(*part) for part in parts)
    return f"<td{kind}{style}>{words}{f'<div>{shown}</div>' if shown else ''}</td>"


def _highlighted(text: str, strength: float) -> str:
    if abs(strength) < _MIN_HIGHLIGHT:
        return _text(text)
    kind = "up" if strength > 0 else "down"
    return f'<mark class="{kind}" style="--share: {abs(strength):.2f}">{_text(text)}</mark>'


def _collapsible(text: str, title: str, *, is_collapsed: bool, is_half: bool) -> str:
    """Wrap a block with its title, which does not scroll; `is_half` for half of the page width."""
    kind = ' class="half"' if is_half else ""
    if is_collapsed:
        return f"<details{kind}><summary>{_text(title)}</summary>\n{text}\n</details>"
    caption = f"<figcaption>{_text(title)}</figcaption>\n" if title else ""
    return f"<figure{kind}>{caption}{text}</figure>"


def _text(text: str) -> str:
    """Escape a string for HTML; control characters, including bidirectional ones, become visible."""
    return escape(cell(text))


def _without_plots() -> str:
    return f"Plots need matplotlib: {install_command('plots')}, then write the report again."

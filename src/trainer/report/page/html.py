"""A page as one HTML file that asks for nothing outside itself.

Every text of a run is escaped; a content security policy forbids the network and any script but ours.
Without scripts the page is whole but for the sorting of tables.

Owns: elements, their attributes, the policy. Does not own: what the page says (`content`), colours and
sizes (style.css).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from trainer.packages import install_command
from trainer.report.page.content import Block, Grid, Lines, Page, Plot, Prose, Section
from trainer.report.page.figures import can_draw, svg_text
from trainer.report.text import Table, cell, width

_HERE = Path(__file__).parent
_SORTED_ROWS = 3
_HALF_TABLE, _HALF_CODE = 72, 66
"""Characters up to which a table, or code, leaves room for another beside it on a wide screen."""
_WRAPPED_CELL, _SORT_MARK, _PADDING = 18, 2, 2.5
_LONG_NAME, _LONG_TEXT = 20, 50
"""Characters from which a name, or a cell, keeps some width rather than wrapping at every word."""


def page_html(page: Page, *, with_plots: bool = True) -> str:
    """The page as HTML text; with plots if they are wanted and matplotlib is installed."""
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
            *(f'<li><a href="#{one.key}">{_text(one.title)}</a></li>' for one in page.sections),
            "</ul></nav>",
            "</header>",
            "<main>",
            *(_section(one, with_plots=with_plots) for one in page.sections),
            "</main>",
            "<footer>Written by <code>trainer report</code>.</footer>",
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
    """The blocks; plots that follow each other share a row."""
    for is_plot, blocks in groupby(section.blocks, lambda block: isinstance(block, Plot)):
        if not is_plot:
            yield from (_block(block, section) for block in blocks)
        elif with_plots:
            figures = [_block(block, section) for block in blocks]
            kind = "plots" if len(figures) > 1 else "plots half"
            yield "\n".join([f'<div class="{kind}">', *figures, "</div>"])


def _block(block: Block, section: Section) -> str:
    match block:
        case Prose(text, tone):
            kind = ' class="warning"' if tone == "warning" else ""
            return f"<p{kind}>{_text(text)}</p>"
        case Plot():
            return _plot(block)
        case Lines():
            return _lines(block)
        case Grid():
            return _grid(block, section)


def _plot(block: Plot) -> str:
    caption = f"<figcaption>{_text(block.title)}</figcaption>"
    if not block.is_wide:
        return f"<figure>{caption}{svg_text(block)}</figure>"
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{_text(block.title)}">'
    return f'<figure class="wide">{caption}{scroll}{svg_text(block)}</div></figure>'


def _lines(block: Lines) -> str:
    text = "\n".join(
        f"<mark>{_text(line)}</mark>" if number in block.marked else _text(line)
        for number, line in enumerate(block.lines)
    )
    label = _text(block.title)
    return _folded(
        f'<pre tabindex="0" role="group" aria-label="{label}">{text}</pre>',
        block.title,
        is_folded=block.is_folded,
        is_half=max(map(width, block.lines), default=0) <= _HALF_CODE,
    )


def _grid(block: Grid, section: Section) -> str:
    table = block.table
    has_heads = any(table.columns)
    is_sortable = has_heads and len(table.rows) >= _SORTED_ROWS and not block.shares
    kind = ' class="sortable"' if is_sortable else ""
    parts = [f"<table{kind}>"]
    if has_heads:
        heads = "".join(_head(text, place, block) for place, text in enumerate(table.columns))
        parts.append(f"<thead><tr>{heads}</tr></thead>")
    parts.append("<tbody>")
    for number, row in enumerate(table.rows):
        kind = ' class="marked"' if number in block.marked else ""
        cells = "".join(_cell(text, number, place, block) for place, text in enumerate(row))
        parts.append(f"<tr{kind}>{cells}</tr>")
    parts.append("</tbody></table>")
    label = _text(f"{section.title}: {table.title}" if table.title else section.title)
    text = "\n".join(
        [f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">', *parts, "</div>"]
    )
    is_half = _text_width(table) <= _HALF_TABLE
    return _folded(text, table.title, is_folded=block.is_folded, is_half=is_half)


def _text_width(table: Table) -> float:
    """About how many characters wide a table is on the page."""
    total = 0.0
    for place, (head, *cells) in enumerate(zip(table.columns, *table.rows, strict=True)):
        longest = max(width(head) + _SORT_MARK, *map(width, cells))
        # Numbers are not wrapped.
        total += _PADDING + (longest if place in table.right else min(_WRAPPED_CELL, longest))
    return total


def _head(text: str, place: int, block: Grid) -> str:
    if not text:
        return "<td></td>"
    kind = ' class="n"' if place in block.table.right else ""
    return f'<th scope="col"{kind}>{_text(text)}</th>'


def _cell(text: str, row: int, place: int, block: Grid) -> str:
    if place == 0:
        kind = ' class="long"' if width(text) > _LONG_NAME else ""
        return f'<th scope="row"{kind}>{_text(text)}</th>'
    kinds = ["n"] if place in block.table.right else []
    if not kinds and width(text) > _LONG_TEXT:
        kinds.append("long")
    style = ""
    share = block.shares[row][place - 1] if block.shares else None
    if share is not None:
        kinds.append("shaded")
        style = f' style="--share: {share:.3f}"'
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}{style}>{_text(text)}</td>"


def _folded(text: str, title: str, *, is_folded: bool, is_half: bool) -> str:
    """A block below its title, which is outside of what scrolls; `is_half` leaves room beside it."""
    kind = ' class="half"' if is_half else ""
    if is_folded:
        return f"<details{kind}><summary>{_text(title)}</summary>\n{text}\n</details>"
    caption = f"<figcaption>{_text(title)}</figcaption>\n" if title else ""
    return f"<figure{kind}>{caption}{text}</figure>"


def _text(text: str) -> str:
    """A text as HTML; control characters, also those that turn the direction of writing, are shown."""
    return escape(cell(text))


def _without_plots() -> str:
    return f"This page has no plots: {install_command('plots')}, then write the report again."

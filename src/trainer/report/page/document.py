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
from pathlib import Path

from trainer.report.page.content import Block, Grid, Lines, Page, Plot, Prose, Section
from trainer.report.page.figures import can_draw, svg_text
from trainer.report.text import cell

WITHOUT_PLOTS = (
    "This page has no plots: run pip install 'trainer[plots]', then write the report again."
)

_HERE = Path(__file__).parent
_SORTED_ROWS = 3


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
            *([] if can_have_plots else [f"<p>{_text(WITHOUT_PLOTS)}</p>"]),
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
    """The blocks; plots that follow each other stand side by side."""
    in_plots = False
    for block in section.blocks:
        if isinstance(block, Plot) and not with_plots:
            continue
        if isinstance(block, Plot) is not in_plots:
            yield "</div>" if in_plots else '<div class="plots">'
            in_plots = not in_plots
        yield _block(block, section)
    if in_plots:
        yield "</div>"


def _block(block: Block, section: Section) -> str:
    match block:
        case Prose(text, tone):
            kind = ' class="warning"' if tone == "warning" else ""
            return f"<p{kind}>{_text(text)}</p>"
        case Plot():
            caption = f"<figcaption>{_text(block.title)}</figcaption>"
            return f"<figure>{caption}{svg_text(block)}</figure>"
        case Lines():
            return _lines(block)
        case Grid():
            return _grid(block, section)


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
    )


def _grid(block: Grid, section: Section) -> str:
    table = block.table
    has_heads = any(table.columns)
    is_sortable = has_heads and len(table.rows) >= _SORTED_ROWS and not block.shares
    kind = ' class="sortable"' if is_sortable else ""
    parts = [f"<table{kind}>"]
    if table.title and not block.is_folded:
        parts.append(f"<caption>{_text(table.title)}</caption>")
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
    return _folded(text, table.title, is_folded=block.is_folded)


def _head(text: str, place: int, block: Grid) -> str:
    if not text:
        return "<td></td>"
    kind = ' class="n"' if place in block.table.right else ""
    return f'<th scope="col"{kind}>{_text(text)}</th>'


def _cell(text: str, row: int, place: int, block: Grid) -> str:
    if place == 0:
        return f'<th scope="row">{_text(text)}</th>'
    kinds = ["n"] if place in block.table.right else []
    style = ""
    share = block.shares[row][place - 1] if block.shares else None
    if share is not None:
        kinds.append("shaded")
        style = f' style="--share: {share:.3f}"'
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}{style}>{_text(text)}</td>"


def _folded(text: str, title: str, *, is_folded: bool) -> str:
    if not is_folded:
        return text
    return f"<details><summary>{_text(title)}</summary>\n{text}\n</details>"


def _text(text: str) -> str:
    """A text as HTML; control characters, also those that turn the direction of writing, are shown."""
    return escape(cell(text))

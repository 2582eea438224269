"""Translations of a run: metrics by length, the best and the worst ones with attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from trainer.errors import Problem
from trainer.report.page.content import (
    Block,
    Paragraph,
    Section,
    TableBlock,
    section,
    table_block,
)
from trainer.report.page.run_content import RunContent
from trainer.report.text import number
from trainer.runs import readers
from trainer.runs.explanations import (
    FILES,
    ShownTranslation,
    TranslationsByLength,
    TranslationsFile,
)
from trainer.runs.records import from_json

_NAME = "translations"


def translations_section(content: RunContent) -> Section:
    """Make the section with the content of `translations.json`."""
    return section(_NAME, "Translations", _translations(content))


def _translations(content: RunContent) -> Iterator[Block]:
    stored = content.explanation.get(_NAME)
    if stored is None:
        return
    try:
        file: TranslationsFile = from_json(FILES[_NAME], stored)
    except readers.DamageError as error:
        path = content.run.path / "explanation" / f"{_NAME}.json"
        fix = "restore the file from a copy of the run"
        problem = Problem(str(path), error.expected, error.found, fix)
        yield Paragraph(f"Damaged file: {problem}", "warning")
        return
    yield _length_table(file)
    for title, shown in (("Worst", file.worst), ("Best", file.best)):
        yield _table(f"{title} translations of the {file.split} rows, by chrF", shown)
    if any(item.attention for item in (*file.worst, *file.best)):
        yield Paragraph(
            "How the last layer of the decoder attends to the tokens of the source (columns) when it "
            "writes the token of a row: the mean over its heads, in percent."
        )
    for title, shown in (("worst", file.worst), ("best", file.best)):
        for place, item in enumerate(shown, start=1):
            if item.attention:
                yield _attention_table(item, f"Attention, {title} translation {place}")


def _length_table(file: TranslationsFile) -> TableBlock:
    names = list(dict.fromkeys(name for part in file.by_length for name in part.metrics))
    rows = [
        (_words(part), f"{part.rows:,}", *(number(part.metrics.get(name)) for name in names))
        for part in file.by_length
    ]
    headers = ("words of the source", "rows", *names)
    title = f"Metrics by length, {file.split} rows"
    return table_block(title, headers, rows, right=range(1, len(headers)))


def _words(part: TranslationsByLength) -> str:
    if part.last is None:
        return f"{part.first} or more"
    return f"{part.first}" if part.first == part.last else f"{part.first} to {part.last}"


def _table(title: str, shown: Sequence[ShownTranslation]) -> TableBlock:
    rows = [
        (f"{item.row:,}", item.source, item.reference, item.translation, number(item.chrf))
        for item in shown
    ]
    return table_block(title, ("row", "source", "target", "translation", "chrF"), rows, right=(4,))


def _attention_table(item: ShownTranslation, title: str) -> TableBlock:
    rows = [
        (token, *(f"{100 * share:.0f}" for share in shares))
        for token, shares in zip(item.tokens, item.attention, strict=False)
    ]
    headers = ("", *item.source_tokens)
    block = table_block(title, headers, rows, right=range(1, len(headers)), is_collapsed=True)
    return replace(block, shares=item.attention)

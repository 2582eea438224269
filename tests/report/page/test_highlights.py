from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.page.html_checks import check_page
from trainer.report.page.content import Page, section, table_block
from trainer.report.page.explanation import highlighted_parts
from trainer.report.page.html import page_html
from trainer.report.page.markdown import page_markdown
from trainer.runs.explanations import ExplainedText, WordInfluence


def explained(*words: tuple[str, float | None]) -> ExplainedText:
    parts = tuple(WordInfluence(text, influence) for text, influence in words)
    return ExplainedText(3, "yes", "yes", 0.7, parts)


def test_parts_are_relative_to_the_largest_influence() -> None:
    parts = highlighted_parts(explained(("a", 0.1), ("dull", -0.4), ("book", None)))
    assert parts == (("a ", 0.25), ("dull ", -1.0), ("book ", 0.0))
    assert highlighted_parts(explained(("a", 0.0))) == (("a ", 0.0),)
    assert highlighted_parts(explained()) == ()


@pytest.mark.parametrize(("words", "text"), [(("a", "b"), "a b "), (("好", "书"), "好书")])
def test_words_are_separated_by_blanks_and_characters_are_not(words: tuple[str], text: str) -> None:
    parts = highlighted_parts(explained(*((word, 0.1) for word in words)))
    assert "".join(part for part, _ in parts) == text


def test_words_are_highlighted_in_two_colors() -> None:
    block = table_block("words", ("row", "text"), [("1", "good bad <b> the")])
    parts = (("good ", 1.0), ("bad ", -0.5), ("<b> ", -0.7), ("the", 0.05))
    page = Page("t", (), (section("one", "One", [replace(block, highlights={(0, 1): parts})]),))
    text = page_html(page)
    check_page(text)
    assert '<mark class="up" style="--share: 1.00">good </mark>' in text
    assert '<mark class="down" style="--share: 0.50">bad </mark>' in text
    assert "&lt;b&gt; </mark>the</td>" in text
    assert "good bad" in page_markdown(page)

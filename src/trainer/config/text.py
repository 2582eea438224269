"""The section `data.text`: how columns of text become n-grams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.nodes import column_key
from trainer.config.sections import Section

if TYPE_CHECKING:
    from trainer.config.data import Data

Analyzer = Literal["auto", "words", "characters", "both"]
NgramLengths = Annotated[list[Annotated[int, Field(ge=1, le=8)]], Field(min_length=2, max_length=2)]

TEXT_SETTINGS = (
    "analyzer", "word_ngrams", "character_ngrams", "lowercase", "sublinear", "min_count", "max_terms",
    "max_row_terms",
)  # fmt: skip
"""The settings of `data.text` that a column can override."""

MAX_TERMS = 1_000_000


class Text(Section):
    """Encoding of columns of `kind: text` by their n-grams, with TF-IDF weights.

    The terms are the n-grams of the training rows. The weight of a term in a row is its count times
    ln((1 + rows) / (1 + rows with the term)) + 1; the weights of a row have a Euclidean norm of 1. The
    network looks up a learned vector for each term and adds them by these weights, so that a text of any
    length becomes `dimension` inputs. Unicode is normalized (NFC), and white space is a single blank.
    """

    analyzer: Analyzer = "auto"
    """The units of n-grams. words: runs of two or more letters, digits and underscores, and single
    symbols such as emoji. characters: all characters, also blanks. both: terms of both. auto: characters
    if many letters of the training texts are of a script without blanks between words (Chinese,
    Japanese, Thai, …), otherwise words."""
    word_ngrams: NgramLengths = [1, 2]
    """Minimum and maximum number of words of a term."""
    character_ngrams: NgramLengths = [1, 3]
    """Minimum and maximum number of characters of a term."""
    lowercase: bool = True
    """Whether to ignore upper and lower case."""
    sublinear: bool = False
    """Use 1 + ln(count) in place of the count of a term in a row."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Minimum number of training rows with a term."""
    max_terms: Annotated[int, Field(ge=1, le=MAX_TERMS)] = 20_000
    """Maximum number of terms of words, and of characters, of a column; those of the most training rows
    are kept."""
    max_row_terms: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Maximum number of distinct terms of a row; of more, those with the largest weights are kept. If
    some training texts are far longer than the others, it is that of all but the longest 5%."""
    dimension: Annotated[int, Field(ge=1, le=1024)] = 32
    """Dimension of the learned vectors of the terms."""


def text_columns(data: Data) -> list[str]:
    """Return the columns whose kind is text."""
    return [name for name, column in data.columns.items() if column.kind == "text"]


def text_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield conflicts between the settings of columns of text."""
    sections: list[tuple[str, Section, Analyzer]] = [("data.text", data.text, data.text.analyzer)]
    for name in text_columns(data):
        column = data.columns[name]
        sections.append((column_key(name), column, column.analyzer or data.text.analyzer))
    for key, section, analyzer in sections:
        for setting, unit in (("word_ngrams", "words"), ("character_ngrams", "characters")):
            lengths = getattr(section, setting)
            if lengths is None or setting not in section.model_fields_set:
                continue
            if lengths[0] > lengths[1]:
                expected, found = "the minimum before the maximum", f"{lengths[0]}, {lengths[1]}"
                fix = f"write [{lengths[1]}, {lengths[0]}]"
                yield conflict(f"{key}.{setting}", expected, found, fix)
            if analyzer not in ("auto", "both", unit):
                expected = f"{setting} only with analyzer: auto, both or {unit}"
                fix = "remove one of the two"
                yield conflict(
                    f"{key}.{setting}", expected, f"analyzer: {analyzer}", fix,
                    f"{key}.analyzer", "data.text.analyzer",
                )  # fmt: skip

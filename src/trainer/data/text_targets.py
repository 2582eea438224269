"""The target of `task: translate`, the tokens of a text, and the vocabulary of both columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.data import Data
from trainer.config.translation import target_tokens, translates
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ngrams import text_chunks
from trainer.data.text_columns import CHUNK_CHARACTERS
from trainer.data.text_fitting import INSPECTED_TEXTS, likely_unit
from trainer.data.token_columns import TokenColumn
from trainer.data.token_fitting import token_accumulator
from trainer.data.values import to_text
from trainer.errors import DataError, Problem
from trainer.metrics.texts import BleuTokenizer

if TYPE_CHECKING:
    from trainer.data.opening import Rows
    from trainer.data.preprocessing import Column
    from trainer.data.tables import Table

_TOKENS, _TARGET_TOKENS = "data.tokens.", "data.target_tokens."
_LENGTH_STEP = 8
"""Lengths are multiples of it: new texts can be a little longer than those of training."""


class TextTarget(FittedBase):
    """A target that is a text.

    Attributes:
        column: Its tokens: y has their ids, from that of the start of a text to that of its end.
        bleu_tokenizer: How BLEU divides texts.
    """

    column: TokenColumn
    bleu_tokenizer: BleuTokenizer

    @property
    def start_id(self) -> int:
        """The id with which a text starts."""
        assert self.column.pieces is not None, "tokens are parts of words"
        return self.column.pieces.prefix[0]

    @property
    def end_id(self) -> int:
        """The id with which a text ends."""
        assert self.column.pieces is not None, "tokens are parts of words"
        return self.column.pieces.suffix[0]

    def decode(self, ids: NDArray[np.integer[Any]]) -> list[str]:
        """Return the text of each row of ids, up to the id of its end.

        Args:
            ids: (n, tokens), without the id of the start.

        Raises:
            DataError: The package `tokenizers` is not installed.
        """
        assert self.column.pieces is not None, "tokens are parts of words"
        ends = ids == self.end_id
        lengths = np.where(ends.any(axis=1), ends.argmax(axis=1), ids.shape[1])
        rows = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
        return self.column.pieces.decode(rows)


def with_source_groups(data: Data, names: Sequence[str]) -> Data:
    """Return the section with a split by the text of the source, if its split is `auto`.

    Args:
        data: The `data` section.
        names: The feature columns.
    """
    if not translates(data) or data.split.by != "auto" or len(names) != 1:
        return data
    split = data.split.model_copy(update={"by": "group", "column": names[0]})
    return data.model_copy(update={"split": split})


def source_problem(data: Data, names: Sequence[str]) -> Problem | None:
    """Return the problem of a text that is not translated from exactly one column, or None."""
    if not translates(data) or len(names) == 1:
        return None
    found = f"{len(names)}: " + ", ".join(f"'{name}'" for name in names[:5])
    fix = "set data.features: {include: [COLUMN]}"
    return Problem("", "one feature column, the source of the text", found, fix, "data.features")


def check_sources(table: Table, name: str, has_target: BoolArray) -> None:
    """Check that every row with a target has a text to translate.

    Raises:
        DataError: A cell is empty, or read as missing.
    """
    missing = np.flatnonzero(table.frame[name].is_null().to_numpy() & has_target)
    if not len(missing):
        return
    found = "none" + (f" here and in {len(missing) - 1:,} more rows" if len(missing) > 1 else "")
    fix = "fill it, or remove the rows"
    if "lines" in table.formats:
        fix = "write it, or remove the line from all files"
    if "csv" in table.formats:
        fix += "; if it is a text such as NA or None, set data.csv.null_values: []"
    raise DataError(Problem(table.where(int(missing[0])), f"a text in '{name}'", found, fix))


def fit_text_target(series: pl.Series, data: Data) -> TextTarget:
    """Choose the tokens of a target from the training rows, or take those of a vocabulary.

    Raises:
        DataError: No token is frequent enough, the vocabulary cannot be used, or the package
            `tokenizers` is not installed.
    """
    try:
        column = _fitted([series], series.name, data)
    except DataError as error:
        if data.target_tokens is None:
            raise
        raise DataError(
            replace(problem, key=problem.key.replace(_TOKENS, _TARGET_TOKENS))
            for problem in error.problems
        ) from error
    sample = to_text(series).drop_nulls().head(INSPECTED_TEXTS).to_list()
    unit = likely_unit(sample)
    return TextTarget(column=column, bleu_tokenizer="char" if unit == "characters" else "13a")


def fit_text_columns(
    source: Rows,
    columns: tuple[Column, ...],
    target: TextTarget,
    table: Table,
    rows: RowIndex,
    data: Data,
) -> tuple[tuple[Column, ...], TextTarget]:
    """Return the source column and the target with what depends on both, and the lengths they need.

    With a shared vocabulary, both have the same tokens, chosen from both.

    Args:
        source: All rows.
        columns: The source column.
        target: The target.
        table: The target column of all rows.
        rows: The training rows.
        data: The `data` section.
    """
    (column,) = columns
    assert isinstance(column, TokenColumn), "the source has tokens"
    texts = source.read_columns([column.name]).frame[column.name].gather(rows)
    targets = table.frame[target.column.name].gather(rows)
    written = target.column
    if data.shared_vocabulary:
        shared = _fitted([texts, targets], written.name, data).pieces
        column = column.model_copy(update={"pieces": shared})
        written = written.model_copy(update={"pieces": shared})
    column = column.model_copy(update={"length": _needed_length(column, texts)})
    written = written.model_copy(update={"length": _needed_length(written, targets)})
    return (column,), target.model_copy(update={"column": written})


def _needed_length(column: TokenColumn, series: pl.Series) -> int:
    """Return the length of the longest training text, as far as the settings allow it."""
    texts = to_text(series).fill_null("").to_list()
    longest = 0
    for part in text_chunks(texts, CHUNK_CHARACTERS):
        _, counts = column.split(texts[part])
        longest = max(longest, int(counts.max(initial=0)))
    longest += column.length - column.room
    return min(column.length, -(-longest // _LENGTH_STEP) * _LENGTH_STEP)


def _fitted(texts: Sequence[pl.Series], name: str, data: Data) -> TokenColumn:
    accumulator = token_accumulator(target_tokens(data), 0)
    for series in texts:
        accumulator.add(series)
    column = accumulator.fitted(name)
    if column is None or column.pieces is None or not column.pieces.suffix:
        expected = f"tokens in '{name}' that occur in several training rows"
        fix = "check the column, or set data.tokens.min_count: 1"
        raise DataError(Problem("", expected, "none", fix, "data.target"))
    return column

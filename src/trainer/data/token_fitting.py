"""Choose the tokens of a column from its training rows, in one pass, or take those of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from trainer.config.tokens import PIECES, Tokens
from trainer.data.ngrams import Unit, clean_text, text_chunks
from trainer.data.piece_training import WordCounts
from trainer.data.text_columns import CHUNK_CHARACTERS
from trainer.data.text_fitting import INSPECTED_TEXTS, TermCounts, likely_unit
from trainer.data.token_columns import TokenColumn, TokenCounts, tokens_of
from trainer.data.token_pieces import FittedPieces
from trainer.data.values import to_text
from trainer.data.vocabulary_files import read_vocabulary
from trainer.errors import DataError, Problem

_SAMPLED_TEXTS, _SAMPLED_CHARACTERS = 10_000, 5_000_000
"""The first texts, whose parts of words are counted."""


def token_accumulator(settings: Tokens, missing: int) -> TokenAccumulator | PieceAccumulator:
    """Return the accumulator of a column of tokens, after a number of missing values.

    Raises:
        DataError: The vocabulary cannot be used, or the package `tokenizers` is not installed.
    """
    if settings.vocabulary is not None:
        return PieceAccumulator(settings, read_vocabulary(settings), missing=missing)
    if settings.tokenizer in PIECES:
        return PieceAccumulator(settings, WordCounts(settings), missing=missing)
    return TokenAccumulator(settings, missing=missing)


@dataclass(slots=True)
class PieceAccumulator:
    """Accumulates a column whose tokens are parts of words.

    Attributes:
        settings: The section `data.tokens`.
        source: The tokenizer of a vocabulary, or the words that it is trained on.
        missing: Rows without a value.
    """

    settings: Tokens
    source: FittedPieces | WordCounts
    missing: int = 0
    _sample: list[str] = field(default_factory=list)
    _sampled: int = 0

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.missing += series.null_count()
        texts = to_text(series).drop_nulls().to_list()
        for text in texts:
            if len(self._sample) == _SAMPLED_TEXTS or self._sampled > _SAMPLED_CHARACTERS:
                break
            self._sample.append(text)
            self._sampled += len(text)
        if isinstance(self.source, WordCounts):
            self.source.add(texts)

    def fitted(self, name: str) -> TokenColumn | None:
        """Return the column; None if no token is frequent enough.

        Raises:
            DataError: The length has no room for tokens besides special tokens.
        """
        source, settings = self.source, self.settings
        pieces = source.fitted() if isinstance(source, WordCounts) else source
        if pieces is None:
            return None
        column = TokenColumn(
            name=name,
            missing=self.missing,
            counts=TokenCounts(),
            unit="pieces",
            lowercase=False,
            normalize="none",
            length=settings.length,
            truncate=settings.truncate,
            pads_at_start=settings.pads_at_start,
            pieces=pieces,
            dimension=settings.dimension,
        )
        if column.room < 1:
            specials = settings.length - column.room
            expected, fix = f"more than {specials}, as there are special tokens", "set it to 64"
            key = "data.tokens.length"
            raise DataError(Problem("", expected, f"{settings.length}", fix, key))
        return column.model_copy(update={"counts": self._counted(column)})

    def _counted(self, column: TokenColumn) -> TokenCounts:
        empty = truncated = tokens = unknown = cut_off = 0
        for part in text_chunks(self._sample, CHUNK_CHARACTERS):
            ids, sizes = column.split(self._sample[part])
            tokens += len(ids)
            unknown += 0 if column.unknown_id is None else int((ids == column.unknown_id).sum())
            empty += int(np.count_nonzero(sizes == 0))
            truncated += int(np.count_nonzero(sizes > column.room))
            cut_off += int(np.maximum(sizes - column.room, 0).sum())
        return TokenCounts(
            texts=len(self._sample),
            empty=empty,
            truncated=truncated,
            tokens=tokens,
            unknown=unknown,
            cut_off=cut_off,
            characters=sum(_character_count(text) for text in self._sample),
        )


@dataclass(slots=True)
class TokenAccumulator:
    """Accumulates the words or characters of a column."""

    settings: Tokens
    missing: int = 0
    _texts: int = 0
    _empty: int = 0
    _truncated: int = 0
    _cut_off: int = 0
    _characters: int = 0
    _counts: TermCounts | None = None
    _pending: list[str] = field(default_factory=list)

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.missing += series.null_count()
        settings = self.settings
        self._pending += [
            clean_text(cell, lowercase=settings.ignores_case, form=settings.normalization)
            for cell in to_text(series).drop_nulls().to_list()
        ]
        if self._counts is not None or len(self._pending) >= INSPECTED_TEXTS:
            self._count()

    def fitted(self, name: str) -> TokenColumn | None:
        """Return the column; None if no token is frequent enough."""
        counts, settings = self._count(), self.settings
        table, occurrences = counts.table(settings.min_count, settings.max_tokens)
        if table is None:
            return None
        return TokenColumn(
            name=name,
            missing=self.missing,
            counts=TokenCounts(
                texts=self._texts,
                empty=self._empty,
                truncated=self._truncated,
                tokens=counts.total,
                unknown=counts.total - occurrences,
                cut_off=self._cut_off,
                characters=self._characters,
            ),
            unit=counts.unit,
            lowercase=settings.ignores_case,
            normalize=settings.normalization,
            length=settings.length,
            truncate=settings.truncate,
            pads_at_start=settings.pads_at_start,
            tokens=table.terms,
            dimension=settings.dimension,
        )

    def _count(self) -> TermCounts:
        """Count the tokens of the pending texts."""
        if self._counts is None:
            match self.settings.tokenizer:
                case "words" | "characters" as unit:
                    chosen: Unit = unit
                case _:
                    chosen = likely_unit(self._pending)
            self._counts = TermCounts(chosen, (1, 1), shortest=1)
        length = self.settings.length
        for part in text_chunks(self._pending, CHUNK_CHARACTERS):
            texts = self._pending[part]
            self._counts.add(texts)
            sizes = np.bincount(tokens_of(texts, self._counts.unit).documents, minlength=len(texts))
            self._empty += int(np.count_nonzero(sizes == 0))
            self._truncated += int(np.count_nonzero(sizes > length))
            self._cut_off += int(np.maximum(sizes - length, 0).sum())
        self._texts += len(self._pending)
        self._characters += sum(map(_character_count, self._pending))
        self._pending = []
        return self._counts


def _character_count(text: str) -> int:
    return sum(map(len, text.split()))

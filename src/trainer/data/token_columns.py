"""A column of text as a sequence of tokens, which are words or characters.

Ids are 0 for padding, which is at the start, 1 for unknown tokens, then those of the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from trainer.config.tokens import Tokens
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ngrams import Unit, Units, clean_text, split_units, text_chunks
from trainer.data.text_columns import CHUNK_CHARACTERS, sorted_keys
from trainer.data.text_fitting import INSPECTED_TEXTS, TermCounts, likely_unit
from trainer.data.values import to_text
from trainer.inputs import TOKENS, InputSpec

UNKNOWN, FIRST = 1, 2
Positive = Annotated[int, Field(ge=1)]


class TokenColumn(FittedBase):
    """A fitted column of tokens.

    Attributes:
        missing: Training rows without a value.
        empty: Training rows whose text has no tokens.
        truncated: Training rows with more tokens than the length.
        known: Share of the tokens of the training rows that have an id of their own.
        unit: Whether tokens are words or characters.
        lowercase: Whether upper and lower case are ignored.
        length: Number of tokens of a row.
        truncate: Where longer texts are cut off.
        tokens: The tokens, those of the most training rows first.
        dimension: Dimension of the learned vectors.
    """

    kind: Literal["tokens"] = "tokens"
    name: str
    missing: int
    empty: int
    truncated: int
    known: Annotated[float, Field(ge=0, le=1)]
    unit: Unit
    lowercase: bool
    length: Positive
    truncate: Literal["end", "start", "middle"]
    tokens: Annotated[tuple[str, ...], Field(min_length=1)]
    dimension: Positive

    @property
    def coverage(self) -> str:
        """How much of the training texts the tokens cover, in words."""
        return (
            f"the {len(self.tokens):,} {self.unit} are {self.known:.0%} of those in the training texts; "
            f"{self.truncated:,} are cut off after {self.length}, {self.empty:,} are empty, "
            f"{self.missing:,} missing"
        )

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the input `features`: none, as tokens are an input of their own."""
        return ()

    @property
    def spec(self) -> InputSpec:
        """The input of the network."""
        return InputSpec(TOKENS, (self.length,), "int32")

    @property
    def vectors(self) -> tuple[int, int]:
        """(number of ids, dimension) of the vectors of tokens."""
        return FIRST + len(self.tokens), self.dimension

    def encode(self, series: pl.Series) -> tuple[NDArray[np.int32], BoolArray]:
        """Return the ids of each row, int32 (n, length), and the mask of texts without a known token."""
        cells = to_text(series).fill_null("").to_list()
        texts = [clean_text(cell, lowercase=self.lowercase) for cell in cells]
        ids = np.zeros((len(texts), self.length), np.int32)
        for part in text_chunks(texts, CHUNK_CHARACTERS):
            self._encode(texts[part], ids[part])
        return ids, (ids == UNKNOWN).any(axis=1) & (ids < FIRST).all(axis=1)

    def _encode(self, texts: Sequence[str], ids: NDArray[np.int32]) -> None:
        """Write the ids of cleaned texts."""
        units = tokens_of(texts, self.unit)
        keys, order = sorted_keys(self.unit, self.tokens, 1)
        places = np.minimum(np.searchsorted(keys, units.keys), len(keys) - 1)
        tokens = np.where(keys[places] == units.keys, FIRST + order[places], UNKNOWN)
        counts = np.bincount(units.documents, minlength=len(texts))
        ranks = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        count = counts[units.documents]
        surplus = np.maximum(count - self.length, 0)
        kept, slots = self._slots(ranks, surplus)
        slots += np.maximum(self.length - count, 0)
        ids[units.documents[kept], slots[kept]] = tokens[kept]

    def _slots(self, ranks: RowIndex, surplus: RowIndex) -> tuple[BoolArray, RowIndex]:
        """Return which tokens are kept, and their position among those that are."""
        match self.truncate:
            case "end":
                return ranks < self.length, ranks
            case "start":
                return ranks >= surplus, ranks - surplus
            case "middle":
                half = (self.length + 1) // 2
                is_later = ranks >= half
                kept = ~is_later | (ranks >= half + surplus)
                return kept, np.where(is_later, ranks - surplus, ranks)


def tokens_of(texts: Sequence[str], unit: Unit) -> Units:
    """Return the tokens of cleaned texts; words of one letter are tokens, too."""
    return split_units(texts, unit, shortest=1)


@dataclass(slots=True)
class TokenAccumulator:
    """Accumulates the tokens of a column."""

    settings: Tokens
    missing: int = 0
    empty: int = 0
    truncated: int = 0
    _counts: TermCounts | None = None
    _pending: list[str] = field(default_factory=list)

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.missing += series.null_count()
        cells = to_text(series).drop_nulls().to_list()
        self._pending += [clean_text(cell, lowercase=self.settings.lowercase) for cell in cells]
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
            empty=self.empty,
            truncated=self.truncated,
            known=occurrences / counts.total,
            unit=counts.unit,
            lowercase=settings.lowercase,
            length=settings.length,
            truncate=settings.truncate,
            tokens=table.terms,
            dimension=settings.dimension,
        )

    def _count(self) -> TermCounts:
        """Count the tokens of the pending texts."""
        if self._counts is None:
            unit = self.settings.unit
            chosen = likely_unit(self._pending) if unit == "auto" else unit
            self._counts = TermCounts(chosen, (1, 1), shortest=1)
        for part in text_chunks(self._pending, CHUNK_CHARACTERS):
            texts = self._pending[part]
            self._counts.add(texts)
            sizes = np.bincount(tokens_of(texts, self._counts.unit).documents, minlength=len(texts))
            self.empty += int(np.count_nonzero(sizes == 0))
            self.truncated += int(np.count_nonzero(sizes > self.settings.length))
        self._pending = []
        return self._counts

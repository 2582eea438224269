"""Columns of text: the TF-IDF weights of their terms, which are n-grams of words or characters.

A row is encoded as pairs (id, weight), those of the largest weights first, in a part of the input
`terms` of the network; unused pairs are (0, 0). Columns of text share the ids: those of the first column
start at 1, and so on. Pairs take less memory than a column for each term: texts of 50 characters
have 100 pairs (800 bytes) but 20,000 terms (80,000 bytes).

The weights of the words, and those of the characters, of a row have a Euclidean norm of 1, as by
scikit-learn's `TfidfVectorizer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from trainer.data.arrays import BoolArray, Float32Array, Float64Array, RowIndex, UInt64Array
from trainer.data.fitted_base import FittedBase
from trainer.data.ngrams import Unit, clean_text, split_units, term_keys, text_chunks
from trainer.data.values import to_text

CHUNK_CHARACTERS = 1_000_000
"""Texts are encoded in parts of about this many characters."""

Positive = Annotated[int, Field(ge=1)]


class TermTable(FittedBase):
    """The terms of one unit.

    Attributes:
        unit: Whether terms are n-grams of words or of characters.
        lengths: Minimum and maximum number of units of a term.
        terms: The terms, those of the most training rows first.
        rows: Training rows with each term.
    """

    unit: Unit
    lengths: tuple[Positive, Positive]
    terms: tuple[str, ...]
    rows: tuple[Positive, ...]

    def inverse_frequencies(self, documents: int) -> Float64Array:
        """Return the factor of each term: ln((1 + documents) / (1 + rows)) + 1."""
        weights: Float64Array = np.log((1 + documents) / (1 + np.array(self.rows))) + 1
        return weights


class TextColumn(FittedBase):
    """A fitted column of text.

    Attributes:
        missing: Training rows without a value.
        empty: Training rows whose text has neither words nor characters.
        documents: All training rows, which inverse document frequencies count.
        known: Share of the n-grams in training rows that are terms.
        lowercase: Whether upper and lower case are ignored.
        sublinear: Whether a count is 1 + ln(count).
        tables: The terms of words, of characters, or both.
        slots: Maximum number of terms of a row.
        dimension: Dimension of the learned vectors, the same for all columns of text.
    """

    kind: Literal["text"] = "text"
    name: str
    missing: int
    empty: int
    documents: Positive
    known: Annotated[float, Field(ge=0, le=1)]
    lowercase: bool
    sublinear: bool
    tables: tuple[TermTable, ...]
    slots: Positive
    dimension: Positive

    @property
    def coverage(self) -> str:
        """How much of the training texts the terms cover, in words."""
        units = " and ".join(table.unit for table in self.tables)
        return (
            f"the {self.term_count:,} n-grams of {units} are {self.known:.0%} of those in the training "
            f"texts; {self.empty:,} are empty, {self.missing:,} missing"
        )

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the input `features`: none, as terms are an input of their own."""
        return ()

    @property
    def term_count(self) -> int:
        """Number of terms."""
        return sum(len(table.terms) for table in self.tables)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of all tables, in the order of their ids."""
        return tuple(term for table in self.tables for term in table.terms)

    def clean(self, series: pl.Series) -> list[str]:
        """Return cleaned texts; missing ones are empty."""
        cells = to_text(series).fill_null("").to_list()
        return [clean_text(cell, lowercase=self.lowercase) for cell in cells]

    def encode(self, series: pl.Series) -> tuple[Float32Array, BoolArray]:
        """Return the pairs of each row, float32 (n, slots, 2), with ids from 1, and the mask of texts
        without a known term.
        """
        texts = self.clean(series)
        pairs = np.zeros((len(texts), self.slots, 2), np.float32)
        for part in text_chunks(texts, CHUNK_CHARACTERS):
            weights = self.weights(texts[part])
            used = weights.ranks < self.slots
            rows, places = weights.documents[used], weights.ranks[used]
            pairs[part][rows, places, 0] = weights.ids[used] + 1
            pairs[part][rows, places, 1] = weights.values[used]
        has_text = np.array([bool(text) for text in texts], np.bool_)
        return pairs, has_text & (pairs[:, 0, 1] == 0)

    def weights(self, texts: Sequence[str]) -> TermWeights:
        """Return the weights of the terms of cleaned texts."""
        parts = []
        first = 0
        for table in self.tables:
            documents, ids, values = self._table_weights(table, texts)
            parts.append((documents, ids + first, values))
            first += len(table.terms)
        documents, ids, values = (
            np.concatenate([part[index] for part in parts]) for index in range(3)
        )
        order = np.lexsort((ids, -values, documents))
        documents, ids, values = documents[order], ids[order], values[order]
        counts = np.bincount(documents, minlength=len(texts))
        ranks = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
        return TermWeights(documents, ids, values, ranks)

    def _table_weights(
        self, table: TermTable, texts: Sequence[str]
    ) -> tuple[RowIndex, RowIndex, Float64Array]:
        """Return the document, the term and the weight of each pair, ordered by document and term."""
        keys, order = sorted_keys(table.unit, table.terms, table.lengths[1])
        ngrams = split_units(texts, table.unit).ngrams(table.lengths)
        places = np.minimum(np.searchsorted(keys, ngrams.keys), len(keys) - 1)
        is_term = keys[places] == ngrams.keys
        cells = ngrams.documents[is_term] * len(keys) + order[places[is_term]]
        cells, counts = np.unique(cells, return_counts=True)
        documents, ids = cells // len(keys), cells % len(keys)
        frequencies = 1 + np.log(counts) if self.sublinear else counts
        values = frequencies * table.inverse_frequencies(self.documents)[ids]
        squares = np.bincount(documents, weights=values**2, minlength=len(texts))
        return documents, ids, values / np.sqrt(squares[documents])


@dataclass(frozen=True, slots=True, eq=False)
class TermWeights:
    """The weights of the terms of texts, ordered by text and decreasing weight.

    Attributes:
        documents: The text of each weight.
        ids: Its term, from 0.
        values: The weights.
        ranks: Number of weights before it in the same text.
    """

    documents: RowIndex
    ids: RowIndex
    values: Float64Array
    ranks: RowIndex


@lru_cache(maxsize=32)
def sorted_keys(
    unit: Unit, terms: tuple[str, ...], max_length: int
) -> tuple[UInt64Array, RowIndex]:
    """Return the keys of terms in increasing order, and the term of each."""
    keys = term_keys(unit, terms, max_length)
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def grid_size(count: int) -> int:
    """Return the next of the sizes 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, …

    Networks of folds, whose training rows have slightly different terms, then mostly have the same shape
    and can be trained in one pack.
    """
    step = 1 << max(0, count.bit_length() - 3)
    return -(-count // step) * step

"""Choose the terms of columns of text from their training rows, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import polars as pl

from trainer.config.text import Text
from trainer.data.arrays import RowIndex, UInt64Array
from trainer.data.ngrams import Unit, clean_text, split_units, text_chunks, unspaced_share
from trainer.data.text_columns import CHUNK_CHARACTERS, TermTable, TextColumn, grid_size
from trainer.data.values import to_text

INSPECTED_TEXTS = 1_000
"""The first texts, which determine the unit of `analyzer: auto`."""
_UNSPACED_SHARE = 0.3
_SAMPLED_TEXTS, _SAMPLED_CHARACTERS = 10_000, 2_000_000
"""The first texts, which determine the number of slots."""
_USUAL_SHARE, _USUAL_FACTOR = 0.95, 2.0
_MAX_CANDIDATES = 4_000_000
"""With more n-grams, those of a single row so far are forgotten."""


class TermCounts:
    """The number of texts with each n-gram.

    Attributes:
        unit: Whether they are n-grams of words or of characters.
        lengths: Minimum and maximum number of units.
        keys: The key of each n-gram, increasing.
        rows: The texts with it.
        occurrences: How often it occurs.
        texts: The n-grams.
        total: Occurrences of all n-grams.
    """

    def __init__(self, unit: Unit, lengths: Sequence[int], *, shortest: int = 2) -> None:
        self.unit, self.lengths, self._shortest = unit, (lengths[0], lengths[1]), shortest
        self.keys: UInt64Array = np.empty(0, np.uint64)
        self.rows: RowIndex = np.empty(0, np.int64)
        self.occurrences: RowIndex = np.empty(0, np.int64)
        self.texts: list[str] = []
        self.total = 0

    def add(self, texts: Sequence[str]) -> None:
        """Count the n-grams of cleaned texts."""
        units = split_units(texts, self.unit, shortest=self._shortest)
        ngrams = units.ngrams(self.lengths)
        keys, firsts, inverse = np.unique(ngrams.keys, return_index=True, return_inverse=True)
        if not len(keys):
            return
        self.total += len(ngrams.keys)
        pairs = np.unique(inverse.astype(np.int64) * len(texts) + ngrams.documents)
        rows = np.bincount(pairs // len(texts), minlength=len(keys))
        occurrences = np.bincount(inverse, minlength=len(keys))
        places = np.searchsorted(self.keys, keys)
        is_known = np.zeros(len(keys), np.bool_)
        within = places < len(self.keys)
        is_known[within] = self.keys[places[within]] == keys[within]
        self.rows[places[is_known]] += rows[is_known]
        self.occurrences[places[is_known]] += occurrences[is_known]
        new = np.flatnonzero(~is_known)
        self.texts += [
            units.text_of(first, size)
            for first, size in zip(
                ngrams.firsts[firsts[new]].tolist(), ngrams.sizes[firsts[new]].tolist(), strict=True
            )
        ]
        self._keep(
            np.concatenate([self.keys, keys[new]]),
            np.concatenate([self.rows, rows[new]]),
            np.concatenate([self.occurrences, occurrences[new]]),
        )

    def _keep(self, keys: UInt64Array, rows: RowIndex, occurrences: RowIndex) -> None:
        order = np.argsort(keys, kind="stable")
        if len(order) > _MAX_CANDIDATES:
            order = order[rows[order] > 1]
        self.keys, self.rows, self.occurrences = keys[order], rows[order], occurrences[order]
        self.texts = [self.texts[index] for index in order.tolist()]

    def table(self, min_count: int, max_terms: int) -> tuple[TermTable | None, int]:
        """Return the terms of the most rows, and how often they occur; None without any."""
        frequent = np.flatnonzero(self.rows >= min_count)
        ordered = sorted(
            zip((-self.rows[frequent]).tolist(), frequent.tolist(), strict=True),
            key=lambda item: (item[0], self.texts[item[1]]),
        )
        chosen = [index for _, index in ordered[:max_terms]]
        if not chosen:
            return None, 0
        table = TermTable(
            unit=self.unit,
            lengths=self.lengths,
            terms=tuple(self.texts[index] for index in chosen),
            rows=tuple(self.rows[chosen].tolist()),
        )
        return table, int(self.occurrences[chosen].sum())


def likely_unit(texts: Sequence[str]) -> Unit:
    """Return characters if the first texts are of scripts without blanks between words, else words."""
    share = unspaced_share(texts[:INSPECTED_TEXTS])
    return "characters" if share > _UNSPACED_SHARE else "words"


@dataclass(slots=True)
class TextAccumulator:
    """Accumulates the n-grams of a column."""

    settings: Text
    missing: int = 0
    empty: int = 0
    documents: int = 0
    _counts: list[TermCounts] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _sample: list[str] = field(default_factory=list)
    _sampled: int = 0

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.documents += len(series)
        self.missing += series.null_count()
        cells = to_text(series).drop_nulls().to_list()
        texts = [clean_text(cell, lowercase=self.settings.lowercase) for cell in cells]
        self.empty += texts.count("")
        self._pending += filter(None, texts)
        if self._counts or len(self._pending) >= INSPECTED_TEXTS:
            self._count()

    def fitted(self, name: str) -> TextColumn | None:
        """Return the column; None if no n-gram is frequent enough."""
        self._count()
        settings = self.settings
        chosen = [counts.table(settings.min_count, settings.max_terms) for counts in self._counts]
        tables = [table for table, _ in chosen if table is not None]
        if not tables:
            return None
        total = sum(counts.total for counts in self._counts)
        column = TextColumn(
            name=name,
            missing=self.missing,
            empty=self.empty,
            documents=self.documents,
            known=sum(occurrences for _, occurrences in chosen) / total,
            lowercase=settings.lowercase,
            sublinear=settings.sublinear,
            tables=tuple(tables),
            slots=settings.max_row_terms,
            dimension=settings.dimension,
        )
        return column.model_copy(update={"slots": self._slots(column)})

    def _count(self) -> None:
        """Count the n-grams of the pending texts."""
        if not self._counts:
            self._counts = self._chosen_units()
        for text in self._pending:
            if len(self._sample) == _SAMPLED_TEXTS or self._sampled > _SAMPLED_CHARACTERS:
                break
            self._sample.append(text)
            self._sampled += len(text)
        for part in text_chunks(self._pending, CHUNK_CHARACTERS):
            for counts in self._counts:
                counts.add(self._pending[part])
        self._pending = []

    def _chosen_units(self) -> list[TermCounts]:
        settings, analyzer = self.settings, self.settings.analyzer
        if analyzer == "auto":
            analyzer = likely_unit(self._pending)
        lengths = {"words": settings.word_ngrams, "characters": settings.character_ngrams}
        return [
            TermCounts(cast("Unit", unit), lengths[unit])
            for unit in lengths
            if analyzer in (unit, "both")
        ]

    def _slots(self, column: TextColumn) -> int:
        """Return enough slots for all terms of the texts, or of 95% of them if some have twice as many.

        Of longer texts, the terms with the smallest weights are lost: of Chinese reviews, 0.2% of the
        squared norm.
        """
        counts = np.zeros(len(self._sample), np.int64)
        for part in text_chunks(self._sample, CHUNK_CHARACTERS):
            texts = self._sample[part]
            counts[part] = np.bincount(column.weights(texts).documents, minlength=len(texts))
        most, usual = int(counts.max()), round(float(np.quantile(counts, _USUAL_SHARE)))
        needed = usual if most > _USUAL_FACTOR * usual and usual else most
        return min(grid_size(max(1, needed)), self.settings.max_row_terms)

"""Recognize columns of text among columns of categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from trainer.data.ngrams import clean_text, unspaced_share

_SAMPLED = 1_000
_MIN_DISTINCT, _DISTINCT_SHARE = 20, 0.3
_MIN_WORDS, _MIN_UNSPACED_LETTERS = 6.0, 12.0


def is_text(known: pl.Series, distinct: int) -> bool:
    """Return whether cells are sentences rather than categories: mostly different, of several words.

    Args:
        known: The cells of a column, without missing values.
        distinct: Number of distinct values.
    """
    if known.dtype != pl.String or distinct <= max(_MIN_DISTINCT, _DISTINCT_SHARE * len(known)):
        return False
    rows = np.unique(np.linspace(0, len(known) - 1, _SAMPLED).astype(np.int64))
    return are_sentences(known.gather(rows).to_list())


def are_sentences(texts: Sequence[str]) -> bool:
    """Return whether texts have several words, or as many letters without blanks, on average."""
    cleaned = [clean_text(text, lowercase=False) for text in texts]
    words = sum(text.count(" ") + 1 for text in cleaned) / max(1, len(cleaned))
    letters = sum(map(len, cleaned)) / max(1, len(cleaned)) * unspaced_share(cleaned)
    return words >= _MIN_WORDS or letters >= _MIN_UNSPACED_LETTERS

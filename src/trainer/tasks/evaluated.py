"""Predictions for samples with targets, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from trainer.metrics.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSamples:
    """Predictions for samples with targets, and their metrics.

    Attributes:
        rows: The number of samples.
        metrics: Metric → value; for a single network the loss first.
        predictions: The predictions with the targets; None for texts.
        texts: For texts, their columns `row`, `actual`, `predicted` and `log_probability`; None for
            classes and numbers, and if no texts were written.
    """

    rows: int
    metrics: Mapping[str, float]
    predictions: Predictions | None = field(default=None, repr=False, compare=False)
    texts: pl.DataFrame | None = field(default=None, repr=False, compare=False)

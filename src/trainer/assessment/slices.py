"""Metrics of slices of the rows, and the worst rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trainer.assessment.bootstrap import bootstrap
from trainer.assessment.intervals import ConfidenceInterval
from trainer.assessment.resampling import (
    DEFAULT_RESAMPLING,
    Resampling,
    bounded_resamples,
    rows_per_resample,
)
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import BoolArray, Float64Array, IntArray
from trainer.metrics.labels import row_accuracies, row_log_losses, squared_errors
from trainer.metrics.predictions import Predictions

MISSING = "(missing)"

_DRAWN_ROWS = 20_000_000

Where = tuple[tuple[str, str], ...]
"""Column and level, of one or two columns."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceColumn:
    """A column as levels.

    Attributes:
        codes: (n,) the level of each row, from 0; negative where the value is missing.
        levels: Their names.
    """

    codes: IntArray
    levels: tuple[str, ...]

    def has_level(self, code: int) -> BoolArray:
        """Return which rows have a level, (n,); of a negative code, those whose value is missing."""
        return np.asarray(self.codes < 0 if code < 0 else self.codes == code)


@dataclass(frozen=True, slots=True, eq=False)
class SliceRows:
    """The rows of a slice.

    Attributes:
        where: Column and level, of one or two columns.
        mask: (n,) whether a row is in the slice.
    """

    where: Where
    mask: BoolArray


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of the rows with a metric.

    Attributes:
        where: Column and level, of one or two columns.
        rows: The number of rows.
        value: The metric with its bootstrap interval; NaN where undefined.
        p_value: In a search, an upper bound of the probability that any slice searched does as badly by
            chance. None without a search.
    """

    where: Where
    rows: int
    value: ConfidenceInterval
    p_value: float | None = None


def bin_numeric(values: npt.NDArray[np.floating], bins: int = 4) -> SliceColumn:
    """Bin a numeric column at quantiles, by default quartiles.

    Args:
        values: (n,); NaN is missing. Equal values share a bin, so there can be fewer.
        bins: Maximum number of bins.
    """
    present = np.isfinite(values)
    if not present.any():
        return SliceColumn(np.full(len(values), -1), ())
    inner = np.quantile(values[present], np.linspace(0, 1, bins + 1)[1:-1])
    edges = np.unique(inner[inner < values[present].max()])
    codes = np.where(present, np.searchsorted(edges, values, side="left"), -1).astype(np.int16)
    labels = [f"{edge:.4g}" for edge in edges]
    if not labels:
        return SliceColumn(codes, (f"{values[present].max():.4g}",))
    between = [f"> {low}, ≤ {high}" for low, high in pairwise(labels)]
    return SliceColumn(codes, (f"≤ {labels[0]}", *between, f"> {labels[-1]}"))


def evaluate_slices(
    predictions: Predictions,
    columns: Mapping[str, SliceColumn],
    metric: str | None = None,
    *,
    threshold: float = 0.5,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> list[Slice]:
    """Compute a metric for each level of each column that has rows.

    Args:
        predictions: The predictions with their targets.
        columns: The columns by name.
        metric: Any metric of `compute_all_metrics`; None for accuracy, or rmse for regression.
        threshold: Minimum probability of a positive label (binary, multilabel).
        resampling: How the intervals are computed.
    """
    metric = metric or default_metric(predictions)
    return [
        evaluate_slice(predictions, part, metric, threshold, resampling)
        for part in _levels(columns)
        if part.mask.any()
    ]


def evaluate_slice(
    predictions: Predictions,
    part: SliceRows,
    metric: str,
    threshold: float,
    resampling: Resampling,
) -> Slice:
    """Compute a metric for one slice; a large one has fewer resamples."""
    rows = int(part.mask.sum())
    resamples = bounded_resamples(resampling.resamples, rows_per_resample(rows), _DRAWN_ROWS)
    values = bootstrap(
        predictions.take(part.mask),
        threshold=threshold,
        names=(metric,),
        resampling=replace(resampling, resamples=resamples),
    )
    return Slice(part.where, rows, values[metric])


def default_metric(predictions: Predictions) -> str:
    """Return the metric of slices: accuracy for classification, rmse for regression."""
    return "accuracy" if TASK_RULES[predictions.task].has_classes else "rmse"


def row_losses(predictions: Predictions, metric: str, threshold: float = 0.5) -> Float64Array:
    """Return the contribution of each row to a metric, (n,), at least 0.

    accuracy: the fraction of its labels that are wrong; rmse: the mean squared error of its columns;
    log_loss.
    """
    task, y, p = predictions.task, predictions.y, predictions.p
    match metric:
        case "rmse":
            return np.asarray(squared_errors(y, p).mean(axis=1))
        case "accuracy":
            return 1 - row_accuracies(task, y, p, threshold)
        case "log_loss":
            return row_log_losses(task, y, p)
        case _:
            raise AssertionError(f"{metric} is not a sum over rows")


def worst_rows(predictions: Predictions, count: int) -> tuple[npt.NDArray[np.intp], Float64Array]:
    """Return the rows with the largest loss: log loss, or squared error for regression.

    Weights are ignored. With several regression targets, errors are divided by the variance of each.

    Returns:
        Positions in `predictions` and losses, in descending order; ties by row number.
    """
    if TASK_RULES[predictions.task].has_classes:
        losses = row_losses(predictions, "log_loss")
    else:
        squares = squared_errors(predictions.y, predictions.p)
        if squares.shape[1] > 1:
            variance = predictions.y.astype(np.float64).var(axis=0)
            squares /= np.where(variance > 0, variance, 1.0)
        losses = squares.mean(axis=1)
    order = np.lexsort((predictions.rows, -losses))[:count]
    return order, losses[order]


def _levels(columns: Mapping[str, SliceColumn]) -> Iterator[SliceRows]:
    for name, column in columns.items():
        for code, level in enumerate(column.levels):
            yield SliceRows(((name, level),), column.has_level(code))
        yield SliceRows(((name, MISSING),), column.has_level(-1))

"""Metrics of slices of the rows; the worst slices and the worst rows.

A search looks at many slices, and some small ones always look bad by chance. So slices are ranked by
the distance of the better bound of their interval from the value of all rows, and each comes with the
probability that a random subset of that size does as badly, times the number of slices searched
(Bonferroni). That probability is bounded from above for any distribution of the losses: Hoeffding 1963,
theorems 1 and 4 (sampling without replacement), with the empirical moment generating function of the
losses. It is about five times too high, never too low, where rows are independent with equal weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from trainer.assessment.bootstrap import DEFAULT_RESAMPLING, Resampling, bootstrap
from trainer.assessment.intervals import ConfidenceInterval, effective_sample_size, wilson_interval
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import BoolArray, Float64Array, IntArray
from trainer.metrics.labels import row_accuracies, row_log_losses, squared_errors
from trainer.metrics.predictions import Predictions

MISSING = "(missing)"
MIN_ROWS, MIN_SHARE = 20, 0.02
TILTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class SliceColumn:
    """A column as levels.

    Attributes:
        codes: (n,) the level of each row, from 0; negative where the value is missing.
        levels: Their names.
    """

    codes: IntArray
    levels: tuple[str, ...]


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

    where: tuple[tuple[str, str], ...]
    rows: int
    value: ConfidenceInterval
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class WorstSlices:
    """The result of a search.

    Attributes:
        metric: accuracy for classification, rmse for regression.
        overall: The metric of all rows.
        slices: The worst first; only those with an interval entirely worse than `overall`.
        searched: The number of slices that were large enough to be searched.
    """

    metric: str
    overall: float
    slices: tuple[Slice, ...]
    searched: int


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
    codes = np.where(present, np.searchsorted(edges, values, side="left"), -1)
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
    metric = metric or _default_metric(predictions)
    return [
        _evaluate(predictions, part, metric, threshold, resampling)
        for part in _levels(columns)
        if part.mask.any()
    ]


def find_worst_slices(
    predictions: Predictions,
    columns: Mapping[str, SliceColumn],
    *,
    limit: int = 10,
    threshold: float = 0.5,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> WorstSlices:
    """Find the slices with the worst predictions: levels of one column, or of two combined.

    Slices with at least 20 rows and 2% of the rows are searched. A pair is skipped where it has the same
    rows as one of its levels. With groups, the size of a slice is its number of groups.

    Args:
        predictions: Evaluated by accuracy, or RMSE for regression.
        columns: The columns by name.
        limit: Maximum number of slices to return.
        threshold: Minimum probability of a positive label (binary, multilabel).
        resampling: How the intervals are computed.
    """
    metric = _default_metric(predictions)
    losses, weights = row_losses(predictions, metric, threshold), predictions.weights()
    if not weights.sum() > 0 or not np.isfinite(losses).all():
        return WorstSlices(metric, float("nan"), (), 0)
    mean = float(np.average(losses, weights=weights))
    bound = _HoeffdingBound(losses, weights)
    min_rows = max(MIN_ROWS, int(np.ceil(MIN_SHARE * len(predictions))))
    worse: list[tuple[float, float, _Part]] = []
    searched = 0
    for part in (*_levels(columns), *_pairs(columns)):
        index = np.flatnonzero(part.mask)
        if len(index) < min_rows or len(index) == len(predictions) or not weights[index].any():
            continue
        searched += 1
        size = _effective_size(predictions, index)
        part_mean = float(np.average(losses[index], weights=weights[index]))
        low = _lower_bound(
            losses[index],
            weights[index],
            size,
            part_mean,
            resampling.confidence_level,
            is_share=metric == "accuracy",
        )
        if low > mean:
            worse.append((low - mean, bound.p_value(part_mean, size), part))
    # The sort is stable: among ties, single columns come before pairs.
    worse.sort(key=lambda entry: -entry[0])
    slices = []
    for _, p_value, part in worse[:limit]:
        evaluated = _evaluate(predictions, part, metric, threshold, resampling)
        adjusted = min(1.0, p_value * searched)
        slices.append(Slice(evaluated.where, evaluated.rows, evaluated.value, adjusted))
    overall = float(np.sqrt(mean)) if metric == "rmse" else 1 - mean
    return WorstSlices(metric, overall, tuple(slices), searched)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    where: tuple[tuple[str, str], ...]
    mask: BoolArray


class _HoeffdingBound:
    """An upper bound on the probability that a random subset has a mean loss this high."""

    def __init__(self, losses: Float64Array, weights: Float64Array) -> None:
        share = weights / weights.sum()
        mean = float(share @ losses)
        centered = losses - mean
        std = float(np.sqrt(share @ centered**2))
        self._mean, self._scale = mean, std if std > 0 else 1.0
        centered /= self._scale
        # Every tilt gives a valid bound, so a grid is enough.
        self._tilts = np.geomspace(1e-3, 50, TILTS)
        self._log_mgf = np.array([_log_mean_exp(t * centered, share) for t in self._tilts])

    def p_value(self, mean: float, size: float) -> float:
        distance = (mean - self._mean) / self._scale
        exponents = self._tilts * distance - self._log_mgf
        return float(np.exp(-size * max(0.0, float(exponents.max()))))


def _log_mean_exp(values: Float64Array, share: Float64Array) -> float:
    highest = float(values.max())
    return highest + float(np.log(share @ np.exp(values - highest)))


def _lower_bound(
    losses: Float64Array,
    weights: Float64Array,
    size: float,
    mean: float,
    confidence_level: float,
    *,
    is_share: bool,
) -> float:
    """Return the lower bound of the interval of a slice's mean loss."""
    if is_share:
        return float(wilson_interval(np.array(mean), np.array(size), confidence_level)[0])
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    variance = float(np.average((losses - mean) ** 2, weights=weights))
    return mean - z * float(np.sqrt(variance / max(size - 1, 1e-12)))


def _effective_size(predictions: Predictions, index: npt.NDArray[np.intp]) -> float:
    """Return the effective number of independent rows, or groups."""
    weights = predictions.weights()[index]
    if predictions.group is not None:
        _, member = np.unique(predictions.group[index], return_inverse=True)
        weights = np.bincount(member, weights).astype(np.float64)
    return effective_sample_size(weights)


def _levels(columns: Mapping[str, SliceColumn]) -> Iterator[_Part]:
    for name, column in columns.items():
        for code, level in _codes(column):
            yield _Part(((name, level),), _has_code(column, code))


def _pairs(columns: Mapping[str, SliceColumn]) -> Iterator[_Part]:
    for (name_a, column_a), (name_b, column_b) in combinations(columns.items(), 2):
        masks = [(level, _has_code(column_b, code)) for code, level in _codes(column_b)]
        for code, level_a in _codes(column_a):
            mask_a = _has_code(column_a, code)
            for level_b, mask_b in masks:
                mask = mask_a & mask_b
                if mask.sum() < min(mask_a.sum(), mask_b.sum()):
                    yield _Part(((name_a, level_a), (name_b, level_b)), mask)


def _codes(column: SliceColumn) -> list[tuple[int, str]]:
    levels = list(enumerate(column.levels))
    return [*levels, (-1, MISSING)] if (column.codes < 0).any() else levels


def _has_code(column: SliceColumn, code: int) -> BoolArray:
    return np.asarray(column.codes < 0 if code < 0 else column.codes == code)


def _default_metric(predictions: Predictions) -> str:
    return "accuracy" if TASK_RULES[predictions.task].has_classes else "rmse"


def _evaluate(
    predictions: Predictions,
    part: _Part,
    metric: str,
    threshold: float,
    resampling: Resampling,
) -> Slice:
    values = bootstrap(
        predictions.take(part.mask),
        threshold=threshold,
        names=(metric,),
        resampling=resampling,
    )
    return Slice(part.where, int(part.mask.sum()), values[metric])

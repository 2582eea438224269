"""Search for the slices with the worst predictions.

A search looks at many slices, and a small one always looks bad by chance. So slices are ranked by the
distance of the better bound of their interval from the value of all rows, and each comes with the
probability that a random subset of that size does as badly, times the number of slices searched
(Bonferroni). That probability is bounded from above for any distribution of the losses: Hoeffding 1963,
theorems 1 and 4 (sampling without replacement), with the empirical moment generating function of the
losses. It is about five times too high, never too low, where rows are independent with equal weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.assessment.intervals import wilson_interval
from trainer.assessment.resampling import DEFAULT_RESAMPLING, Resampling
from trainer.assessment.slices import (
    MISSING,
    Slice,
    SliceColumn,
    SliceRows,
    default_metric,
    evaluate_slice,
    row_losses,
)
from trainer.metrics.arrays import BoolArray, Float64Array, IntArray
from trainer.metrics.predictions import Predictions

MIN_ROWS, MIN_SHARE = 20, 0.02
SEARCHED_ROWS = 200_000
TILTS = 200


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
    rows as one of its levels. With groups, the size of a slice is its number of groups. Of more than
    200,000 rows, a random sample is searched; the slices found are evaluated on all rows.

    Args:
        predictions: Evaluated by accuracy, or RMSE for regression.
        columns: The columns by name.
        limit: Maximum number of slices to return.
        threshold: Minimum probability of a positive label (binary, multilabel).
        resampling: How the intervals are computed.
    """
    metric = default_metric(predictions)
    losses, weights = row_losses(predictions, metric, threshold), predictions.weights()
    if not weights.sum() > 0 or not np.isfinite(losses).all():
        return WorstSlices(metric, float("nan"), (), 0)
    mean = float(np.average(losses, weights=weights))
    worse: list[tuple[float, _Cells, int, float, float]] = []
    searched = 0
    sample = _Sample.draw(losses, weights, predictions.group, resampling.seed)
    for cells in _searched_cells(columns, sample.index):
        sums = sample.sums(cells)
        large = sums.is_searched & cells.is_new(sums.rows)
        searched += int(large.sum())
        low = _lower_bounds(sums, resampling.confidence_level, is_share=metric == "accuracy")
        worse += [
            (low[cell] - sample.mean, cells, cell, sums.mean[cell], sums.size[cell])
            for cell in np.flatnonzero(large & (low > sample.mean)).tolist()
        ]
        # The sort is stable: among ties, single columns come before pairs.
        worse.sort(key=lambda entry: -entry[0])
        del worse[limit:]
    bound = _HoeffdingBound(sample.losses, sample.weights)
    slices = []
    for _, cells, cell, cell_mean, size in worse:
        part = cells.part(cell, columns)
        evaluated = evaluate_slice(predictions, part, metric, threshold, resampling)
        adjusted = min(1.0, bound.p_value(cell_mean, size) * searched)
        slices.append(Slice(evaluated.where, evaluated.rows, evaluated.value, adjusted))
    overall = float(np.sqrt(mean)) if metric == "rmse" else 1 - mean
    return WorstSlices(metric, overall, tuple(slices), searched)


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


def _lower_bounds(sums: _Sums, confidence_level: float, *, is_share: bool) -> Float64Array:
    """Return the lower bound of the interval of the mean loss in each cell, (cells,)."""
    if is_share:
        return wilson_interval(sums.mean, sums.size, confidence_level)[0]
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    return sums.mean - z * np.sqrt(sums.variance / np.maximum(sums.size - 1, 1e-12))


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Statistics of the cells, each (cells,).

    Attributes:
        rows: Number of rows.
        size: Effective number of independent rows, or groups.
        mean: Weighted mean of the losses.
        variance: Their weighted variance.
        is_searched: Whether a cell has enough rows, but not all, and some weight.
    """

    rows: IntArray
    size: Float64Array
    mean: Float64Array
    variance: Float64Array
    is_searched: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """The rows that are searched.

    Attributes:
        index: (m,) their positions; None for all rows.
        losses: (m,).
        weights: (m,).
        groups: (m,) the number of each row's group; None without groups.
        mean: The weighted mean of the losses.
    """

    index: npt.NDArray[np.intp] | None
    losses: Float64Array
    weights: Float64Array
    groups: IntArray | None
    mean: float

    @classmethod
    def draw(
        cls,
        losses: Float64Array,
        weights: Float64Array,
        group: npt.NDArray[Any] | None,
        seed: int,
    ) -> _Sample:
        index = None
        if len(losses) > SEARCHED_ROWS:
            rng = np.random.default_rng(seed)
            index = np.sort(rng.choice(len(losses), SEARCHED_ROWS, replace=False))
            losses, weights = losses[index], weights[index]
            group = None if group is None else group[index]
        total = weights.sum()
        mean = float(weights @ losses / total) if total > 0 else float("nan")
        groups = None if group is None else np.unique(group, return_inverse=True)[1]
        return cls(index, losses, weights, groups, mean)

    def sums(self, cells: _Cells) -> _Sums:
        """Compute the statistics of all cells."""
        codes, count, weights = cells.codes, cells.count, self.weights
        rows = np.bincount(codes, minlength=count)
        weight = np.bincount(codes, weights, count)
        if self.groups is None:
            squares = np.bincount(codes, weights**2, count)
        else:
            # The weight of each group within each cell.
            groups = int(self.groups.max()) + 1
            present, inverse = np.unique(codes * groups + self.groups, return_inverse=True)
            squares = np.bincount(present // groups, np.bincount(inverse, weights) ** 2, count)
        # Centered, so that the variance is not a difference of large numbers.
        centered = self.losses - self.mean
        safe = np.where(weight > 0, weight, 1.0)
        distance = np.bincount(codes, weights * centered, count) / safe
        variance = np.bincount(codes, weights * centered**2, count) / safe - distance**2
        total = len(codes)
        is_searched = (
            (rows >= max(MIN_ROWS, np.ceil(MIN_SHARE * total))) & (rows < total) & (weight > 0)
        )
        return _Sums(
            rows,
            weight**2 / np.where(squares > 0, squares, 1.0),
            self.mean + distance,
            np.maximum(variance, 0.0),
            is_searched,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The levels of one column, or their combinations with those of another.

    Attributes:
        names: The one or two columns.
        levels: The names of the levels of each.
        codes: (m,) the cell of each row: its level, or the level of the first column times the number of
            levels of the second, plus that of the second.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    codes: npt.NDArray[np.intp]

    @property
    def count(self) -> int:
        return prod(map(len, self.levels))

    def part(self, cell: int, columns: Mapping[str, SliceColumn]) -> SliceRows:
        """Return the slice of a cell, with all its rows."""
        codes = np.unravel_index(cell, tuple(map(len, self.levels)))
        levels = [
            (name, int(code), levels[code])
            for name, levels, code in zip(self.names, self.levels, codes, strict=True)
        ]
        masks = [
            columns[name].has_level(code if code < len(columns[name].levels) else -1)
            for name, code, _ in levels
        ]
        return SliceRows(
            tuple((name, level) for name, _, level in levels), np.logical_and.reduce(masks)
        )

    def is_new(self, rows: IntArray) -> BoolArray:
        """Return which cells have fewer rows than each of their levels, (cells,); of one column, all."""
        if len(self.levels) == 1:
            return np.ones(self.count, bool)
        table = rows.reshape(tuple(map(len, self.levels)))
        fewer = (table < table.sum(axis=1, keepdims=True)) & (table < table.sum(axis=0))
        return np.asarray(fewer.ravel())


def _searched_cells(
    columns: Mapping[str, SliceColumn], index: npt.NDArray[np.intp] | None
) -> Iterator[_Cells]:
    """Yield the cells of each column, then those of each pair, of the rows at `index`; None for all."""
    singles = []
    for name, column in columns.items():
        levels = (*column.levels, MISSING)
        codes = (column.codes if index is None else column.codes[index]).astype(np.intp)
        codes[codes < 0] = len(levels) - 1
        singles.append(_Cells((name,), (levels,), codes))
    yield from singles
    for first, second in combinations(singles, 2):
        codes = first.codes * second.count + second.codes
        yield _Cells(first.names + second.names, first.levels + second.levels, codes)

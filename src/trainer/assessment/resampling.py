"""Draw rows with replacement, as weights of the rows (Efron & Tibshirani 1993, chapter 13).

Draws are stratified by class, so that a rare class is in every resample. With groups, whole groups are
drawn, regardless of class; without classes (regression, multilabel), draws are not stratified. A row
keeps its weight. The same seed gives the same draws for any order of the rows.

With more than `LARGEST` rows, draws are from random parts of the rows, as in the bag of little
bootstraps (Kleiner et al. 2014): a part of b of n rows is weighted as if n rows were drawn from it. The
counts c of b draws give the weights (n / b) (1 + (c - 1) √(b / n)), whose mean and variance are those of
the counts of n draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, IntArray
from trainer.metrics.labels import class_indices
from trainer.metrics.predictions import Predictions

CHUNK = 800_000
"""Approximate number of weights drawn at once; they fit into the processor's cache."""
LARGEST = 200_000
"""Number of rows up to which they are all drawn from."""
PARTS, PART_ROWS = 10, 100_000
"""Number of parts, and approximate rows of each, for larger samples."""
_SMALLEST = 1_000
"""A part has at least this number of rows of each class."""
_MIN_RESAMPLES = 100


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are computed.

    Attributes:
        resamples: Number of resamples.
        confidence_level: The fraction of draws inside an interval.
        seed: Seed of the resamples.
    """

    resamples: int = 1_000
    confidence_level: float = 0.95
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows that stand for all rows, and resamples of them.

    Attributes:
        index: Their positions, (m,); None for all rows.
        base: Their weights (1, m) without a draw.
        weights: Their weights in each resample, in chunks (resamples, m).
    """

    index: IntArray | None
    base: Float64Array
    weights: Iterator[Float64Array]


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """What is drawn from, by stratum: rows, or groups of rows.

    Attributes:
        totals: The number of units in each stratum.
        sizes: The number of them that are in the part.
        member: The unit in the part of each row of the part, (m,); None if units are rows.
    """

    totals: tuple[int, ...]
    sizes: tuple[int, ...]
    member: IntArray | None

    def expand(self, by_unit: Float64Array) -> Float64Array:
        """Return values of units (r, units) for the rows (r, m)."""
        return by_unit if self.member is None else by_unit[:, self.member]

    def scaled(self, counts: Float64Array) -> Float64Array:
        """Return counts of draws as weights with the totals as their sums; changed in place."""
        start = 0
        for total, size in zip(self.totals, self.sizes, strict=True):
            if size < total:
                part = counts[:, start : start + size]
                part -= 1
                part *= (size / total) ** 0.5
                part += 1
                part *= total / size
            start += size
        return counts


def rows_per_resample(rows: int) -> int:
    """Return the approximate number of rows of each resample of a sample."""
    return rows if rows <= LARGEST else PART_ROWS


def bounded_resamples(resamples: int, rows: int, drawn_rows: int) -> int:
    """Return a number of resamples with which at most `drawn_rows` rows are drawn; but at least 100.

    Args:
        resamples: The largest number.
        rows: The rows of each resample.
        drawn_rows: The rows of all resamples.
    """
    return min(resamples, max(_MIN_RESAMPLES, drawn_rows // max(1, rows)))


def sort_rows(predictions: Predictions) -> Predictions:
    """Sort by class, then by row number, so that the draws do not depend on the order of the rows."""
    if _is_stratified(predictions):
        # Codes of few bytes make the sort fast and small.
        size = np.min_scalar_type(predictions.y.shape[1])
        classes = class_indices(predictions.y).astype(size)
        if _is_ascending(predictions.rows):
            return predictions.take(np.argsort(classes, kind="stable"))
        return predictions.take(np.lexsort((predictions.rows, classes)))
    if _is_ascending(predictions.rows):
        return predictions
    return predictions.take(np.argsort(predictions.rows, kind="stable"))


def _is_ascending(rows: IntArray) -> bool:
    return bool((rows[1:] >= rows[:-1]).all())


def draw_parts(predictions: Predictions, resampling: Resampling) -> Iterator[Part]:
    """Yield the parts that are drawn from: a single one with all rows, or several.

    Args:
        predictions: The predictions, sorted by `sort_rows`.
        resampling: Number of resamples of all parts together, and seed.
    """
    rng = np.random.default_rng(resampling.seed)
    if len(predictions) <= LARGEST:
        index, units = None, _all_units(predictions)
        yield _part(predictions, index, units, rng, resampling.resamples)
        return
    parts = min(PARTS, resampling.resamples)
    for number in range(parts):
        resamples = (number + 1) * resampling.resamples // parts - (
            number * resampling.resamples // parts
        )
        index, units = _choose_units(predictions, rng)
        yield _part(predictions.take(index), index, units, rng, resamples)


def _part(
    predictions: Predictions,
    index: IntArray | None,
    units: _Units,
    rng: np.random.Generator,
    resamples: int,
) -> Part:
    ones = np.ones((1, sum(units.sizes)))
    base = units.expand(units.scaled(ones)) * predictions.weights()
    return Part(index, base, _draw_weights(predictions, units, rng, resamples))


def _draw_weights(
    predictions: Predictions, units: _Units, rng: np.random.Generator, resamples: int
) -> Iterator[Float64Array]:
    weight = None if predictions.weight is None else predictions.weights()
    chunk = max(1, min(resamples, CHUNK // max(1, len(predictions))))
    for start in range(0, resamples, chunk):
        counts = _draw_counts(rng, min(chunk, resamples - start), units.sizes)
        weights = units.expand(units.scaled(counts))
        if weight is not None:
            weights *= weight
        yield weights


def _is_stratified(predictions: Predictions) -> bool:
    return TASK_RULES[predictions.task].is_exclusive and predictions.group is None


def _all_units(predictions: Predictions) -> _Units:
    if predictions.group is not None:
        groups, member = np.unique(predictions.group, return_inverse=True)
        return _Units((len(groups),), (len(groups),), member)
    sizes = _stratum_sizes(predictions)
    return _Units(sizes, sizes, None)


def _stratum_sizes(predictions: Predictions) -> tuple[int, ...]:
    if not _is_stratified(predictions):
        return (len(predictions),)
    return tuple(np.bincount(class_indices(predictions.y), minlength=1).tolist())


def _choose_units(predictions: Predictions, rng: np.random.Generator) -> tuple[IntArray, _Units]:
    """Choose a part of the rows, with the same fraction of each class but of rare ones; or of groups."""
    fraction = PART_ROWS / len(predictions)
    if predictions.group is not None:
        groups, member = np.unique(predictions.group, return_inverse=True)
        size = _part_size(len(groups), fraction)
        position = np.full(len(groups), -1)
        position[_choose(rng, len(groups), size)] = np.arange(size)
        index = np.flatnonzero(position[member] >= 0)
        return index, _Units((len(groups),), (size,), position[member[index]])
    totals = _stratum_sizes(predictions)
    sizes = tuple(_part_size(total, fraction) for total in totals)
    starts = np.cumsum((0, *totals))
    chosen = [
        start + _choose(rng, total, size)
        for start, total, size in zip(starts, totals, sizes, strict=False)
    ]
    return np.concatenate(chosen), _Units(totals, sizes, None)


def _part_size(total: int, fraction: float) -> int:
    return min(total, max(_SMALLEST, round(total * fraction)))


def _choose(rng: np.random.Generator, total: int, size: int) -> IntArray:
    chosen: IntArray = np.sort(rng.choice(total, size, replace=False, shuffle=False))
    return chosen


def _draw_counts(rng: np.random.Generator, resamples: int, sizes: tuple[int, ...]) -> Float64Array:
    """Draw as many units from each stratum as it has; return the multiplicities (resamples, Σ sizes)."""
    total = sum(sizes)
    offsets = np.arange(resamples, dtype=np.intp)[:, None] * total
    drawn = np.empty((resamples, total), np.intp)
    start = 0
    for size in sizes:
        if size:
            index = rng.integers(0, size, (resamples, size), dtype=np.uint32)
            np.add(index, offsets + start, out=drawn[:, start : start + size])
        start += size
    counts = np.bincount(drawn.ravel(), minlength=resamples * total)
    return counts.reshape(resamples, total).astype(np.float64)

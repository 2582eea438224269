"""Target encoding: the mean target of a category's training rows, shrunk toward that of all rows.

    mean(level, target) = (sum + 10 · prior) / (rows + 10),    prior = the mean of all training rows

An encoded value is (mean - prior) / scale for each target, and the standardized log(1 + rows). A value
without training rows has the prior and 0 rows.

The target of a training row must not be part of its own input, or the network would learn to copy it.
So training rows are divided into five folds by a hash of their row number, and the sums for a training
row are those of the other folds (the number of rows is that of all). Validation, test and new rows have
the sums of all training rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.hashing import row_keys

FOLDS = 5
SMOOTHING = 10.0
MIN_ROWS = 3
"""A level with fewer rows has hardly any rows in the other folds."""
MIN_SHARE = 0.5
"""Minimum fraction of training rows whose level has `MIN_ROWS`; otherwise the means are noise, which
scaling would amplify."""

_SEED = 0x7A26E7
"""Differs from the seeds of splits and samples, which use the same hash."""


class TargetMeans(FittedBase):
    """Fitted sums of the target by level.

    Attributes:
        prior: The mean of each target over the training rows; targets are as the network predicts
            them: 0 and 1 for classes, scaled numbers for regression.
        rows: For each fold, the training rows of each level.
        sums: For each target and fold, the sum of each level.
        scale: For each target, the standard deviation of the means of the training rows.
        rows_center: Mean of log(1 + rows) over the training rows.
        rows_scale: Its standard deviation.
    """

    prior: tuple[float, ...]
    rows: tuple[tuple[int, ...], ...]
    sums: tuple[tuple[tuple[float, ...], ...], ...]
    scale: tuple[float, ...]
    rows_center: float
    rows_scale: float

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.prior) + 1

    @property
    def levels(self) -> int:
        return len(self.rows[0])

    def encode(self, codes: RowIndex, folds: RowIndex | None = None) -> Float64Array:
        """Return the inputs, (n, width).

        Args:
            codes: (n,) the level of each row; -1 if it does not occur in training.
            folds: (n,) the fold of each training row; None for other rows.
        """
        encoded: Float64Array = self._table[FOLDS if folds is None else folds, codes]
        return encoded

    @cached_property
    def _table(self) -> Float64Array:
        """The inputs without each fold, then with all: (folds + 1, levels + 1, width).

        The last level is that of values without training rows, and has the code -1.
        """
        rows, sums = np.array(self.rows), np.array(self.sums)
        prior = np.array(self.prior)
        table = np.zeros((FOLDS + 1, self.levels + 1, self.width))
        table[:, :-1, :-1] = (_shrunk(rows, sums, prior) - prior) / np.array(self.scale)
        table[:, :-1, -1] = np.log1p(rows.sum(axis=0))
        table[:, :, -1] = (table[:, :, -1] - self.rows_center) / self.rows_scale
        return table


@dataclass(slots=True)
class TargetSums:
    """Accumulates the rows and sums of each level.

    Attributes:
        keys: int64 (levels,) ascending.
        rows: int64 (folds, levels).
        sums: float64 (targets, folds, levels).
    """

    targets: int
    keys: RowIndex = field(default_factory=lambda: np.empty(0, np.int64))
    rows: RowIndex = field(default_factory=lambda: np.empty((FOLDS, 0), np.int64))
    sums: Float64Array = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.empty((self.targets, FOLDS, 0))

    def add(self, keys: RowIndex, folds: RowIndex, y: Float32Array) -> None:
        """Add training rows with the key of their level, their fold, and their targets (n, targets)."""
        levels, place = np.unique(keys, return_inverse=True)
        cells = folds * len(levels) + place
        size = FOLDS * len(levels)
        rows = np.bincount(cells, minlength=size).reshape(FOLDS, -1)
        sums = [np.bincount(cells, column, size).reshape(FOLDS, -1) for column in y.T]
        merged, place = np.unique(np.concatenate([self.keys, levels]), return_inverse=True)
        # Each of the two has a level once, so that adding by index adds all of it.
        before, added = place[: len(self.keys)], place[len(self.keys) :]
        all_rows = np.zeros((FOLDS, len(merged)), np.int64)
        all_sums = np.zeros((self.targets, FOLDS, len(merged)))
        all_rows[:, before] += self.rows
        all_rows[:, added] += rows
        all_sums[..., before] += self.sums
        all_sums[..., added] += np.stack(sums)
        self.keys, self.rows, self.sums = merged, all_rows, all_sums

    def share_of_frequent(self, total: int) -> float:
        """Return the fraction of `total` rows that share their level with two or more others."""
        rows = self.rows.sum(axis=0)
        return float(rows[rows >= MIN_ROWS].sum() / total)

    def with_levels(self, levels: int) -> TargetSums:
        """Return the sums of the keys 0 … levels-1, in order."""
        dense = TargetSums(self.targets, np.arange(levels), np.zeros((FOLDS, levels), np.int64))
        dense.sums = np.zeros((self.targets, FOLDS, levels))
        dense.rows[:, self.keys] = self.rows
        dense.sums[..., self.keys] = self.sums
        return dense

    def fitted(self, prior: Float64Array, total: int) -> TargetMeans:
        """Fit the scales.

        Args:
            prior: The mean of each target over the training rows.
            total: The number of training rows; those without a level have the prior and 0 rows.
        """
        means = _shrunk(self.rows, self.sums, prior)[:-1]
        share = self.rows / total
        shift = means - prior
        center = np.einsum("fl,flk->k", share, shift)
        variance = np.einsum("fl,flk->k", share, shift**2) - center**2
        scale = np.sqrt(np.maximum(variance, 0))
        logs, level_share = np.log1p(self.rows.sum(axis=0)), share.sum(axis=0)
        rows_center = float(level_share @ logs)
        rows_variance = float(level_share @ logs**2) - rows_center**2
        return TargetMeans(
            prior=tuple(prior.tolist()),
            rows=tuple(map(tuple, self.rows.tolist())),
            sums=tuple(tuple(map(tuple, folds)) for folds in self.sums.tolist()),
            scale=tuple(value if value > 1e-9 else 1.0 for value in scale.tolist()),
            rows_center=rows_center,
            rows_scale=rows_variance**0.5 if rows_variance > 1e-9 else 1.0,
        )


def target_folds(rows: RowIndex) -> RowIndex:
    """Return the fold of each row number: a hash of it, equal in memory and in a stream."""
    folds: RowIndex = (row_keys(_SEED, rows) % np.uint64(FOLDS)).astype(np.int64)
    return folds


def target_mean_names(name: str, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the inputs of a column; without targets if there is only one."""
    means = [f"{name}.target_mean={target}" for target in targets]
    if len(targets) == 1:
        means = [f"{name}.target_mean"]
    return (*means, f"{name}.log_count")


def _shrunk(rows: RowIndex, sums: Float64Array, prior: Float64Array) -> Float64Array:
    """Return the shrunk means without each fold, then of all: (folds + 1, levels, targets)."""
    own_rows = np.concatenate([rows, np.zeros((1, rows.shape[1]), rows.dtype)])
    own_sums = np.concatenate([sums, np.zeros((len(sums), 1, rows.shape[1]))], axis=1)
    other_rows = rows.sum(axis=0) - own_rows
    other_sums = np.moveaxis(sums.sum(axis=1)[:, None] - own_sums, 0, -1)
    means: Float64Array = (other_sums + SMOOTHING * prior) / (other_rows[..., None] + SMOOTHING)
    return means

"""The measures of numbers for many weightings of the same rows at once.

Owns: from truth and predictions to every measure of a regression. The definitions are those of
`trainer.models.deviations`; that computes one weighting. Does not own: names and parts as a user sees
them (`measures`), the weightings (`bootstrap`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.evaluation.answers import Answers, Doubles

NEAR_ZERO = 0.01


def is_share_of_target_defined(y: Doubles) -> bool:
    """Whether an error as a share of the target means something.

    Not where a target is nearer to 0 than a hundredth of the median absolute target.
    """
    sizes = np.abs(y)
    return bool(len(y) and sizes.min() > NEAR_ZERO * np.median(sizes))


class NumberJudge:
    """Judges one set of answers of numbers under any weighting of its rows."""

    def __init__(self, answers: Answers, *, ranked: bool) -> None:
        """Sum what can be summed row by row, and sort what has to be sorted.

        Args:
            answers: Of numbers.
            ranked: Whether the median is wanted; it takes most of the time.
        """
        y, p = answers.y.astype(np.float64), answers.p.astype(np.float64)
        over = y - p
        errors = np.abs(over)
        # Moments about a value of the column: those of a constant column are 0 exactly.
        apart = y - y[:1]
        apart = apart - np.where(np.ptp(y, axis=0) > 0, apart.mean(axis=0), 0.0) if len(y) else y
        summed = {"squared": over**2, "mae": errors, "first": apart, "second": apart**2}
        self.shares = tuple(is_share_of_target_defined(column) for column in y.T)
        summed["mape"] = errors / np.maximum(np.abs(y), np.finfo(np.float64).eps)
        self._names, self._parts, self._rows = tuple(summed), y.shape[1], len(y)
        self._summed = np.concatenate(list(summed.values()), axis=1)
        self._order = np.argsort(errors, axis=0, kind="stable") if ranked else None
        self._errors = np.sort(errors, axis=0)

    def judge(self, weights: Doubles) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
        """Every measure of each weighting.

        Args:
            weights: (r, n) of at least 0, each with a sum above 0.

        Returns:
            Of the whole, each (r,): the plain mean over the columns; and of each column, each (r, k).
        """
        sums = weights @ self._summed / weights.sum(axis=1)[:, None]
        k = self._parts
        means = {name: sums[:, i * k : (i + 1) * k] for i, name in enumerate(self._names)}
        squared, first, second = (means.pop(name) for name in ("squared", "first", "second"))
        mape = means.pop("mape")
        parts = {"mae": means.pop("mae"), "mse": squared, "rmse": np.sqrt(squared)}
        parts["r2"] = self._explained(squared, second - first**2, second)
        if self._order is not None:
            parts["median_absolute_error"] = np.stack(
                [self._medians(weights, self._order[:, i], self._errors[:, i]) for i in range(k)],
                axis=1,
            )
        parts["mape"] = np.where(self.shares, mape, np.nan)
        return {name: values.mean(axis=1) for name, values in parts.items()}, parts

    def _explained(self, squared: Doubles, variance: Doubles, second: Doubles) -> Doubles:
        if self._rows < 2:
            return np.full(squared.shape, np.nan)
        # What rounding leaves of rows that are all equal is no variance.
        vary = variance > 1e-12 * second
        constant = np.where(squared > 0, 1.0, 0.0)
        return 1 - np.where(vary, squared / np.where(vary, variance, 1.0), constant)

    @staticmethod
    def _medians(weights: Doubles, order: npt.NDArray[np.intp], errors: Doubles) -> Doubles:
        """The averaged inverse of each weighted distribution function at ½; errors rise."""
        cumulated = np.cumsum(weights.take(order, axis=1), axis=1)
        medians = np.full(len(weights), np.nan)
        if not len(errors):
            return medians
        for row, line in enumerate(cumulated):
            half = 0.5 * line[-1]
            index = int(line.searchsorted(half))
            following = index
            if line[index] - half <= np.finfo(np.float64).eps:
                following = min(int(line.searchsorted(line[index], "right")), len(line) - 1)
            medians[row] = (errors[index] + errors[following]) / 2
        return medians

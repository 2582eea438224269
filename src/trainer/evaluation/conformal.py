"""Intervals of predicted numbers that hold their promise: split conformal prediction.

Owns: the width from validation rows, and its test on others. Does not own: which rows those are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.answers import Doubles, Floats
from trainer.evaluation.intervals import Interval, wilson


@dataclass(frozen=True, slots=True, eq=False)
class Conformal:
    """Half widths of intervals about predictions.

    Attributes:
        half_width: (k,) in the target's unit; inf where there are too few rows to promise `level`.
        level: The share of new rows whose number lies within, on average over validation rows; it
            holds where new rows are exchangeable with the validation rows, whatever the network.
        rows: Of how many validation rows.
    """

    half_width: Doubles
    level: float
    rows: int

    def intervals(self, p: Floats) -> tuple[Doubles, Doubles]:
        """Low and high ends about the predictions, each (n, k)."""
        return p - self.half_width, p + self.half_width


def fit_conformal(y: Floats, p: Floats, level: float = 0.9) -> Conformal:
    """Half widths: of n absolute residuals the ⌈(n + 1) · level⌉-th smallest.

    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, Distribution-free predictive inference for regression,
    2018, algorithm 2. Rows count alike, whatever their weight.

    Args:
        y: (n, k) numbers of validation rows, which the network was not trained on.
        p: (n, k) predictions.
        level: As 0.9.
    """
    # Of 0.9 · 10 rounding may make a little more than 9.
    place = int(np.ceil((len(y) + 1) * level - 1e-9))
    if place > len(y):
        return Conformal(np.full(y.shape[1], np.inf), level, len(y))
    residuals = np.abs(y.astype(np.float64) - p)
    return Conformal(np.partition(residuals, place - 1, axis=0)[place - 1], level, len(y))


def coverage(
    conformal: Conformal, y: Floats, p: Floats, level: float = 0.95
) -> tuple[Interval, ...]:
    """Of other rows, the share whose number lies within, with its Wilson interval; one a column.

    Args:
        conformal: Widths from validation rows.
        y: (n, k) numbers of rows that the widths were not fitted on.
        p: (n, k) predictions.
        level: That of the Wilson interval.
    """
    low, high = conformal.intervals(p.astype(np.float64))
    if not len(y):
        return tuple(Interval(np.nan, 0.0, 1.0) for _ in y.T)
    inside = np.mean((low <= y) & (y <= high), axis=0)
    ends = wilson(inside, np.full(inside.shape, float(len(y))), level)
    return tuple(
        Interval(float(inside[k]), float(ends[0][k]), float(ends[1][k])) for k in range(len(inside))
    )

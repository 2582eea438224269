"""From which probability on a label is positive: the choice for an aim, and what others would give.

Owns: one column of validation rows, every rule `p >= threshold` that differs on them. Does not own: the
use of the threshold; curves without thresholds (`curves`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from trainer.evaluation.answers import Doubles, Floats

POINTS = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """The least cost: what a false positive and a false negative cost, in any unit."""

    false_positive: float
    false_negative: float


@dataclass(frozen=True, slots=True)
class PrecisionFloor:
    """The highest recall at a precision of at least this, from 0 to 1."""

    precision: float


Aim = Literal["f1", "youden"] | Cost | PrecisionFloor
"""youden: the highest recall + specificity - 1 (Youden 1950)."""


@dataclass(frozen=True, slots=True)
class Point:
    """What `p >= threshold` gives; shares are 0 where nothing was to be found or called."""

    threshold: float
    precision: float
    recall: float
    specificity: float
    f1: float
    called: float
    """The share of rows called positive."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The threshold for an aim.

    Attributes:
        threshold: None where the aim cannot be reached: no rule has that precision.
        value: What is reached of the aim: F1, Youden's J, the cost of a row, or the recall; where it
            cannot be reached, the highest precision there is.
        point: All of what the threshold gives, or the nearest that can be reached.
    """

    threshold: float | None
    value: float
    point: Point


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """What thresholds give, each array (m,), thresholds rising; the meanings are those of `Point`."""

    threshold: Doubles
    precision: Doubles
    recall: Doubles
    specificity: Doubles
    f1: Doubles
    called: Doubles

    def at(self, index: int) -> Point:
        """One of them."""
        return Point(
            float(self.threshold[index]),
            float(self.precision[index]),
            float(self.recall[index]),
            float(self.specificity[index]),
            float(self.f1[index]),
            float(self.called[index]),
        )


def choose_threshold(y: Floats, p: Floats, aim: Aim, weight: Doubles | None = None) -> Choice:
    """The threshold that serves the aim best on these rows, which must not be test rows.

    Equal probabilities are on the same side of every threshold; thresholds lie half-way between
    neighbouring probabilities. Of equally good ones the nearest to 0.5 is taken, then the lower.

    Args:
        y: (n,) or (n, 1) of 0 and 1; n at least 1.
        p: Probabilities, of the same shape.
        aim: What is sought.
        weight: (n,) with a sum above 0, or None.
    """
    column = _Column(y, p, weight)
    rules = column.judge(column.rules())
    worst_first: Doubles
    match aim:
        case "f1":
            worst_first = rules.f1
        case "youden":
            worst_first = rules.recall + rules.specificity - 1
        case Cost():
            false = column.false(rules.threshold)
            worst_first = -(aim.false_positive * false[0] + aim.false_negative * false[1])
        case PrecisionFloor():
            enough = (rules.precision >= aim.precision) & (rules.called > 0)
            if not enough.any():
                index = _best(rules.precision, rules.threshold)
                return Choice(None, float(rules.precision[index]), rules.at(index))
            worst_first = np.where(enough, rules.recall, -1.0)
        case _:
            assert_never(aim)
    index = _best(worst_first, rules.threshold)
    value = float(worst_first[index])
    return Choice(
        float(rules.threshold[index]), -value if isinstance(aim, Cost) else value, rules.at(index)
    )


def trade_off(
    y: Floats, p: Floats, weight: Doubles | None = None, points: int = POINTS
) -> TradeOff:
    """What thresholds from 0 to 1 give: half of them evenly spaced, half where the rows are.

    Args:
        y: (n,) or (n, 1) of 0 and 1; n at least 1.
        p: Probabilities, of the same shape.
        weight: (n,) with a sum above 0, or None.
        points: About how many.
    """
    column = _Column(y, p, weight)
    rules = column.rules()
    where = np.linspace(0, len(rules) - 1, min(points // 2, len(rules))).round().astype(np.intp)
    even = np.linspace(0, 1, points // 2 + 1)
    return column.judge(np.unique(np.concatenate([even, rules[where]])))


class _Column:
    """The rows sorted by rising probability, their weight summed up."""

    def __init__(self, y: Floats, p: Floats, weight: Doubles | None) -> None:
        truth, said = y.reshape(-1) > 0.5, p.reshape(-1).astype(np.float64)
        rows = np.ones(len(said)) if weight is None else weight.astype(np.float64)
        order = np.argsort(said, kind="stable")
        self._said, rows, truth = said[order], rows[order], truth[order]
        # How much lies at or above each row; none above the last.
        self._hits, self._others = (
            np.append(np.cumsum(part[::-1])[::-1], 0.0) for part in (rows * truth, rows * ~truth)
        )

    def rules(self) -> Doubles:
        """A threshold for every rule that differs on these rows, rising: from all called to none."""
        distinct = np.unique(self._said)
        between = distinct[:-1] + (distinct[1:] - distinct[:-1]) / 2
        # Neighbouring floats have nothing between them.
        between = np.where(between > distinct[:-1], between, distinct[1:])
        last = distinct[-1]
        above = (last + 1) / 2 if last < 1 else last
        above = above if above > last else np.nextafter(last, np.inf)
        return np.concatenate([[distinct[0] / 2], between, [above]])

    def judge(self, thresholds: Doubles) -> TradeOff:
        first = np.searchsorted(self._said, thresholds, side="left")
        hits, others = self._hits[first], self._others[first]
        positive, negative = self._hits[0], self._others[0]
        return TradeOff(
            thresholds,
            _share(hits, hits + others),
            _share(hits, positive),
            _share(negative - others, negative),
            _share(2 * hits, hits + others + positive),
            (hits + others) / (positive + negative),
        )

    def false(self, thresholds: Doubles) -> tuple[Doubles, Doubles]:
        """The share of all rows that is a false positive, and a false negative."""
        first = np.searchsorted(self._said, thresholds, side="left")
        total = self._hits[0] + self._others[0]
        return self._others[first] / total, (self._hits[0] - self._hits[first]) / total


def _best(values: Doubles, thresholds: Doubles) -> int:
    # What rounding tells apart is equal.
    equal = np.flatnonzero(values >= values.max() - 1e-12)
    return int(equal[np.argmin(np.abs(thresholds[equal] - 0.5))])


def _share(part: Doubles, whole: Doubles | np.floating) -> Doubles:
    """The quotient, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=np.asarray(whole) > 0)

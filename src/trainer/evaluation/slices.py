"""Where does it fail: measures of parts of the rows, the worst parts, the worst rows.

Owns: parts of the rows by one column or two, and which of them are worse than chance explains. Does
not own: the columns' values and the names of their levels.

A search looks at many parts, and some small one always looks bad. So parts are ranked by how far the
better end of their interval lies from the value of all rows, and each is told with the probability that
a random part of the rows of that size does as badly, times the number of parts looked at (Bonferroni).
That probability is bounded from above, whatever the losses' distribution: Hoeffding 1963, theorems 1
and 4 (a sample without replacement), with the losses' own moment generating function; it is about five
times too high, never too low, where rows are independent and weigh the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from trainer.evaluation.answers import Answers, Bools, Doubles, Integers
from trainer.evaluation.bootstrap import bootstrap
from trainer.evaluation.intervals import Interval, rows_worth, wilson
from trainer.evaluation.labels import call

MISSING = "(missing)"
LEAST_ROWS, LEAST_SHARE = 20, 0.02
TILTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column as levels.

    Attributes:
        codes: (n,) the level of each row, from 0; below 0 where the value is missing.
        levels: Their names.
    """

    codes: Integers
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the rows, and a measure of them.

    Attributes:
        where: Column and level, of one column or two.
        rows: How many.
        value: The measure with its bootstrap interval; nan where it is not defined.
        chance: Of a search: at most the probability that any part looked at does as badly by chance.
            None where nothing was searched for.
    """

    where: tuple[tuple[str, str], ...]
    rows: int
    value: Interval
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Worst:
    """What a search found.

    Attributes:
        measure: accuracy for classes, rmse for numbers.
        whole: Of all rows.
        slices: The worst first; only such as are worse than all rows even at their better end.
        looked_at: How many parts were large enough to be looked at.
    """

    measure: str
    whole: float
    slices: tuple[Slice, ...]
    looked_at: int


def bin_numbers(values: npt.NDArray[np.floating], bins: int = 4) -> Column:
    """A numeric column as bins of about equally many rows: quartiles unless stated.

    Args:
        values: (n,); nan is missing. Equal values share a bin, so there may be fewer.
        bins: At most how many.
    """
    present = np.isfinite(values)
    if not present.any():
        return Column(np.full(len(values), -1), ())
    inner = np.quantile(values[present], np.linspace(0, 1, bins + 1)[1:-1])
    edges = np.unique(inner[inner < values[present].max()])
    codes = np.where(present, np.searchsorted(edges, values, side="left"), -1)
    words = [f"{edge:.4g}" for edge in edges]
    if not words:
        return Column(codes, (f"{values[present].max():.4g}",))
    between = [f"> {low}, ≤ {high}" for low, high in pairwise(words)]
    return Column(codes, (f"≤ {words[0]}", *between, f"> {words[-1]}"))


def measure_slices(
    answers: Answers,
    columns: Mapping[str, Column],
    measure: str | None = None,
    *,
    threshold: float = 0.5,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Slice]:
    """The measure of each level of each column that has rows.

    Args:
        answers: What is judged.
        columns: By name.
        measure: One that `measure_all` gives; None for accuracy, or rmse of numbers.
        threshold: From which probability on a label is positive (binary, multilabel).
        resamples: Of each interval.
        level: That of the intervals.
        seed: What is drawn with.
    """
    name = measure or _usual(answers)
    return [
        _measure(answers, part, name, threshold, resamples, level, seed)
        for part in _singles(columns)
        if part.inside.any()
    ]


def find_worst(
    answers: Answers,
    columns: Mapping[str, Column],
    *,
    most: int = 10,
    threshold: float = 0.5,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> Worst:
    """The parts on which the answers are worst: levels of one column, or of two at once.

    Looked at are those with at least 20 rows and 2% of the rows. A pair is left out where it is the
    same rows as one of its levels. With groups, a part counts as many rows as it has groups.

    Args:
        answers: What is judged, by accuracy, or by RMSE.
        columns: By name.
        most: How many to return.
        threshold: From which probability on a label is positive (binary, multilabel).
        resamples: Of each interval.
        level: That of the intervals.
        seed: What is drawn with.
    """
    name = _usual(answers)
    losses, weights = row_losses(answers, name, threshold), answers.weights()
    if not weights.sum() > 0 or not np.isfinite(losses).all():
        return Worst(name, float("nan"), (), 0)
    mean = float(np.average(losses, weights=weights))
    bound = _Bound(losses, weights)
    least = max(LEAST_ROWS, int(np.ceil(LEAST_SHARE * len(answers))))
    found: list[tuple[float, float, _Part]] = []
    looked_at = 0
    for part in (*_singles(columns), *_pairs(columns)):
        index = np.flatnonzero(part.inside)
        if len(index) < least or len(index) == len(answers) or not weights[index].any():
            continue
        looked_at += 1
        own, worth = losses[index], _worth(answers, index)
        of_part = float(np.average(own, weights=weights[index]))
        better = _better_end(own, weights[index], worth, of_part, level, shares=name == "accuracy")
        if better > mean:
            found.append((better - mean, bound.chance(of_part, worth), part))
    # Of equal ones the first looked at: single columns before pairs.
    found.sort(key=lambda each: -each[0])
    slices = []
    for _, chance, part in found[:most]:
        measured = _measure(answers, part, name, threshold, resamples, level, seed)
        slices.append(
            Slice(measured.where, measured.rows, measured.value, min(1.0, chance * looked_at))
        )
    whole = float(np.sqrt(mean)) if name == "rmse" else 1 - mean
    return Worst(name, whole, tuple(slices), looked_at)


def row_losses(answers: Answers, measure: str, threshold: float = 0.5) -> Doubles:
    """What each row adds to one of: accuracy (the share of its labels that is wrong), rmse (the mean
    squared error of its columns), log_loss. (n,), at least 0.
    """
    y, p = answers.y, answers.p.astype(np.float64)
    losses: Doubles
    match measure:
        case "rmse":
            losses = ((p - y) ** 2).mean(axis=1)
        case "accuracy" if answers.task == "multiclass":
            losses = (np.argmax(y, axis=1) != np.argmax(p, axis=1)).astype(np.float64)
        case "accuracy":
            losses = (call(answers.task, p, threshold) != (y > 0.5)).mean(axis=1)
        case "log_loss":
            epsilon = np.finfo(answers.p.dtype).eps
            kept = np.clip(p, epsilon, 1 - epsilon)
            if answers.task == "multiclass":
                losses = -np.where(y > 0.5, np.log(kept), 0.0).sum(axis=1)
            else:
                losses = -np.where(y > 0.5, np.log(kept), np.log1p(-kept)).mean(axis=1)
        case _:
            raise AssertionError(f"{measure} is no sum over rows")
    return losses


def worst_rows(answers: Answers, count: int) -> tuple[npt.NDArray[np.intp], Doubles]:
    """The rows with the largest loss: log loss for classes, squared error for numbers.

    Weights do not count. Numbers of several columns are held against each column's deviation.

    Returns:
        Places in `answers` and losses, the largest first; of equal ones the lower row number.
    """
    if answers.task != "regression":
        losses = row_losses(answers, "log_loss")
    else:
        squares = (answers.y.astype(np.float64) - answers.p) ** 2
        if squares.shape[1] > 1:
            variance = answers.y.astype(np.float64).var(axis=0)
            squares /= np.where(variance > 0, variance, 1.0)
        losses = squares.mean(axis=1)
    order = np.lexsort((answers.rows, -losses))[:count]
    return order, losses[order]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    where: tuple[tuple[str, str], ...]
    inside: Bools


class _Bound:
    """The probability that a random part of the rows has so high a mean loss, bounded from above."""

    def __init__(self, losses: Doubles, weights: Doubles) -> None:
        share = weights / weights.sum()
        middle = float(share @ losses)
        apart = losses - middle
        deviation = float(np.sqrt(share @ apart**2))
        self._middle, self._scale = middle, deviation if deviation > 0 else 1.0
        apart /= self._scale
        # Every tilt gives a bound, so a grid of them is no approximation of it.
        self._tilts = np.geomspace(1e-3, 50, TILTS)
        self._generating = np.array([_log_mean_exp(t * apart, share) for t in self._tilts])

    def chance(self, mean: float, worth: float) -> float:
        apart = (mean - self._middle) / self._scale
        exponents = self._tilts * apart - self._generating
        return float(np.exp(-worth * max(0.0, float(exponents.max()))))


def _log_mean_exp(values: Doubles, share: Doubles) -> float:
    highest = float(values.max())
    return highest + float(np.log(share @ np.exp(values - highest)))


def _better_end(
    losses: Doubles, weights: Doubles, worth: float, mean: float, level: float, *, shares: bool
) -> float:
    """The low end of the interval of a part's mean loss."""
    if shares:
        return float(wilson(np.array(mean), np.array(worth), level)[0])
    z = NormalDist().inv_cdf((1 + level) / 2)
    variance = float(np.average((losses - mean) ** 2, weights=weights))
    return mean - z * float(np.sqrt(variance / max(worth - 1, 1e-12)))


def _worth(answers: Answers, index: npt.NDArray[np.intp]) -> float:
    """How many independent rows of equal weight the rows are worth."""
    weights = answers.weights()[index]
    if answers.group is not None:
        _, member = np.unique(answers.group[index], return_inverse=True)
        weights = np.bincount(member, weights).astype(np.float64)
    return rows_worth(weights)


def _singles(columns: Mapping[str, Column]) -> Iterator[_Part]:
    for name, column in columns.items():
        for code, level in _levels(column):
            yield _Part(((name, level),), _is_level(column, code))


def _pairs(columns: Mapping[str, Column]) -> Iterator[_Part]:
    for (first, one), (second, two) in combinations(columns.items(), 2):
        insides = [(level, _is_level(two, code)) for code, level in _levels(two)]
        for code, level in _levels(one):
            outer = _is_level(one, code)
            for other, inner in insides:
                inside = outer & inner
                if inside.sum() < min(outer.sum(), inner.sum()):
                    yield _Part(((first, level), (second, other)), inside)


def _levels(column: Column) -> list[tuple[int, str]]:
    levels = list(enumerate(column.levels))
    return [*levels, (-1, MISSING)] if (column.codes < 0).any() else levels


def _is_level(column: Column, code: int) -> Bools:
    return np.asarray(column.codes < 0 if code < 0 else column.codes == code)


def _usual(answers: Answers) -> str:
    return "rmse" if answers.task == "regression" else "accuracy"


def _measure(
    answers: Answers,
    part: _Part,
    measure: str,
    threshold: float,
    resamples: int,
    level: float,
    seed: int,
) -> Slice:
    found = bootstrap(
        answers.take(part.inside),
        threshold=threshold,
        names=(measure,),
        resamples=resamples,
        level=level,
        seed=seed,
    )
    return Slice(part.where, int(part.inside.sum()), found[measure])

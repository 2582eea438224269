"""How sure a measure is: percentile bootstrap intervals, of one set of answers and of a difference.

Owns: drawing rows, and what the draws say. Does not own: the measures (`measures`).

Rows are drawn with replacement (Efron & Tibshirani 1993, chapter 13): of each class as many as it has,
so that a rare class is in every resample; by whole groups where there are groups, as many as there
are, whatever their classes; else, for numbers and yes/no columns, all rows alike. A row brings its
weight along. All measures are those of the same resamples. The same seed gives the same intervals,
whatever the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.evaluation.answers import Answers, Doubles
from trainer.evaluation.intervals import Interval, percentiles
from trainer.evaluation.measures import Judge

RESAMPLES = 1_000
CHUNK = 800_000
"""About how many weights are drawn at once: few enough to stay near the processor."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a measure of one set of answers is above that of another; nan where undefined.

    Attributes:
        value: The first minus the second.
        low: The low end of its interval.
        high: The high end of its interval.
        is_noise: Whether the interval contains 0, or is not defined.
    """

    value: float
    low: float
    high: float
    is_noise: bool


def bootstrap(
    answers: Answers,
    *,
    threshold: float = 0.5,
    names: Collection[str] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each measure with its interval.

    Args:
        answers: What is judged.
        threshold: From which probability on a label is positive (binary, multilabel).
        names: Only these measures; None for all that `measure_all` gives. Areas under curves and
            medians take most of the time, and grow with the number of classes.
        resamples: How many are drawn.
        level: The share of draws between the ends.
        seed: What is drawn with.

    Returns:
        Name → interval. A measure that is not defined in some resamples has the interval of those in
        which it is; a set of answers without rows has nan everywhere.
    """
    answers = _sort(answers)
    judge = Judge(answers, threshold, names)
    (values,) = judge.measure(answers.weights()[None, :])
    draws = np.concatenate([judge.measure(w) for w in _draw(answers, resamples, seed)])
    low, high = percentiles(draws, level)
    return {
        name: Interval(float(values[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(judge.names)
    }


def compare(
    answers: Answers,
    other: Answers,
    *,
    threshold: float = 0.5,
    other_threshold: float | None = None,
    names: Collection[str] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """Each measure of the first set of answers minus that of the other, with its interval.

    Both are measured on the same resamples, so what makes a row easy or hard for both cancels.

    Args:
        answers: The first set.
        other: Another set for the same rows, in any order.
        threshold: From which probability on a label is positive (binary, multilabel).
        other_threshold: That of the other set; None for the same.
        names: As for `bootstrap`.
        resamples: How many are drawn.
        level: The share of draws between the ends.
        seed: What is drawn with.

    Raises:
        ValueError: The two are not answers for the same rows.
    """
    answers, other = _sort(answers), _sort(other)
    if not (answers.task == other.task and np.array_equal(answers.y, other.y)
            and np.array_equal(answers.rows, other.rows)):  # fmt: skip
        raise ValueError("the two sets of answers are not for the same rows")
    first = Judge(answers, threshold, names)
    second = Judge(other, threshold if other_threshold is None else other_threshold, names)
    weights = answers.weights()[None, :]
    values = (first.measure(weights) - second.measure(weights))[0]
    draws = np.concatenate(
        [first.measure(w) - second.measure(w) for w in _draw(answers, resamples, seed)]
    )
    low, high = percentiles(draws, level)
    return {
        name: Difference(
            float(values[i]),
            float(low[i]),
            float(high[i]),
            is_noise=not (low[i] > 0 or high[i] < 0),
        )
        for i, name in enumerate(first.names)
    }


def _sort(answers: Answers) -> Answers:
    """By class, then by the row's number: so equal rows in another order have equal draws."""
    if answers.task in ("binary", "multiclass") and answers.group is None:
        return answers.take(np.lexsort((answers.rows, _classes(answers))))
    return answers.take(np.argsort(answers.rows, kind="stable"))


def _classes(answers: Answers) -> npt.NDArray[np.intp]:
    if answers.task == "binary":
        return (answers.y[:, 0] > 0.5).astype(np.intp)
    numbers: npt.NDArray[np.intp] = np.argmax(answers.y, axis=1)
    return numbers


def _draw(answers: Answers, resamples: int, seed: int) -> Iterator[Doubles]:
    """The rows' weights in each resample, (some, n) at a time."""
    count = _counting(answers)
    weight = None if answers.weight is None else answers.weights()
    random = np.random.default_rng(seed)
    at_once = max(1, min(resamples, CHUNK // max(1, len(answers))))
    for begin in range(0, resamples, at_once):
        weights = count(random, min(at_once, resamples - begin))
        if weight is not None:
            weights *= weight
        yield weights


def _counting(answers: Answers) -> Callable[[np.random.Generator, int], Doubles]:
    """The function that draws how often each row is taken, (resamples, n)."""
    rows = len(answers)
    if answers.group is not None:
        groups, member = np.unique(answers.group, return_inverse=True)
        whole = (len(groups),)
        return lambda random, resamples: _count(random, resamples, whole).take(member, axis=1)
    sizes: tuple[int, ...] = (rows,)
    if answers.task in ("binary", "multiclass"):
        sizes = tuple(np.bincount(_classes(answers), minlength=1).tolist())
    return lambda random, resamples: _count(random, resamples, sizes)


def _count(random: np.random.Generator, resamples: int, sizes: tuple[int, ...]) -> Doubles:
    """(resamples, Σ sizes) how often each is drawn, of each stratum as many as it has."""
    total = sum(sizes)
    line = np.arange(resamples, dtype=np.intp)[:, None] * total
    drawn = np.empty((resamples, total), np.intp)
    begin = 0
    for size in sizes:
        if size:
            places = random.integers(0, size, (resamples, size), dtype=np.uint32)
            np.add(places, line + begin, out=drawn[:, begin : begin + size])
        begin += size
    counts = np.bincount(drawn.ravel(), minlength=resamples * total)
    return counts.reshape(resamples, total).astype(np.float64)

"""Permutation importance: how much a metric worsens when a column is shuffled (Breiman 2001).

Each column of the table is shuffled over the rows, all its encoded columns together, `repeats` times;
its drop is the mean decrease of the metric. The model is not retrained, so what it could learn from
other columns does not count. Correlated columns share their importance, or hide it.

The interval of a drop is drop ± z √(V + s² / repeats), with z of the normal distribution, s the standard
deviation between the repeats (variation of the shuffles) and V the variance over samples of rows, from
the influence of the rows on the mean drop (`influence`). Student's interval, of the variation between
repeats alone, holds for these very rows only: noise on which a model overfits a little shifts all
repeats in the same direction and would seem significant (in 1,000 simulated tables of 100 rows it
contained the 0 of such a column in 68% of cases at a level of 95%; this interval in 96%). V counts a
column's effect in the rows it is taken from and given to as if they were two samples; the interval is
slightly too wide rather than too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from trainer.data.splits import SplitName
from trainer.explain.perturbations import (
    EncodedRows,
    Perturbation,
    PredictFn,
    column_names,
    predict_perturbed,
)
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.evaluator import is_higher_better
from trainer.metrics.influence import HeadlineMetric, headline, influence_function
from trainer.runs.explanations import ColumnDrop, ImportanceFile
from trainer.runs.records import to_json
from trainer.task_names import TaskName

REPEATS = 5
MAX_ROWS = 200_000
_AUTOMATIC_ROWS, _AUTOMATIC_VALUES = 20_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class ColumnImportance:
    """The importance of one column.

    Attributes:
        column: A column of the table.
        drop: How much the metric worsens with it shuffled, the mean over repeats; negative if it
            improves.
        low: Lower bound of its interval.
        high: Upper bound.
    """

    column: str
    drop: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the drop is significantly above 0."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class PermutationImportance:
    """The importance of every column.

    Attributes:
        metric: The metric.
        baseline: Its value with no column shuffled.
        rows: The number of rows.
        repeats: Shuffles per column.
        columns: Sorted by decreasing drop.
    """

    metric: HeadlineMetric
    baseline: float
    rows: int
    repeats: int
    columns: tuple[ColumnImportance, ...]


@dataclass(frozen=True, slots=True)
class PermutationSettings:
    """How importance is computed.

    Attributes:
        repeats: Shuffles per column, at least 1.
        seed: Seed of the shuffles.
        confidence_level: Confidence level of the intervals, such as 0.95.
    """

    repeats: int = REPEATS
    seed: int = 0
    confidence_level: float = 0.95


def permutation_importance(
    task: TaskName,
    encodings: Sequence[EncodedRows],
    y: FloatArray,
    weight: FloatArray | None,
    predict: PredictFn,
    settings: PermutationSettings,
) -> PermutationImportance:
    """Compute the permutation importance of every column.

    The order of a shuffle depends on the seed and the number of the repeat only.

    Args:
        task: The task.
        encodings: The rows in each encoding; n of them, at least 1.
        y: Targets (n, k) as `trainer.metrics.compute.compute_metrics` takes them.
        weight: (n,) not all 0, or None.
        predict: The predict function.
        settings: Repeats, seed and confidence level.
    """
    names = column_names(encodings)
    metric, repeats = headline(task, y, weight), settings.repeats
    orders = [
        np.random.default_rng([settings.seed, repeat]).permutation(len(y))
        for repeat in range(repeats)
    ]

    def shuffles() -> Iterator[Perturbation | None]:
        yield None
        for name in names:
            for order in orders:
                values = [rows.values_of(name, order) for rows in encodings]
                yield Perturbation(name, values)

    predictions = predict_perturbed(predict, encodings, shuffles(), 1 + len(names) * repeats)
    baseline = influence_function(metric, task, y, next(predictions), weight)
    sign = 1 if is_higher_better(metric) else -1
    z = NormalDist().inv_cdf((1 + settings.confidence_level) / 2)
    columns = []
    for name in names:
        drops = np.empty(repeats)
        influence: Float64Array = np.zeros(len(y))
        for repeat in range(repeats):
            shuffled = influence_function(metric, task, y, next(predictions), weight)
            drops[repeat] = sign * (baseline.value - shuffled.value)
            influence += (baseline.influence - shuffled.influence) / repeats
        drop = float(drops.mean())
        variance = float(np.dot(influence, influence))
        if repeats > 1:
            variance += float(drops.var(ddof=1)) / repeats
        half_width = z * variance**0.5
        columns.append(ColumnImportance(name, drop, drop - half_width, drop + half_width))
    # NaN, from predictions that are not finite, sorts last.
    columns.sort(key=lambda column: (isnan(column.drop), -column.drop))
    return PermutationImportance(metric, baseline.value, len(y), repeats, tuple(columns))


def should_compute_importance(
    setting: Literal["auto"] | bool, rows: int, columns: int, inputs: int
) -> bool:
    """Return whether training ends with permutation importance.

    Auto: if its predictions take a few seconds at most: up to 20 million rows with up to a billion
    values.

    Args:
        setting: `evaluate.importance`.
        rows: Validation rows.
        columns: Feature columns of the table.
        inputs: Values of an encoded row.
    """
    if setting == "auto":
        predicted = rows * columns * REPEATS
        setting = predicted <= _AUTOMATIC_ROWS and predicted * inputs <= _AUTOMATIC_VALUES
    return setting and rows > 0 and columns > 0


def compute_importance(
    task: TaskName,
    rows: EncodedRows,
    y: FloatArray,
    weight: FloatArray | None,
    predict: PredictFn,
    split: SplitName,
    settings: PermutationSettings,
) -> dict[str, Any]:
    """Compute the content of `explanation/importance.json` for a network in memory, without the
    seconds, which differ between runs.

    Args:
        task: The task.
        rows: All rows of the split.
        y: Their targets (n, k) in the form of predictions.
        weight: (n,) not all 0, or None.
        predict: The predict function.
        split: The name of the split.
        settings: Repeats, seed and confidence level. The seed also draws the rows if there are more
            than 200,000.
    """
    used, split_rows = rows, len(y)
    if split_rows > MAX_ROWS:
        drawn = np.sort(
            np.random.default_rng(settings.seed).choice(split_rows, MAX_ROWS, replace=False)
        )
        used = rows.subset(drawn)
        y, weight = y[drawn], None if weight is None else weight[drawn]
    importance = permutation_importance(
        task,
        [used],
        y,
        weight,
        predict,
        settings,
    )
    return importance_json(importance, split, split_rows, settings.confidence_level)


def importance_json(
    importance: PermutationImportance, split: SplitName, split_rows: int, level: float
) -> dict[str, Any]:
    """Return the JSON of an importance.

    Args:
        importance: The importance.
        split: The split of its rows.
        split_rows: The number of rows of the split.
        level: The confidence level of the intervals.
    """
    columns = tuple(
        ColumnDrop(column.column, column.drop, column.low, column.high, column.is_significant)
        for column in importance.columns
    )
    record = ImportanceFile(
        split=split,
        rows=importance.rows,
        repeats=importance.repeats,
        metric=importance.metric,
        baseline=importance.baseline,
        columns=columns,
        split_rows=split_rows,
        confidence_level=level,
    )
    importance_record: dict[str, Any] = to_json(record)
    del importance_record["seconds"]  # Files written by training must be reproducible byte by byte.
    return importance_record

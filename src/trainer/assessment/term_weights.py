"""The terms of texts with the largest weights in the linear baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from trainer.assessment.baselines import LinearModel
from trainer.assessment.sparse_terms import SCALE
from trainer.config.task_rules import TASK_RULES
from trainer.data.preprocessing import Preprocessing
from trainer.runs.findings import TermWeights
from trainer.tasks.task import Task

_SHOWN_TERMS, _SHOWN_OUTPUTS = 12, 10


def largest_term_weights(
    task: Task, fitted: Sequence[tuple[Preprocessing, LinearModel]]
) -> tuple[TermWeights, ...]:
    """Return the terms of each column of text with the largest mean weights for each output.

    A weight is the change of the output by a text that consists of the term alone. A term that does not
    occur in the training rows of a fold has the weight 0 there. With two classes, or for numbers,
    terms have positive or negative weights; otherwise positive ones.

    Args:
        task: The task.
        fitted: The columns and the model of each fold.
    """
    names = task.prediction_names
    totals: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * len(names))
    for preprocessing, model in fitted:
        if model.term_weights is None:
            continue
        first = 1
        for column in preprocessing.texts:
            weights = model.term_weights[first : first + column.term_count] * SCALE / len(fitted)
            first += column.term_count
            for term, values in zip(column.terms, weights.tolist(), strict=True):
                total = totals[column.name, term]
                for index, value in enumerate(values):
                    total[index] += value
    has_negative = not TASK_RULES[task.name].predicts_most_likely
    by_column: dict[str, list[tuple[str, list[float]]]] = defaultdict(list)
    for (column_name, term), values in totals.items():
        by_column[column_name].append((term, values))
    return tuple(
        TermWeights(column_name, name, _largest(terms, index, has_negative=has_negative))
        for column_name, terms in by_column.items()
        for index, name in enumerate(names[:_SHOWN_OUTPUTS])
    )


def _largest(
    terms: Sequence[tuple[str, list[float]]], index: int, *, has_negative: bool
) -> dict[str, float]:
    """Return the terms with the largest weights, and those with the smallest."""
    weights = np.array([values[index] for _, values in terms])
    order = np.argsort(-weights, kind="stable")
    chosen = [place for place in order[:_SHOWN_TERMS] if weights[place] > 0]
    if has_negative:
        chosen += [place for place in order[-_SHOWN_TERMS:] if weights[place] < 0]
    return {terms[place][0]: float(weights[place]) for place in chosen}

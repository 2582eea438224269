"""Rows whose label a network that had not learnt them doubts.

Confident learning (Northcutt, Jiang and Chuang 2021): a row counts as confidently of a class when its
probability is at least the mean probability of that class among the rows labelled so; of several, the
most probable. Rows that are confidently of another class than their label, the off-diagonal of the
confident joint, are suspects.

Owns: the rule. Does not own: where the answers come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A row whose label is doubted.

    Attributes:
        row: Its source row, from 0.
        given: The class it is labelled with.
        likely: The class that the network is confident of.
        probability: Of the given class.
    """

    row: int
    given: str
    likely: str
    probability: float


def find_label_issues(
    rows: RowIndex, given: RowIndex, probabilities: Float64Array, classes: tuple[str, ...]
) -> list[LabelIssue]:
    """The suspects, the least probable label first.

    Args:
        rows: int64 (n,), source rows.
        given: int64 (n,), the number of the class each is labelled with.
        probabilities: (n, classes), each row's sum 1, from a network that was not trained on the row.
        classes: Their names.
    """
    thresholds = np.full(len(classes), np.inf)
    for number in np.unique(given):
        thresholds[number] = probabilities[given == number, number].mean()
    confident = probabilities >= thresholds
    likely = np.where(confident, probabilities, -1.0).argmax(axis=1)
    own = probabilities[np.arange(len(given)), given]
    at = np.flatnonzero(confident.any(axis=1) & (likely != given))
    at = at[np.argsort(own[at], kind="stable")]
    return [
        LabelIssue(
            int(rows[place]),
            classes[given[place]],
            classes[likely[place]],
            float(own[place]),
        )
        for place in at
    ]

"""Label issues: rows whose label disagrees with a network that was not trained on them.

Confident learning (Northcutt, Jiang and Chuang 2021): a row is confidently predicted as a class if its
probability is at least the mean probability of that class among the rows with that label; if several
classes qualify, the most probable one counts. Rows confidently predicted as a class other than their
label, the off-diagonal of the confident joint, are label issues.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A row whose label is probably wrong.

    Attributes:
        row: Source row, from 0.
        given: The label of the row.
        likely: The confidently predicted class.
        probability: Predicted probability of the label.
    """

    row: int
    given: str
    likely: str
    probability: float


def find_label_issues(
    rows: RowIndex, given: RowIndex, probabilities: Float64Array, classes: tuple[str, ...]
) -> list[LabelIssue]:
    """Return the label issues, the least probable label first.

    Args:
        rows: int64 (n,), source rows.
        given: int64 (n,), class number of each label.
        probabilities: (n, classes), summing to 1 per row, from a network not trained on the row.
        classes: Names of the classes.
    """
    thresholds = np.full(len(classes), np.inf)
    for number in np.unique(given):
        thresholds[number] = probabilities[given == number, number].mean()
    is_confident = probabilities >= thresholds
    likely = np.where(is_confident, probabilities, -1.0).argmax(axis=1)
    label_probability = probabilities[np.arange(len(given)), given]
    issues = np.flatnonzero(is_confident.any(axis=1) & (likely != given))
    issues = issues[np.argsort(label_probability[issues], kind="stable")]
    return [
        LabelIssue(int(rows[i]), classes[given[i]], classes[likely[i]], float(label_probability[i]))
        for i in issues
    ]

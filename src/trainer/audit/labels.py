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
        label: The label of the row.
        predicted: The confidently predicted class.
        probability: Predicted probability of the label.
    """

    row: int
    label: str
    predicted: str
    probability: float


def find_label_issues(
    rows: RowIndex, labels: RowIndex, probabilities: Float64Array, classes: tuple[str, ...]
) -> list[LabelIssue]:
    """Return the label issues, the least probable label first.

    Args:
        rows: int64 (n,), source rows.
        labels: int64 (n,), class number of each label.
        probabilities: (n, classes), each row sums to 1, from a network that was not trained on the row.
        classes: Names of the classes.
    """
    thresholds = np.full(len(classes), np.inf)
    for number in np.unique(labels):
        thresholds[number] = probabilities[labels == number, number].mean()
    is_confident = probabilities >= thresholds
    predicted = np.where(is_confident, probabilities, -1.0).argmax(axis=1)
    label_probability = probabilities[np.arange(len(labels)), labels]
    issues = np.flatnonzero(is_confident.any(axis=1) & (predicted != labels))
    issues = issues[np.argsort(label_probability[issues], kind="stable")]
    return [
        LabelIssue(
            int(rows[i]), classes[labels[i]], classes[predicted[i]], float(label_probability[i])
        )
        for i in issues
    ]

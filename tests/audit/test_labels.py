from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.audit.labels import find_label_issues

CLASSES = ("a", "b", "c")


def make_predictions(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and the probabilities of an accurate network."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    logits = rng.normal(size=(rows, 3)) + 3 * np.eye(3)[labels]
    p = np.exp(logits)
    return labels, p / p.sum(axis=1, keepdims=True)


def test_flipped_labels_are_found():
    labels, p = make_predictions(0, 300)
    confident = np.flatnonzero(p.max(axis=1) > 0.95)[:6]
    labels[confident] = (labels[confident] + 1) % 3
    issues = find_label_issues(np.arange(300) + 1000, labels, p, CLASSES)
    assert {1000 + row for row in confident} <= {issue.row for issue in issues}
    assert [issue.probability for issue in issues] == sorted(issue.probability for issue in issues)
    worst = issues[0]
    assert worst.label == CLASSES[labels[worst.row - 1000]] != worst.predicted
    assert worst.probability == p[worst.row - 1000, labels[worst.row - 1000]]


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(3, 60))
def test_issues_follow_the_definition_of_the_confident_joint(seed, rows):
    labels, p = make_predictions(seed, rows)
    labels[: rows // 5] = (labels[: rows // 5] + 1) % 3
    expected = set()
    mean = {
        k: np.mean([p[i, k] for i in range(rows) if labels[i] == k]) for k in set(labels.tolist())
    }
    for i in range(rows):
        above = [k for k in mean if p[i, k] >= mean[k]]
        if above and max(above, key=lambda k: p[i, k]) != labels[i]:
            expected.add(i)
    order = np.random.default_rng(seed).permutation(rows)
    for row_order in (np.arange(rows), order):
        issues = find_label_issues(
            row_order.astype(np.int64), labels[row_order], p[row_order], CLASSES
        )
        assert {issue.row for issue in issues} == expected

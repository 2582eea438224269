from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.audit.labels import find_label_issues

CLASSES = ("a", "b", "c")


def answers(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a good network."""
    draw = np.random.default_rng(seed)
    given_class = draw.integers(0, 3, rows)
    logits = draw.normal(size=(rows, 3)) + 3 * np.eye(3)[given_class]
    p = np.exp(logits)
    return given_class, p / p.sum(axis=1, keepdims=True)


def test_flipped_labels_are_suspects():
    labels, p = answers(0, 300)
    sure = np.flatnonzero(p.max(axis=1) > 0.95)[:6]
    labels[sure] = (labels[sure] + 1) % 3
    found = find_label_issues(np.arange(300) + 1000, labels, p, CLASSES)
    assert {1000 + row for row in sure} <= {one.row for one in found}
    assert [one.probability for one in found] == sorted(one.probability for one in found)
    worst = found[0]
    assert worst.label == CLASSES[labels[worst.row - 1000]] != worst.predicted
    assert worst.probability == p[worst.row - 1000, labels[worst.row - 1000]]


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(3, 60))
def test_the_confident_joint_as_it_is_defined(seed, rows):
    labels, p = answers(seed, rows)
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
    for at in (np.arange(rows), order):
        found = find_label_issues(at.astype(np.int64), labels[at], p[at], CLASSES)
        assert {one.row for one in found} == expected

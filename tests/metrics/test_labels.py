"""Labels and their metrics agree at the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.metrics import labels
from trainer.metrics.compute import compute_metrics
from trainer.metrics.labels import (
    predicted_labels,
    predicted_positive,
    row_accuracies,
    row_log_losses,
)


@pytest.mark.parametrize("columns", [1, 3])
def test_losses_of_blocks_are_those_of_all_rows(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    p = rng.random((100, columns), np.float32)
    y = (rng.random(p.shape) < p).astype(np.float32)
    expected = labels.log_losses(y, p)
    monkeypatch.setattr(labels, "BLOCK_ROWS", 7)
    np.testing.assert_array_equal(labels.log_losses(y, p), expected)
    exact = -np.log(np.where(y > 0.5, p.astype(float), 1 - p.astype(float)))
    assert expected == pytest.approx(exact)


def test_probability_at_the_threshold_is_positive() -> None:
    assert predicted_positive(np.array([0.49, 0.5, 0.51]), 0.5).tolist() == [False, True, True]


@pytest.mark.parametrize("threshold", [0.7, 0.1, 0.3, 0.9])
def test_neighbors_of_the_threshold_are_compared_in_float64(threshold: float) -> None:
    nearest = np.float32(threshold)
    around = np.array([np.nextafter(nearest, np.float32(0)), nearest,
                       np.nextafter(nearest, np.float32(1))], np.float32)  # fmt: skip
    expected = [float(p) >= threshold for p in around]
    assert predicted_positive(around, threshold).tolist() == expected
    y = np.ones((3, 1), np.float32)
    metrics = compute_metrics(["recall"], "binary", y, around[:, None], None, threshold)
    assert metrics["recall"] == pytest.approx(sum(expected) / 3)


@pytest.mark.parametrize(("task", "columns"), [("binary", 1), ("multiclass", 4), ("multilabel", 3)])
def test_metrics_are_means_over_rows(task: Any, columns: int) -> None:
    rng = np.random.default_rng(columns)
    y = rng.integers(0, 2, (50, columns)).astype(np.float32)
    if task == "multiclass":
        y = np.eye(columns, dtype=np.float32)[rng.integers(0, columns, 50)]
    p, weight = rng.dirichlet(np.ones(columns + 1), 50)[:, :columns].astype(np.float32), None
    metrics = compute_metrics(["accuracy", "log_loss"], task, y, p, weight, 0.3)
    assert row_accuracies(task, y, p, 0.3).mean() == pytest.approx(metrics["accuracy"])
    assert row_log_losses(task, y, p).mean() == pytest.approx(metrics["log_loss"])
    same = (predicted_labels(task, p, 0.3) == (y > 0.5)).all(axis=1)
    if columns == 1 or task == "multiclass":
        assert same.mean() == pytest.approx(metrics["accuracy"])

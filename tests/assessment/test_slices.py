from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.metrics.samples import make_predictions, random_predictions
from trainer.assessment.slices import (
    MISSING,
    SliceColumn,
    bin_numeric,
    evaluate_slices,
    row_losses,
    worst_rows,
)
from trainer.metrics.evaluator import compute_all_metrics


def test_quartiles() -> None:
    values = np.append(np.arange(1.0, 101), np.nan)
    result = bin_numeric(values)
    assert result.levels == ("≤ 25.75", "> 25.75, ≤ 50.5", "> 50.5, ≤ 75.25", "> 75.25")
    assert np.bincount(result.codes[:-1]).tolist() == [25, 25, 25, 25]
    assert result.codes[-1] == -1


def test_equal_values_share_a_bin() -> None:
    result = bin_numeric(np.repeat([0.0, 1.0], [90, 10]))
    assert len(result.levels) == 2
    assert np.bincount(result.codes).tolist() == [90, 10]
    assert bin_numeric(np.full(5, 3.0)).levels == ("3",)
    assert bin_numeric(np.full(5, np.nan)).levels == ()


def test_each_slice_is_evaluated_separately() -> None:
    sample = random_predictions("binary", 120, 0, skill=0.3)
    codes = np.random.default_rng(0).integers(-1, 3, 120)
    result = evaluate_slices(sample, {"x": SliceColumn(codes, ("a", "b", "c", "empty"))}, "auc")
    assert [entry.where for entry in result] == [
        (("x", level),) for level in ("a", "b", "c", MISSING)
    ]
    for entry, code in zip(result, (0, 1, 2, -1), strict=True):
        inside = codes == code
        assert entry.rows == inside.sum()
        assert entry.value.value == pytest.approx(
            roc_auc_score(sample.y[inside, 0], sample.p[inside, 0])
        )
        assert entry.value.low < entry.value.value < entry.value.high
        assert entry.p_value is None


def test_auc_of_single_class_slices_is_undefined() -> None:
    sample = random_predictions("binary", 60, 0)
    result = evaluate_slices(
        sample, {"y": SliceColumn(sample.y[:, 0].astype(int), ("no", "yes"))}, "auc"
    )
    assert [np.isnan(entry.value.value) for entry in result] == [True, True]


def test_mape_is_undefined_in_a_slice_with_zeros() -> None:
    sample = random_predictions("regression", 60, 0, columns=1)
    sample = replace(sample, y=np.append(np.full(30, 100.0), np.full(30, 0.1))[:, None])
    zero = replace(sample, y=np.where(np.arange(60) == 0, 0.0, sample.y[:, 0])[:, None])
    column = {"x": SliceColumn(np.repeat([0, 1], 30), ("a", "b"))}
    values = [entry.value.value for entry in evaluate_slices(zero, column, "mape")]
    assert np.isnan(values[0])
    assert values[1] > 0


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_losses_sum_to_the_metric(task: str) -> None:
    sample = random_predictions(task, 50, 0, columns=1 if task == "regression" else 3)
    expected = compute_all_metrics(sample)
    if task == "regression":
        assert np.sqrt(row_losses(sample, "rmse").mean()) == pytest.approx(expected["rmse"])
        return
    assert 1 - row_losses(sample, "accuracy").mean() == pytest.approx(expected["accuracy"])
    assert row_losses(sample, "log_loss").mean() == pytest.approx(expected["log_loss"])


def test_worst_rows() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.9, 0.9])
    sample = make_predictions("binary", y, p, rows=np.array([40, 30, 20, 10]))
    index, losses = worst_rows(sample, 3)
    # The first and the last have the same loss up to rounding.
    assert sorted(index[:2].tolist()) == [0, 3]
    assert index[2] == 1
    assert losses == pytest.approx([-np.log(0.1), -np.log(0.1), -np.log(0.8)])
    tied = make_predictions("binary", np.ones(3), np.full(3, 0.5), rows=np.array([7, 9, 8]))
    assert tied.rows[worst_rows(tied, 5)[0]].tolist() == [7, 8, 9]
    # Losses are relative to the variance of each column.
    numbers = np.array([[1e6, 0.0], [2e6, 1.0], [3e6, 2.0]])
    wrong = numbers + np.array([[1e5, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert worst_rows(make_predictions("regression", numbers, wrong), 1)[0].tolist() == [1]

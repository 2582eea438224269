from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from tests.metrics.samples import make_predictions, random_predictions
from trainer.assessment import slice_search
from trainer.assessment.intervals import effective_sample_size, wilson_interval
from trainer.assessment.resampling import Resampling
from trainer.assessment.slice_search import find_worst_slices
from trainer.assessment.slices import MISSING, SliceColumn, evaluate_slices, row_losses
from trainer.metrics.evaluator import compute_all_metrics
from trainer.metrics.predictions import Predictions


def columns_of(rows: int, seed: int, count: int = 6, levels: int = 4) -> dict[str, SliceColumn]:
    rng = np.random.default_rng(seed)
    names = tuple("abcdefgh"[:levels])
    return {f"x{i}": SliceColumn(rng.integers(0, levels, rows), names) for i in range(count)}


def mostly_right(rows: int, seed: int, is_hard: np.ndarray) -> Predictions:
    """Make predictions with an accuracy of 90%, and 50% where `is_hard`."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.5).astype(float)
    right = rng.random(rows) < np.where(is_hard, 0.5, 0.9)
    return make_predictions(
        "binary", y, np.where(right, 0.8, 0.2) * y + (1 - y) * np.where(right, 0.2, 0.8)
    )


def test_bad_slice_is_found() -> None:
    columns = columns_of(2_000, 0)
    is_hard = (columns["x1"].codes == 2) & (columns["x4"].codes == 0)
    result = find_worst_slices(mostly_right(2_000, 1, is_hard), columns, resampling=Resampling(200))
    assert result.metric == "accuracy"
    assert result.slices[0].where == (("x1", "c"), ("x4", "a"))
    assert result.slices[0].p_value is not None
    assert result.slices[0].p_value < 0.001
    assert result.slices[0].value.high < result.overall
    # All levels, and all pairs of levels of two columns.
    assert result.searched == 6 * 4 + 15 * 16


def test_false_positive_rate() -> None:
    # 60 tables without a bad slice: few have a significant one.
    significant = 0
    for seed in range(60):
        sample = mostly_right(400, seed, np.zeros(400, bool))
        result = find_worst_slices(sample, columns_of(400, seed + 1, 4), resampling=Resampling(10))
        significant += any(
            entry.p_value < 0.05 for entry in result.slices if entry.p_value is not None
        )
        assert result.searched > 50
    assert significant <= 3


@pytest.mark.parametrize("kind", ["rare", "heavy"])
def test_rare_errors_and_heavy_tails_are_not_significant(kind: str) -> None:
    # Two errors in twenty rows at a rate of 1%: p is 3e-5 in a normal approximation, in fact 0.02.
    significant = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        if kind == "heavy":
            y = rng.normal(size=(1_000, 1))
            sample = make_predictions("regression", y, y + rng.standard_t(2.5, y.shape))
        else:
            y = np.zeros((1_000, 1))
            sample = make_predictions("binary", y, (rng.random(y.shape) < 0.01) * 1.0)
        result = find_worst_slices(
            sample, columns_of(1_000, seed + 1, 3, 6), resampling=Resampling(10)
        )
        significant += any(
            entry.p_value < 0.05 for entry in result.slices if entry.p_value is not None
        )
    assert significant <= 2


def test_regression_uses_rmse() -> None:
    rng = np.random.default_rng(0)
    columns = columns_of(1_000, 0)
    y = rng.normal(size=(1_000, 1))
    spread = np.where(columns["x3"].codes == 1, 3.0, 1.0)[:, None]
    sample = make_predictions("regression", y, y + spread * rng.normal(size=y.shape))
    result = find_worst_slices(sample, columns, limit=3, resampling=Resampling(100))
    assert result.overall == pytest.approx(compute_all_metrics(sample)["rmse"])
    assert len(result.slices) == 3
    assert ("x3", "b") in result.slices[0].where
    alone = next(
        entry for entry in evaluate_slices(sample, columns) if entry.where == (("x3", "b"),)
    )
    assert alone.value.value == pytest.approx(3, rel=0.15)


def test_small_slices_are_not_searched() -> None:
    codes = np.zeros(1_000, int)
    codes[:19] = 1
    sample = mostly_right(1_000, 0, codes == 1)
    assert find_worst_slices(sample, {"x": SliceColumn(codes, ("a", "b"))}).searched == 1


def test_nothing_to_search() -> None:
    sample = random_predictions("binary", 30, 0)
    assert find_worst_slices(sample, {}).slices == ()
    nothing = sample.take(np.zeros(30, bool))
    assert np.isnan(find_worst_slices(nothing, {}).overall)
    right = replace(sample, p=sample.y)
    assert find_worst_slices(right, columns_of(30, 0, 2, 2)).slices == ()


def slices_one_by_one(
    sample: Predictions, columns: dict[str, SliceColumn]
) -> tuple[list[tuple[float, tuple[tuple[str, str], ...]]], int]:
    """Return the lower bound of the loss and the name of each bad slice, worst first, and how many."""
    losses, weights = row_losses(sample, "accuracy"), sample.weights()
    overall = np.average(losses, weights=weights)
    masks = {
        (name, level): column.codes == code
        for name, column in columns.items()
        for code, level in [*enumerate(column.levels), (-1, MISSING)]
    }
    slices = [((key,), mask) for key, mask in masks.items()]
    for (a, mask_a), (b, mask_b) in combinations(masks.items(), 2):
        both = mask_a & mask_b
        if a[0] != b[0] and both.sum() < min(mask_a.sum(), mask_b.sum()):
            slices.append(((a, b), both))
    worse, searched = [], 0
    for where, mask in slices:
        weight = weights[mask]
        if not (max(20, 0.02 * len(sample)) <= mask.sum() < len(sample)) or not weight.any():
            continue
        searched += 1
        mean = np.average(losses[mask], weights=weight)
        if sample.group is not None:
            weight = np.array(
                [weight[sample.group[mask] == group].sum() for group in set(sample.group[mask])]
            )
        low = wilson_interval(np.array(mean), np.array(effective_sample_size(weight)), 0.95)[0]
        if low > overall:
            worse.append((float(low), where))
    return sorted(worse, reverse=True), searched


@pytest.mark.parametrize("kind", ["rows", "weights", "groups"])
def test_all_slices_are_searched(kind: str) -> None:
    rng = np.random.default_rng(3)
    rows = 3_000
    columns = {
        name: SliceColumn(rng.integers(-1, levels, rows), tuple("abcde"[:levels]))
        for name, levels in [("x", 3), ("y", 2), ("z", 5)]
    }
    # The same rows as a level of x: its pairs with x are skipped.
    columns["copy"] = SliceColumn(np.where(columns["x"].codes == 1, 0, 1), ("yes", "no"))
    sample = mostly_right(rows, 4, (columns["x"].codes == 1) & (columns["z"].codes != 0))
    if kind == "weights":
        sample = replace(sample, weight=rng.integers(0, 4, rows).astype(float))
    if kind == "groups":
        sample = replace(sample, group=rng.integers(0, 800, rows))
    expected, searched = slices_one_by_one(sample, columns)
    result = find_worst_slices(sample, columns, limit=8, resampling=Resampling(10))
    assert result.searched == searched
    assert len(expected) > 8
    found = [entry.where for entry in result.slices]
    # Equal slices, such as x: b and copy: yes, are in the order of the columns.
    bounds = {where: low for low, where in expected}
    assert [bounds[where] for where in found] == pytest.approx([low for low, _ in expected[:8]])
    for entry in result.slices:
        inside = np.logical_and.reduce(
            [
                columns[name].codes == (*columns[name].levels, MISSING).index(level)
                if level != MISSING
                else columns[name].codes < 0
                for name, level in entry.where
            ]
        )
        assert entry.rows == inside.sum()


def test_a_large_table_is_searched_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_search, "SEARCHED_ROWS", 2_000)
    columns = columns_of(40_000, 0)
    is_hard = (columns["x1"].codes == 2) & (columns["x4"].codes == 0)
    sample = mostly_right(40_000, 1, is_hard)
    result = find_worst_slices(sample, columns, resampling=Resampling(100))
    assert result.slices[0].where == (("x1", "c"), ("x4", "a"))
    assert result.slices[0].rows == is_hard.sum()
    assert result.overall == pytest.approx(compute_all_metrics(sample)["accuracy"])
    again = find_worst_slices(sample, columns, resampling=Resampling(100))
    assert again == result

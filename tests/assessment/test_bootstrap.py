"""Resampling, coverage of the intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.metrics.samples import make_predictions, random_predictions
from trainer.assessment import resampling as drawing
from trainer.assessment.bootstrap import (
    bootstrap,
    bootstrap_with_differences,
    paired_bootstrap,
)
from trainer.assessment.resampling import Resampling, draw_parts, sort_rows
from trainer.metrics.arrays import Float64Array
from trainer.metrics.compute import compute_metrics
from trainer.metrics.evaluator import compute_all_metrics
from trainer.metrics.predictions import Predictions

TASKS = ("binary", "multiclass", "multilabel", "regression")


def draws_of(sample: Predictions, resamples: int = 300) -> Float64Array:
    (part,) = draw_parts(sort_rows(sample), Resampling(resamples))
    return np.concatenate(list(part.weights))


@pytest.mark.parametrize("task", TASKS)
def test_values_are_computed_on_all_rows(task: str) -> None:
    sample = random_predictions(task, 60, 3, weight=np.linspace(0.5, 2, 60))
    result = bootstrap(sample, resampling=Resampling(100))
    expected = compute_all_metrics(sample)
    assert list(result) == list(expected)
    for name, entry in result.items():
        assert entry.value == pytest.approx(expected[name])
        assert entry.low <= entry.high, name


@pytest.mark.parametrize("task", TASKS)
def test_seed_determines_the_result(task: str) -> None:
    sample = random_predictions(task, 40, 5)
    mixed = sample.take(np.random.default_rng(1).permutation(40))
    result = bootstrap(sample, resampling=Resampling(60, seed=9))
    assert bootstrap(sample, resampling=Resampling(60, seed=9)) == result
    assert bootstrap(mixed, resampling=Resampling(60, seed=9)) == result
    assert bootstrap(sample, resampling=Resampling(60, seed=10)) != result


def test_resamples_are_stratified() -> None:
    sample = random_predictions("multiclass", 50, 0)
    truth = np.sort(np.argmax(sample.y, axis=1))
    counts = draws_of(sample)
    for k in range(3):
        assert (counts[:, truth == k].sum(axis=1) == (truth == k).sum()).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1, abs=0.1)


def test_groups_are_resampled_together() -> None:
    group = np.array([7, 7, 3, 3, 3, -1, 7, 9])
    counts = draws_of(random_predictions("regression", 8, 0, group=group))
    _, member = np.unique(group, return_inverse=True)
    group_counts = np.stack([counts[:, member == g].mean(axis=1) for g in range(4)], axis=1)
    assert (counts == group_counts[:, member]).all()
    assert (group_counts.sum(axis=1) == 4).all()


def test_rows_keep_their_weights() -> None:
    weight = np.array([0.0, 2.0, 0.5, 1.0])
    counts = draws_of(random_predictions("regression", 4, 0, weight=weight))
    assert set(np.unique(counts[:, 1])) <= {0.0, 2.0, 4.0, 6.0, 8.0}
    assert not counts[:, 0].any()


def test_draws_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 30 * 7)
    sample = random_predictions("binary", 30, 0)
    (part,) = draw_parts(sample, Resampling(50))
    chunks = list(part.weights)
    assert [len(chunk) for chunk in chunks] == [7] * 7 + [1]
    assert (np.concatenate(chunks).sum(axis=1) == 30).all()


def test_interval_matches_a_plain_loop() -> None:
    sample = random_predictions("binary", 300, 4, skill=0.5)
    result = bootstrap(sample, resampling=Resampling(2_000))
    y, p = sample.y, sample.p
    classes = [np.flatnonzero(y[:, 0] == k) for k in (0, 1)]
    rng = np.random.default_rng(0)
    loop: dict[str, list[float]] = {"auc": [], "average_precision": [], "f1": []}
    for _ in range(400):
        index = np.concatenate([rng.choice(entry, len(entry)) for entry in classes])
        metrics = compute_metrics(tuple(loop), "binary", y[index], p[index], None, 0.5)
        for name, value in metrics.items():
            loop[name].append(value)
    for name, values in loop.items():
        low, high = np.quantile(values, [0.025, 0.975])
        width = high - low
        assert result[name].low == pytest.approx(low, abs=0.12 * width), name
        assert result[name].high == pytest.approx(high, abs=0.12 * width), name


def test_confidence_level() -> None:
    sample = random_predictions("regression", 80, 0, columns=1)
    narrow, wide = (
        bootstrap(sample, resampling=Resampling(confidence_level=level))["rmse"]
        for level in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_of_grouped_rows_are_wider() -> None:
    # Groups of 8 copies: the interval is that of the groups, √8 times as wide.
    few = random_predictions("regression", 50, 0, columns=1)
    many = replace(few.take(np.repeat(np.arange(50), 8)), rows=np.arange(400))
    grouped = replace(many, group=np.repeat(np.arange(50), 8))
    widths = [
        entry.high - entry.low
        for entry in (bootstrap(sample)["rmse"] for sample in (few, many, grouped))
    ]
    assert widths[2] == pytest.approx(widths[0], rel=0.1)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(8), rel=0.15)


def test_single_class_and_no_rows() -> None:
    ones = make_predictions("binary", np.ones(6), np.linspace(0.1, 0.9, 6))
    result = bootstrap(ones, resampling=Resampling(50))
    assert math.isnan(result["auc"].value)
    assert math.isnan(result["auc"].low)
    assert result["accuracy"].low <= 4 / 6 <= result["accuracy"].high
    for task in TASKS:
        nothing = random_predictions(task, 5, 0).take(np.zeros(5, bool))
        assert all(
            math.isnan(entry.high)
            for entry in bootstrap(nothing, resampling=Resampling(5)).values()
        )


def test_undefined_draws_are_ignored() -> None:
    # Multilabel columns are not stratified, so some draws lack the only positive row.
    y, p = np.eye(8)[:, :1], np.linspace(0.9, 0.1, 8)[:, None]
    result = bootstrap(make_predictions("multilabel", y, p), resampling=Resampling(200))["auc"]
    assert (result.value, result.low, result.high) == (1, 1, 1)


def test_differences_use_the_same_draws() -> None:
    sample = random_predictions("binary", 200, 0)
    rng = np.random.default_rng(1)
    same = paired_bootstrap(sample, sample, resampling=Resampling(50))
    assert all(
        entry.value == entry.low == entry.high == 0 and not entry.is_significant
        for entry in same.values()
    )
    little = replace(sample, p=np.clip(sample.p + 0.1 * (sample.y - 0.5), 0, 1))
    result = paired_bootstrap(little, sample)
    values, others = compute_all_metrics(little), compute_all_metrics(sample)
    assert result["auc"].value == pytest.approx(values["auc"] - others["auc"])
    assert result["auc"].low > 0
    assert result["auc"].is_significant
    # The interval of the difference is much narrower than that of each value.
    alone = bootstrap(sample)["auc"]
    assert result["auc"].high - result["auc"].low < 0.7 * (alone.high - alone.low)
    mixed = little.take(rng.permutation(200))
    assert paired_bootstrap(mixed, sample) == result
    turned = paired_bootstrap(sample, little)["auc"]
    assert (turned.value, turned.low) == pytest.approx((-result["auc"].value, -result["auc"].high))


@pytest.mark.parametrize("task", TASKS)
def test_intervals_and_differences_on_shared_draws_equal_those_of_separate_ones(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 600)
    sample = random_predictions(task, 60, 3)
    worse = replace(sample, p=np.roll(sample.p, 1, axis=0))
    mixed = worse.take(np.random.default_rng(1).permutation(60))
    names = tuple(compute_all_metrics(sample))[1:3]
    metrics, differences = bootstrap_with_differences(
        sample,
        {"worse": (mixed, 0.4), "same": (sample, 0.5)},
        names=names,
        resampling=Resampling(50),
        difference_resamples=30,
    )
    assert metrics == bootstrap(sample, resampling=Resampling(50))
    assert differences["worse"] == paired_bootstrap(
        sample, worse, other_threshold=0.4, names=names, resampling=Resampling(30)
    )
    assert {entry.low for entry in differences["same"].values()} == {0}


def test_differences_need_the_same_rows() -> None:
    sample = random_predictions("binary", 20, 0)
    with pytest.raises(ValueError, match="same rows"):
        paired_bootstrap(sample, sample.take(np.arange(19)))


def test_undefined_differences_are_not_significant() -> None:
    ones = make_predictions("binary", np.ones(6), np.linspace(0.1, 0.9, 6))
    assert not paired_bootstrap(ones, ones, resampling=Resampling(10))["auc"].is_significant


def _accuracy(rng: np.random.Generator) -> tuple[Predictions, float]:
    # Class counts are fixed, as in stratified resamples.
    y = np.repeat([0.0, 1.0], [150, 100])
    right = rng.random(250) < np.where(y > 0, 0.7, 0.9)
    p = np.where(right, y, 1 - y)
    return make_predictions("binary", y, p), (150 * 0.9 + 100 * 0.7) / 250


def _auc(rng: np.random.Generator) -> tuple[Predictions, float]:
    y = np.repeat([0.0, 1.0], [150, 100])
    score = y + rng.normal(size=250)
    return make_predictions("binary", y, 1 / (1 + np.exp(-score))), stats.norm.cdf(1 / np.sqrt(2))


def _rmse(rng: np.random.Generator) -> tuple[Predictions, float]:
    y = rng.normal(size=300)
    return make_predictions("regression", y, y + rng.normal(0, 2, 300)), 2.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("accuracy", _accuracy),
        ("auc", _auc),
        ("rmse", _rmse),
    ],
)
def test_intervals_have_nominal_coverage(
    name: str, make: Callable[[np.random.Generator], tuple[Predictions, float]]
) -> None:
    rng = np.random.default_rng(20)
    hits = 0
    for seed in range(1_000):
        sample, truth = make(rng)
        result = bootstrap(sample, names=(name,), resampling=Resampling(400, seed=seed))[name]
        hits += result.low <= truth <= result.high
    assert 930 <= hits <= 970

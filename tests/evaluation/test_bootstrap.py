"""Draws by what is drawn together, intervals by simulation, differences in pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tests.evaluation.samples import answers_of, random_answers
from trainer.evaluation import bootstrap as drawing
from trainer.evaluation.bootstrap import bootstrap, paired_bootstrap
from trainer.evaluation.metrics import compute_all_metrics
from trainer.evaluation.predictions import Float64Array, Predictions

TASKS = ("binary", "multiclass", "multilabel", "regression")


def draws_of(sample: Predictions, resamples: int = 300) -> Float64Array:
    return np.concatenate(list(drawing._draw_weights(drawing._sort(sample), resamples, 0)))


@pytest.mark.parametrize("task", TASKS)
def test_values_are_those_of_all_rows(task: str) -> None:
    sample = random_answers(task, 60, 3, weight=np.linspace(0.5, 2, 60))
    found = bootstrap(sample, resamples=100)
    expected = compute_all_metrics(sample)
    assert list(found) == list(expected)
    for name, each in found.items():
        assert each.value == pytest.approx(expected[name])
        assert each.low <= each.high, name


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_alone_decides(task: str) -> None:
    sample = random_answers(task, 40, 5)
    mixed = sample.take(np.random.default_rng(1).permutation(40))
    found = bootstrap(sample, resamples=60, seed=9)
    assert bootstrap(sample, resamples=60, seed=9) == found
    assert bootstrap(mixed, resamples=60, seed=9) == found
    assert bootstrap(sample, resamples=60, seed=10) != found


def test_classes_keep_their_rows() -> None:
    sample = random_answers("multiclass", 50, 0)
    truth = np.sort(np.argmax(sample.y, axis=1))
    counts = draws_of(sample)
    for k in range(3):
        assert (counts[:, truth == k].sum(axis=1) == (truth == k).sum()).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1, abs=0.1)


def test_groups_are_drawn_whole() -> None:
    group = np.array([7, 7, 3, 3, 3, -1, 7, 9])
    counts = draws_of(random_answers("regression", 8, 0, group=group))
    _, member = np.unique(group, return_inverse=True)
    of_groups = np.stack([counts[:, member == g].mean(axis=1) for g in range(4)], axis=1)
    assert (counts == of_groups[:, member]).all()
    assert (of_groups.sum(axis=1) == 4).all()


def test_weights_come_along() -> None:
    weight = np.array([0.0, 2.0, 0.5, 1.0])
    counts = draws_of(random_answers("regression", 4, 0, weight=weight))
    assert set(np.unique(counts[:, 1])) <= {0.0, 2.0, 4.0, 6.0, 8.0}
    assert not counts[:, 0].any()


def test_draws_come_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 30 * 7)
    sample = random_answers("binary", 30, 0)
    parts = list(drawing._draw_weights(sample, 50, 0))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    assert (np.concatenate(parts).sum(axis=1) == 30).all()


def test_an_interval_is_that_of_a_plain_loop() -> None:
    sample = random_answers("binary", 300, 4, skill=0.5)
    found = bootstrap(sample, resamples=2_000)
    y, p = sample.y[:, 0], sample.p[:, 0]
    classes = [np.flatnonzero(y == k) for k in (0, 1)]
    random = np.random.default_rng(0)
    loop: dict[str, list[float]] = {"auc": [], "average_precision": [], "f1": []}
    for _ in range(400):
        index = np.concatenate([random.choice(each, len(each)) for each in classes])
        loop["auc"].append(roc_auc_score(y[index], p[index]))
        loop["average_precision"].append(average_precision_score(y[index], p[index]))
        loop["f1"].append(f1_score(y[index], p[index] >= 0.5))
    for name, values in loop.items():
        low, high = np.quantile(values, [0.025, 0.975])
        width = high - low
        assert found[name].low == pytest.approx(low, abs=0.12 * width), name
        assert found[name].high == pytest.approx(high, abs=0.12 * width), name


def test_level() -> None:
    sample = random_answers("regression", 80, 0, columns=1)
    narrow, wide = (bootstrap(sample, confidence_level=level)["rmse"] for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_rows_of_groups_say_less() -> None:
    # Each group's rows are copies: the interval is that of the groups, √8 as wide.
    few = random_answers("regression", 50, 0, columns=1)
    many = replace(few.take(np.repeat(np.arange(50), 8)), rows=np.arange(400))
    grouped = replace(many, group=np.repeat(np.arange(50), 8))
    widths = [
        each.high - each.low
        for each in (bootstrap(sample)["rmse"] for sample in (few, many, grouped))
    ]
    assert widths[2] == pytest.approx(widths[0], rel=0.1)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(8), rel=0.15)


def test_single_classes_and_no_rows() -> None:
    ones = answers_of("binary", np.ones(6), np.linspace(0.1, 0.9, 6))
    found = bootstrap(ones, resamples=50)
    assert math.isnan(found["auc"].value)
    assert math.isnan(found["auc"].low)
    assert found["accuracy"].low <= 4 / 6 <= found["accuracy"].high
    for task in TASKS:
        nothing = random_answers(task, 5, 0).take(np.zeros(5, bool))
        assert all(math.isnan(each.high) for each in bootstrap(nothing, resamples=5).values())


def test_what_is_undefined_in_some_draws_is_of_the_others() -> None:
    # Columns are not drawn by class, so some draws lack the one positive row.
    y, p = np.eye(8)[:, :1], np.linspace(0.9, 0.1, 8)[:, None]
    found = bootstrap(answers_of("multilabel", y, p), resamples=200)["auc"]
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_a_difference_is_of_the_same_draws() -> None:
    sample = random_answers("binary", 200, 0)
    random = np.random.default_rng(1)
    same = paired_bootstrap(sample, sample, resamples=50)
    assert all(each.value == each.low == each.high == 0 and each.is_noise for each in same.values())
    little = replace(sample, p=np.clip(sample.p + 0.1 * (sample.y - 0.5), 0, 1))
    found = paired_bootstrap(little, sample)
    values, others = compute_all_metrics(little), compute_all_metrics(sample)
    assert found["auc"].value == pytest.approx(values["auc"] - others["auc"])
    assert found["auc"].low > 0
    assert not found["auc"].is_noise
    # On its own each is much less sure than their difference.
    alone = bootstrap(sample)["auc"]
    assert found["auc"].high - found["auc"].low < 0.7 * (alone.high - alone.low)
    mixed = little.take(random.permutation(200))
    assert paired_bootstrap(mixed, sample) == found
    turned = paired_bootstrap(sample, little)["auc"]
    assert (turned.value, turned.low) == pytest.approx((-found["auc"].value, -found["auc"].high))


def test_a_difference_needs_the_same_rows() -> None:
    sample = random_answers("binary", 20, 0)
    with pytest.raises(ValueError, match="same rows"):
        paired_bootstrap(sample, sample.take(np.arange(19)))


def test_undefined_differences_are_noise() -> None:
    ones = answers_of("binary", np.ones(6), np.linspace(0.1, 0.9, 6))
    assert paired_bootstrap(ones, ones, resamples=10)["auc"].is_noise


def _accuracy(random: np.random.Generator) -> tuple[Predictions, float]:
    # As many of each class each time: so rows are drawn here, as for the intervals.
    y = np.repeat([0.0, 1.0], [150, 100])
    right = random.random(250) < np.where(y > 0, 0.7, 0.9)
    p = np.where(right, y, 1 - y)
    return answers_of("binary", y, p), (150 * 0.9 + 100 * 0.7) / 250


def _auc(random: np.random.Generator) -> tuple[Predictions, float]:
    y = np.repeat([0.0, 1.0], [150, 100])
    score = y + random.normal(size=250)
    return answers_of("binary", y, 1 / (1 + np.exp(-score))), stats.norm.cdf(1 / np.sqrt(2))


def _rmse(random: np.random.Generator) -> tuple[Predictions, float]:
    y = random.normal(size=300)
    return answers_of("regression", y, y + random.normal(0, 2, 300)), 2.0


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("accuracy", _accuracy),
        pytest.param("auc", _auc, marks=pytest.mark.slow),
        ("rmse", _rmse),
    ],
)
def test_intervals_cover_the_truth(
    name: str, make: Callable[[np.random.Generator], tuple[Predictions, float]]
) -> None:
    random = np.random.default_rng(20)
    covered = 0
    for seed in range(1_000):
        sample, truth = make(random)
        found = bootstrap(sample, names=(name,), resamples=400, seed=seed)[name]
        covered += found.low <= truth <= found.high
    assert 930 <= covered <= 970

"""Permutation importance compared with scikit-learn, and its intervals."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.inspection import permutation_importance as of_sklearn

from tests.explain.features import encoded_rows, of_features
from trainer.explain.importance import (
    PermutationSettings,
    permutation_importance,
    should_compute_importance,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Classifier(ClassifierMixin, BaseEstimator):
    def __init__(self, score_function):
        self.score_function = score_function

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x):
        p = self.score_function(x)
        return np.concatenate([1 - p, p], axis=1)


class Regressor(RegressorMixin, BaseEstimator):
    def __init__(self, score_function):
        self.score_function = score_function

    def fit(self, x, y):
        return self

    def predict(self, x):
        return self.score_function(x)[:, 0]

    def __sklearn_is_fitted__(self):
        return True


def table(rows, seed=0):
    """Make four columns, of which the target depends on the first two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype("f")
    return x, x[:, 0] + 0.5 * x[:, 1] ** 2 + rng.normal(size=rows)


def score(x):
    # The third is noise that the model uses; the fourth is not used.
    return x[:, [0]] + 0.5 * x[:, [1]] ** 2 + 0.4 * x[:, [2]]


COLUMNS = {"first": range(1), "second": range(1, 2), "noise": range(2, 3), "unused": range(3, 4)}


def importance(task, x, y, score_function, columns=None, weight=None, **settings):
    encoding = encoded_rows(x, columns or COLUMNS)
    return permutation_importance(
        task,
        [encoding],
        y,
        weight,
        of_features(lambda x: score_function(x[0])),
        PermutationSettings(**settings),
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_importance_matches_sklearn(task):
    x, target = table(400)
    if task == "binary":
        y = (target > 0.5).astype("f")
        estimator, scoring = Classifier(lambda x: sigmoid(score(x))).fit(x, y), "roc_auc"
        result = importance(task, x, y[:, None], lambda x: sigmoid(score(x)), repeats=60)
        assert result.metric == "auc"
    else:
        y = target.astype("f")
        estimator, scoring = Regressor(score).fit(x, y), "r2"
        result = importance(task, x, y[:, None], score, repeats=60)
        assert result.metric == "r2"
    sklearn_result = of_sklearn(estimator, x, y, scoring=scoring, n_repeats=60, random_state=0)
    names = list(COLUMNS)
    for item in result.columns:
        at = names.index(item.column)
        error = sklearn_result.importances_std[at] * np.sqrt(2 / 60)
        assert item.drop == pytest.approx(sklearn_result.importances_mean[at], abs=4 * error + 1e-6)
    assert [item.column for item in result.columns[:2]] == ["first", "second"]


def test_relevant_columns_are_significant():
    x, target = table(500)
    result = importance("regression", x, target[:, None].astype("f"), score)
    by_name = {item.column: item for item in result.columns}
    assert by_name["first"].drop > 0.3
    assert by_name["first"].is_significant
    assert by_name["second"].is_significant
    assert not by_name["noise"].is_significant
    assert by_name["unused"].drop == by_name["unused"].low == by_name["unused"].high == 0
    assert not by_name["unused"].is_significant


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_interval_of_a_noise_column_has_nominal_coverage(task):
    """The importance of a noise column that the model uses is 0 on average."""
    held = []
    for seed in range(200):
        x, target = table(100, seed)
        y = target[:, None].astype("f")
        if task == "binary":
            y = (y > 0.5).astype("f")
        result = importance(task, x, y, score, columns={"noise": range(2, 3)}, seed=seed)
        held.append(result.columns[0].low <= 0 <= result.columns[0].high)
    assert 0.92 <= np.mean(held) <= 1


def test_all_inputs_of_a_categorical_column_are_shuffled_together():
    rng = np.random.default_rng(4)
    codes = rng.integers(3, size=200)
    x = np.concatenate([np.eye(3)[codes], rng.normal(size=(200, 1))], axis=1).astype("f")
    inputs = []

    def score_function(x):
        inputs.append(x[:, :3].copy())
        return x[:, [0]]

    y = (codes == 0).astype("f")[:, None]
    importance("binary", x, y, score_function, columns={"color": range(3), "size": range(3, 4)})
    rows = np.concatenate(inputs)
    assert (rows.sum(axis=1) == 1).all()
    assert set(np.unique(rows)) == {0, 1}


def test_encodings_are_shuffled_in_the_same_order():
    x, target = table(300)
    y = target[:, None].astype("f")
    alone = importance("regression", x, y, score)
    twice = [encoded_rows(x, COLUMNS), encoded_rows(3 * x[:, ::-1], {"unused": [0], "noise": [1],
                                                            "second": [2], "first": [3]})]  # fmt: skip

    def mean(encoded):
        return (score(encoded[0]) + score(encoded[1][:, ::-1] / 3)) / 2

    both = permutation_importance(
        "regression", twice, y, None, of_features(mean), PermutationSettings()
    )
    assert both.metric == alone.metric
    for item, other in zip(both.columns, alone.columns, strict=True):
        assert item.column == other.column
        assert item.drop == pytest.approx(other.drop, abs=1e-5)


def test_seed_determines_the_result():
    x, target = table(100)
    y = target[:, None].astype("f")
    assert importance("regression", x, y, score) == importance("regression", x, y, score)
    other = importance("regression", x, y, score, seed=1)
    assert other.baseline == importance("regression", x, y, score).baseline
    assert other != importance("regression", x, y, score)


def test_columns_are_independent():
    x, target = table(100)
    y = target[:, None].astype("f")
    by_name = {item.column: item for item in importance("regression", x, y, score).columns}
    (alone,) = importance("regression", x, y, score, columns={"second": range(1, 2)}).columns
    assert alone == by_name["second"]


def test_rows_without_weight_are_ignored():
    x, target = table(200)
    y = target[:, None].astype("f")
    y[:50] += 100
    weight = np.ones(200, "f")
    weight[:50] = 0
    result = importance("regression", x, y, score, weight=weight)
    assert result.baseline == pytest.approx(
        importance("regression", x[50:], y[50:], score).baseline
    )
    assert result.columns[0].column == "first"


def test_constant_target_uses_rmse():
    x, _ = table(100)
    result = importance("regression", x, np.zeros((100, 1), "f"), lambda x: 1e-3 * x[:, [0]] + 1)
    assert result.metric == "rmse"
    assert len(result.columns) == 4


def test_importance_at_the_end_of_fit_is_for_small_tables():
    assert should_compute_importance("auto", 455, 30, 30)
    assert not should_compute_importance("auto", 100_000, 41, 41)
    assert not should_compute_importance("auto", 800, 784, 784)
    assert should_compute_importance(True, 100_000, 41, 41)
    assert not should_compute_importance(False, 455, 30, 30)
    assert not should_compute_importance(True, 0, 30, 30)

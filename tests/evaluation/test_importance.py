"""Drops are scikit-learn's; what is planted is found; noise is called noise."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.inspection import permutation_importance as of_sklearn

from trainer.evaluation.importance import permutation_importance
from trainer.evaluation.perturbations import EncodedRows


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Classifier(ClassifierMixin, BaseEstimator):
    def __init__(self, answer):
        self.answer = answer

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x):
        p = self.answer(x)
        return np.concatenate([1 - p, p], axis=1)


class Regressor(RegressorMixin, BaseEstimator):
    def __init__(self, answer):
        self.answer = answer

    def fit(self, x, y):
        return self

    def predict(self, x):
        return self.answer(x)[:, 0]

    def __sklearn_is_fitted__(self):
        return True


def table(rows, seed=0):
    """Four columns; the first two decide."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(rows, 4)).astype("f")
    return x, x[:, 0] + 0.5 * x[:, 1] ** 2 + draws.normal(size=rows)


def score(x):
    # The third is used, though it is noise; the fourth is not.
    return x[:, [0]] + 0.5 * x[:, [1]] ** 2 + 0.4 * x[:, [2]]


PLACES = {"first": range(1), "second": range(1, 2), "noise": range(2, 3), "unused": range(3, 4)}


def importance(task, x, y, answer, places=None, weight=None, **settings):
    settings = {"repeats": 5, "seed": 0, "confidence_level": 0.95, **settings}
    encoding = EncodedRows(x, places or PLACES)
    return permutation_importance(
        task, [encoding], y, weight, lambda encoded: answer(encoded[0]), **settings
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_drops_are_those_of_sklearn(task):
    x, target = table(400)
    if task == "binary":
        y = (target > 0.5).astype("f")
        estimator, scoring = Classifier(lambda x: sigmoid(score(x))).fit(x, y), "roc_auc"
        found = importance(task, x, y[:, None], lambda x: sigmoid(score(x)), repeats=60)
        assert found.metric == "auc"
    else:
        y = target.astype("f")
        estimator, scoring = Regressor(score).fit(x, y), "r2"
        found = importance(task, x, y[:, None], score, repeats=60)
        assert found.metric == "r2"
    theirs = of_sklearn(estimator, x, y, scoring=scoring, n_repeats=60, random_state=0)
    names = list(PLACES)
    for one in found.columns:
        at = names.index(one.column)
        error = theirs.importances_std[at] * np.sqrt(2 / 60)
        assert one.drop == pytest.approx(theirs.importances_mean[at], abs=4 * error + 1e-6)
    assert [one.column for one in found.columns[:2]] == ["first", "second"]


def test_what_is_planted_is_found():
    x, target = table(500)
    found = importance("regression", x, target[:, None].astype("f"), score)
    by_name = {one.column: one for one in found.columns}
    assert by_name["first"].drop > 0.3
    assert not by_name["first"].is_noise
    assert not by_name["second"].is_noise
    assert by_name["noise"].is_noise
    assert by_name["unused"].drop == by_name["unused"].low == by_name["unused"].high == 0
    assert by_name["unused"].is_noise


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_interval_of_noise_holds_nothing_as_often_as_it_says(task):
    """A column that the network uses, though it says nothing, is worth nothing in the long run."""
    held = []
    for seed in range(200):
        x, target = table(100, seed)
        y = target[:, None].astype("f")
        if task == "binary":
            y = (y > 0.5).astype("f")
        found = importance(task, x, y, score, places={"noise": range(2, 3)}, seed=seed)
        held.append(found.columns[0].low <= 0 <= found.columns[0].high)
    assert 0.92 <= np.mean(held) <= 1


def test_a_category_is_shuffled_whole():
    draws = np.random.default_rng(4)
    codes = draws.integers(3, size=200)
    x = np.concatenate([np.eye(3)[codes], draws.normal(size=(200, 1))], axis=1).astype("f")
    seen = []

    def answer(x):
        seen.append(x[:, :3].copy())
        return x[:, [0]]

    y = (codes == 0).astype("f")[:, None]
    importance("binary", x, y, answer, places={"colour": range(3), "size": range(3, 4)})
    rows = np.concatenate(seen)
    assert (rows.sum(axis=1) == 1).all()
    assert set(np.unique(rows)) == {0, 1}


def test_encodings_are_shuffled_alike():
    x, target = table(300)
    y = target[:, None].astype("f")
    alone = importance("regression", x, y, score)
    twice = [EncodedRows(x, PLACES), EncodedRows(3 * x[:, ::-1], {"unused": [0], "noise": [1],
                                                            "second": [2], "first": [3]})]  # fmt: skip

    def mean(encoded):
        return (score(encoded[0]) + score(encoded[1][:, ::-1] / 3)) / 2

    both = permutation_importance(
        "regression", twice, y, None, mean, repeats=5, seed=0, confidence_level=0.95
    )
    assert both.metric == alone.metric
    for one, other in zip(both.columns, alone.columns, strict=True):
        assert one.column == other.column
        assert one.drop == pytest.approx(other.drop, abs=1e-5)


def test_it_is_the_same_for_one_seed_and_differs_for_another():
    x, target = table(100)
    y = target[:, None].astype("f")
    assert importance("regression", x, y, score) == importance("regression", x, y, score)
    other = importance("regression", x, y, score, seed=1)
    assert other.baseline == importance("regression", x, y, score).baseline
    assert other != importance("regression", x, y, score)


def test_columns_do_not_change_each_other():
    x, target = table(100)
    y = target[:, None].astype("f")
    whole = {one.column: one for one in importance("regression", x, y, score).columns}
    (alone,) = importance("regression", x, y, score, places={"second": range(1, 2)}).columns
    assert alone == whole["second"]


def test_rows_without_weight_do_not_count():
    x, target = table(200)
    y = target[:, None].astype("f")
    y[:50] += 100
    weight = np.ones(200, "f")
    weight[:50] = 0
    found = importance("regression", x, y, score, weight=weight)
    assert found.baseline == pytest.approx(importance("regression", x[50:], y[50:], score).baseline)
    assert found.columns[0].column == "first"


def test_errors_of_numbers_that_do_not_vary_fall_upwards():
    x, _ = table(100)
    found = importance("regression", x, np.zeros((100, 1), "f"), lambda x: 1e-3 * x[:, [0]] + 1)
    assert found.metric == "rmse"
    assert len(found.columns) == 4

"""Partial dependence compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence as sklearn_dependence

from tests.explain.features import encoded_rows, of_features
from trainer.explain.dependence import partial_dependence


class Regressor(RegressorMixin, BaseEstimator):
    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.tanh(x[:, 0] * x[:, 1]) + x[:, 2]

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_dependence_matches_sklearn(weighted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype("f")
    weight = rng.uniform(0, 1, 80).astype("f") if weighted else None
    grid = np.linspace(-1, 1, 9).astype("f")
    model = Regressor()
    result = partial_dependence(
        [encoded_rows(x, {"a": range(1), "b": range(1, 2), "c": range(2, 3)})],
        {"a": [grid[:, None]], "c": [grid[:4, None]]},
        weight,
        of_features(lambda x: np.stack([model.predict(x[0]), x[0][:, 1]], axis=1)),
    )
    for name, column, values in (("a", 0, grid), ("c", 2, grid[:4])):
        sklearn_result = sklearn_dependence(
            model, x, [column], custom_values={column: values}, method="brute", kind="average",
            sample_weight=weight,
        )  # fmt: skip
        np.testing.assert_allclose(result[name][:, 0], sklearn_result["average"][0], atol=1e-6)
        np.testing.assert_allclose(
            result[name][:, 1], np.average(x[:, 1], weights=weight), atol=1e-6
        )


def test_all_inputs_of_a_categorical_column_are_set():
    x = np.eye(3, dtype="f")[[0, 1, 2, 0]]
    levels = np.eye(3, dtype="f")
    encoding = encoded_rows(x, {"color": range(3)})
    result = partial_dependence([encoding], {"color": [levels]}, None, of_features(lambda x: x[0]))
    np.testing.assert_array_equal(result["color"], levels)

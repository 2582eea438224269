"""SHAP values equal their definition: the mean contribution of a column over all orders."""

from importlib.util import find_spec
from itertools import combinations
from math import comb

import numpy as np
import pytest

from tests.explain.features import encoded_rows, of_features
from trainer.explain.shapley import shap_values
from trainer.inputs import FEATURES

# Not `importorskip`: shap reads NUMBA_DISABLE_JIT, which trainer sets, when it is first imported.
pytestmark = pytest.mark.skipif(find_spec("shap") is None, reason="needs shap")


def exact_shap_values(predict, row, background, indices):
    """Return (columns, k) SHAP values, computed from all subsets of the columns."""
    columns = list(indices)
    count = len(columns)

    def mean(known):
        x = background.copy()
        for name in known:
            x[:, indices[name]] = row[indices[name]]
        return predict(x).mean(axis=0, dtype=float)

    values = []
    for name in columns:
        others = [other for other in columns if other != name]
        total = 0
        for size in range(count):
            for known in combinations(others, size):
                weight = 1 / (count * comb(count - 1, size))
                total = total + weight * (mean([*known, name]) - mean(known))
        values.append(total)
    return np.array(values)


def test_few_columns_are_exact():
    rng = np.random.default_rng(0)
    x, background = rng.normal(size=(2, 4, 5)).astype("f")
    indices = {"a": [0, 3], "b": [1], "c": [2], "d": [4]}

    def predict(x):
        return np.stack([np.tanh(x[:, 0] * x[:, 1] + x[:, 3] * x[:, 2]), x[:, 4] ** 2], axis=1)

    result = shap_values(
        of_features(lambda x: predict(x[0])),
        [encoded_rows(x, indices)],
        [{FEATURES: background}],
        0,
    )
    assert result.columns == ("a", "b", "c", "d")
    assert result.orders is None
    for row, values in zip(x, result.values, strict=True):
        expected = exact_shap_values(predict, row, background, indices)
        np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(result.base, predict(background).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(result.predictions, predict(x), atol=1e-6)
    assert result.largest_gap < 1e-6


def test_many_columns_add_up_and_pairs_are_exact():
    rng = np.random.default_rng(1)
    x, background = rng.normal(size=(2, 3, 12)).astype("f")
    indices = {f"c{number}": [number] for number in range(12)}

    def predict(x):
        return (x[:, ::2] * x[:, 1::2]).sum(axis=1, keepdims=True) + x[:, :1]

    rows = [encoded_rows(x, indices)]
    result = shap_values(of_features(lambda x: predict(x[0])), rows, [{FEATURES: background}], 5)
    assert result.orders == 10
    assert result.largest_gap < 1e-5
    for row, values in zip(x, result.values, strict=True):
        for index in range(0, 12, 2):
            # The effect of a pair of columns does not depend on the other columns.
            pair = {"a": [index], "b": [index + 1]}
            expected = exact_shap_values(
                lambda x, i=index: x[:, [i]] * x[:, [i + 1]] + (x[:, [0]] if i == 0 else 0),
                row,
                background,
                pair,
            )
            np.testing.assert_allclose(values[index : index + 2], expected, atol=1e-5)
    again = shap_values(of_features(lambda x: predict(x[0])), rows, [{FEATURES: background}], 5)
    np.testing.assert_array_equal(result.values, again.values)


def test_several_encodings_are_predicted_together():
    rng = np.random.default_rng(2)
    x, background = rng.normal(size=(2, 4, 3)).astype("f")
    first = encoded_rows(x, {"a": [0], "b": [1, 2]})
    second = encoded_rows(np.ascontiguousarray(x[:, ::-1]), {"b": [0, 1], "a": [2]})
    reversed_background = np.ascontiguousarray(background[:, ::-1])

    def predict(x):
        return (x[:, [0]] * x[:, [1]]) + x[:, [2]]

    single = shap_values(of_features(lambda x: predict(x[0])), [first], [{FEATURES: background}], 0)
    both = shap_values(
        of_features(lambda x: (predict(x[0]) + predict(x[1][:, ::-1])) / 2),
        [first, second],
        [{FEATURES: background}, {FEATURES: reversed_background}],
        0,
    )
    np.testing.assert_allclose(single.values, both.values, atol=1e-6)

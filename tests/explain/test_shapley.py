"""SHAP values against the definition: the mean, over all orders, of what a column adds."""

from importlib.util import find_spec
from itertools import combinations
from math import comb

import numpy as np
import pytest

from trainer.explain.perturbations import EncodedRows
from trainer.explain.shapley import shap_values

# Not `importorskip`: what imports it first says how it computes.
pytestmark = pytest.mark.skipif(find_spec("shap") is None, reason="needs shap")


def by_definition(answer, row, background, places):
    """(columns, k), from all sets of columns."""
    columns = list(places)
    count = len(columns)

    def mean(known):
        x = background.copy()
        for name in known:
            x[:, places[name]] = row[places[name]]
        return answer(x).mean(axis=0, dtype=float)

    found = []
    for name in columns:
        others = [one for one in columns if one != name]
        total = 0
        for size in range(count):
            for known in combinations(others, size):
                share = 1 / (count * comb(count - 1, size))
                total = total + share * (mean([*known, name]) - mean(known))
        found.append(total)
    return np.array(found)


def test_few_columns_are_exact_and_go_together():
    draws = np.random.default_rng(0)
    x, background = draws.normal(size=(2, 4, 5)).astype("f")
    places = {"a": [0, 3], "b": [1], "c": [2], "d": [4]}

    def answer(x):
        return np.stack([np.tanh(x[:, 0] * x[:, 1] + x[:, 3] * x[:, 2]), x[:, 4] ** 2], axis=1)

    found = shap_values(lambda asked: answer(asked[0]), [EncodedRows(x, places)], [background], 0)
    assert found.columns == ("a", "b", "c", "d")
    assert found.orders is None
    for row, values in zip(x, found.values, strict=True):
        expected = by_definition(answer, row, background, places)
        np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(found.base, answer(background).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.predictions, answer(x), atol=1e-6)
    assert found.largest_gap < 1e-6


def test_many_columns_add_up_and_pairs_are_exact():
    draws = np.random.default_rng(1)
    x, background = draws.normal(size=(2, 3, 12)).astype("f")
    places = {f"c{number}": [number] for number in range(12)}

    def answer(x):
        return (x[:, ::2] * x[:, 1::2]).sum(axis=1, keepdims=True) + x[:, :1]

    rows = [EncodedRows(x, places)]
    found = shap_values(lambda asked: answer(asked[0]), rows, [background], 5)
    assert found.orders == 10
    assert found.largest_gap < 1e-5
    for row, values in zip(x, found.values, strict=True):
        for at in range(0, 12, 2):
            # What one pair of columns does is theirs alone.
            pair = {"a": [at], "b": [at + 1]}
            of_pair = by_definition(
                lambda x, at=at: x[:, [at]] * x[:, [at + 1]] + (x[:, [0]] if at == 0 else 0),
                row,
                background,
                pair,
            )
            np.testing.assert_allclose(values[at : at + 2], of_pair, atol=1e-5)
    again = shap_values(lambda asked: answer(asked[0]), rows, [background], 5)
    np.testing.assert_array_equal(found.values, again.values)


def test_encodings_are_asked_together():
    draws = np.random.default_rng(2)
    x, background = draws.normal(size=(2, 4, 3)).astype("f")
    one = EncodedRows(x, {"a": [0], "b": [1, 2]})
    other = EncodedRows(np.ascontiguousarray(x[:, ::-1]), {"b": [0, 1], "a": [2]})
    reversed_background = np.ascontiguousarray(background[:, ::-1])

    def answer(x):
        return (x[:, [0]] * x[:, [1]]) + x[:, [2]]

    alone = shap_values(lambda asked: answer(asked[0]), [one], [background], 0)
    both = shap_values(
        lambda asked: (answer(asked[0]) + answer(asked[1][:, ::-1])) / 2,
        [one, other],
        [background, reversed_background],
        0,
    )
    np.testing.assert_allclose(alone.values, both.values, atol=1e-6)

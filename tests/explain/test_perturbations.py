"""Predictions of perturbed rows."""

import numpy as np
import pytest

from tests.explain.features import encoded_rows, of_features
from trainer.explain import perturbations
from trainer.explain.perturbations import (
    Perturbation,
    column_names,
    predict_perturbed,
)
from trainer.inputs import FEATURES


def encodings(rows=7):
    rng = np.random.default_rng(1)
    item = encoded_rows(rng.normal(size=(rows, 4)).astype("f"), {"a": range(2), "b": range(2, 4)})
    other = encoded_rows(rng.normal(size=(rows, 3)).astype("f"), {"c": range(1), "a": range(1, 3)})
    return [item, other]


def columns_of(rows, name):
    return list(rows.columns[name].columns) if name in rows.columns else []


@pytest.mark.parametrize("limit", [1, 7, 15, 40, 10_000])
def test_perturbations_are_independent(monkeypatch, limit):
    monkeypatch.setattr(perturbations, "_MAX_ROWS_PER_CALL", limit)
    rows = encodings()
    before = [entry.inputs[FEATURES].copy() for entry in rows]
    calls = []

    def predict(x):
        calls.append([len(item) for item in x])
        return np.concatenate([x[0], x[1]], axis=1) + 0

    rng = np.random.default_rng(2)
    changes = [None]
    for name in ("a", "b", "c", "a"):
        for height in (7, 1):
            values = [
                rng.normal(size=(height, len(columns_of(entry, name)))).astype("f")
                for entry in rows
            ]
            changes.append(Perturbation(name, values))
    result = list(predict_perturbed(of_features(predict), rows, iter(changes), len(changes)))
    assert len(result) == len(changes)
    for change, prediction in zip(changes, result, strict=True):
        expected = [x.copy() for x in before]
        if change is not None:
            for x, entry, values in zip(expected, rows, change.values, strict=True):
                x[:, columns_of(entry, change.column)] = values
        np.testing.assert_array_equal(prediction, np.concatenate(expected, axis=1))
    assert len({tuple(lengths) for lengths in calls}) == 1
    assert max(calls[0]) <= max(7, limit)
    for x, entry in zip(before, rows, strict=True):
        np.testing.assert_array_equal(x, entry.inputs[FEATURES])


def test_column_names_of_all_encodings():
    assert column_names(encodings()) == ("a", "b", "c")

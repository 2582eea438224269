"""Each alteration is asked about as if it alone had been made."""

import numpy as np
import pytest

from trainer.evaluation import perturbations
from trainer.evaluation.perturbations import (
    EncodedRows,
    Perturbation,
    column_names,
    predict_perturbed,
)


def encodings(rows=7):
    draws = np.random.default_rng(1)
    one = EncodedRows(draws.normal(size=(rows, 4)).astype("f"), {"a": range(2), "b": range(2, 4)})
    other = EncodedRows(draws.normal(size=(rows, 3)).astype("f"), {"c": range(1), "a": range(1, 3)})
    return [one, other]


@pytest.mark.parametrize("most", [1, 7, 15, 40, 10_000])
def test_every_copy_is_altered_alone(monkeypatch, most):
    monkeypatch.setattr(perturbations, "_MAX_ROWS_PER_CALL", most)
    rows = encodings()
    before = [each.x.copy() for each in rows]
    asked = []

    def ask(x):
        asked.append([len(one) for one in x])
        return np.concatenate([x[0], x[1]], axis=1) + 0

    draws = np.random.default_rng(2)
    changes = [None]
    for name in ("a", "b", "c", "a"):
        for height in (7, 1):
            values = [
                draws.normal(size=(height, len(each.columns_of(name)))).astype("f") for each in rows
            ]
            changes.append(Perturbation(name, values))
    found = list(predict_perturbed(ask, rows, iter(changes), len(changes)))
    assert len(found) == len(changes)
    for change, answer in zip(changes, found, strict=True):
        expected = [x.copy() for x in before]
        if change is not None:
            for x, each, values in zip(expected, rows, change.values, strict=True):
                x[:, each.columns_of(change.column)] = values
        np.testing.assert_array_equal(answer, np.concatenate(expected, axis=1))
    assert len({tuple(lengths) for lengths in asked}) == 1
    assert max(asked[0]) <= max(7, most)
    for x, each in zip(before, rows, strict=True):
        np.testing.assert_array_equal(x, each.x)


def test_columns_are_those_of_all_encodings():
    assert column_names(encodings()) == ("a", "b", "c")

from __future__ import annotations

import polars as pl
import pytest

from trainer.data.tasks import infer_task
from trainer.errors import DataError


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1, 0, 1], "binary"),
        ([0.0, 1.0, 1.0], "binary"),
        (["0.0", "1.0"], "binary"),
        ([True, False], "binary"),
        (["yes", "no", None], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([1, 2, 3] * 10, "multiclass"),
        ([1, 2, 3], "regression"),
        (list(range(21)) * 100, "regression"),
        ([0.5, 1.0, 2.0] * 10, "regression"),
        (["0.5", "1", "2"] * 10, "regression"),
    ],
)
def test_one_column(values, task):
    finding = infer_task(pl.DataFrame({"y": values}))
    assert finding.task == task
    assert "'y'" in finding.reason


def test_reason_for_true_and_false():
    finding = infer_task(pl.DataFrame({"y": [True, False]}))
    assert finding.reason == "'y' has true and false"


def test_several_columns():
    assert infer_task(pl.DataFrame({"a": ["yes", "no"], "b": [0, 1]})).task == "multilabel"
    assert infer_task(pl.DataFrame({"a": [1.5, 2], "b": [0, 1]})).task == "regression"
    with pytest.raises(DataError, match="other values in 'a'"):
        infer_task(pl.DataFrame({"a": ["red", "no"], "b": [0.5, 1]}))


def test_numbers_with_a_typo():
    values = [f"{number}.5" for number in range(50)] + ["n/k"]
    with pytest.raises(DataError, match="'n/k'"):
        infer_task(pl.DataFrame({"y": values}))

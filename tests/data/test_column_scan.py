from __future__ import annotations

from datetime import time, timedelta

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.column_scan import infer_kinds
from trainer.data.opening import open_table


def infer(tmp_path, frame, rows=None, **settings):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame(frame)
    frame.write_parquet(path)
    data = Data(source=str(path), target="y", **settings)
    indices = np.arange(frame.height) if rows is None else np.array(rows)
    return infer_kinds(open_table(data, streamed=False).header, frame.columns, indices, data)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 0], "numeric"),
        (["1", "0", None], "numeric"),
        (["1e3", "-.5"], "numeric"),
        ([True, None], "boolean"),
        (["Yes", "no"], "boolean"),
        (["true", "maybe"], "categorical"),
        (["2024-01-01", "2024-01-01T10:00"], "datetime"),
        (["2024-01-01", "2024-02-30"], "categorical"),
        (pl.Series(["2024-01-01"]).str.to_date(), "datetime"),
        ([timedelta(seconds=1), timedelta(seconds=2)], "numeric"),
        ([time(1, 0), None], "numeric"),
        (["a", "1"], "categorical"),
    ],
)
def test_inferred_kind(tmp_path, values, kind):
    inferred, problems = infer(tmp_path, {"x": values})
    assert (inferred.kinds, problems) == ({"x": kind}, [])


def test_only_training_rows_determine_the_kind(tmp_path):
    values = ["1", "2", "x", "2024-01-01"]
    assert infer(tmp_path, {"x": values}, rows=[0, 1])[0].kinds == {"x": "numeric"}
    assert infer(tmp_path, {"x": values}, rows=[3])[0].kinds == {"x": "datetime"}
    assert infer(tmp_path, {"x": [None, "a"]}, rows=[0])[0].empty == ("x",)


def test_explicit_kind(tmp_path):
    configured = {"columns": {"x": {"kind": "categorical"}}}
    assert infer(tmp_path, {"x": [1, 2]}, **configured)[0].kinds == {"x": "categorical"}
    configured = {"columns": {"x": {"kind": "datetime", "format": "%d.%m.%Y"}}}
    assert infer(tmp_path, {"x": ["31.12.2024"]}, **configured)[1] == []
    _, problems = infer(tmp_path, {"x": ["31.12.2024", "12/31/2024"]}, **configured)
    assert problems[0].where.endswith("row 2")
    assert "'12/31/2024'" in problems[0].found


def test_almost_numeric_column_raises(tmp_path):
    values = [str(number) for number in range(19)]
    _, problems = infer(tmp_path, {"x": [*values, "l2"]})
    assert problems[0].where.endswith("row 20")
    assert problems[0].expected == "a number in 'x', as in 19 of 20 training rows"
    assert "data.columns.x.kind: categorical" in problems[0].fix
    assert infer(tmp_path, {"x": [*values[:10], *["a", "b", "c"]]})[1] == []


def test_nested_column_raises(tmp_path):
    _, problems = infer(tmp_path, {"x": [[1], [2]], "z": [{"a": 1}, {"a": 2}]})
    assert [problem.expected for problem in problems] == [
        "single values in 'x'",
        "single values in 'z'",
    ]

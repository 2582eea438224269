from __future__ import annotations

import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.inspect import inspect_table
from trainer.errors import DataError


def test_findings(tmp_path):
    path = tmp_path / "t.csv"
    rows = 40
    pl.DataFrame(
        {
            "id": range(100, 100 + rows),
            "name": [f"n{index}" for index in range(rows)],
            "size": [index / 3 for index in range(rows - 1)] + [None],
            "colour": ["red", "blue"] * 20,
            "same": [1] * rows,
            "none": [None] * rows,
            "slip": [str(index) for index in range(rows - 1)] + ["x"],
            "when": [f"2024-01-{1 + index % 28:02d}" for index in range(rows)],
            "y": ["good", "bad"] * 19 + [None, "good"],
        }
    ).write_csv(path)
    found = inspect_table(Data(source=str(path), target="y"))
    assert (found.rows, found.rows_without_target, found.duplicates) == (39, 1, 0)
    assert (found.task, found.classes) == ("binary", {"bad": 19, "good": 20})
    assert {column.name: (column.kind, column.exclude) for column in found.columns} == {
        "id": ("numeric", "identifier"),
        "name": ("categorical", "identifier"),
        "size": ("numeric", None),
        "colour": ("categorical", None),
        "same": ("numeric", "constant"),
        "none": (None, "no values"),
        "slip": (None, "mostly numbers"),
        "when": ("datetime", None),
    }
    columns = {column.name: column for column in found.columns}
    assert (columns["size"].missing, columns["size"].distinct) == (1, 38)
    assert "'x'" in columns["slip"].problem.found


def test_a_missing_target(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;label\n1;2\n")
    with pytest.raises(DataError, match=r"set data\.csv\.separator"):
        inspect_table(Data(source=str(path), target="label"))
    with pytest.raises(DataError, match="did you mean 'label'"):
        inspect_table(Data(source=str(path), target="lable", csv={"separator": ";"}))

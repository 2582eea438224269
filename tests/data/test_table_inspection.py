from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.config.load import load_config
from trainer.data.config_proposal import propose_config
from trainer.data.prepare import prepare
from trainer.data.table_inspection import inspect_table
from trainer.errors import DataError


def test_findings(tmp_path):
    path = tmp_path / "t.csv"
    rows = 40
    pl.DataFrame(
        {
            "id": range(100, 100 + rows),
            "name": [f"n{index}" for index in range(rows)],
            "size": [index / 3 for index in range(rows - 1)] + [None],
            "color": ["red", "blue"] * 20,
            "same": [1] * rows,
            "none": [None] * rows,
            "slip": [str(index) for index in range(rows - 1)] + ["x"],
            "when": [f"2024-01-{1 + index % 28:02d}" for index in range(rows)],
            "y": ["good", "bad"] * 19 + [None, "good"],
        }
    ).write_csv(path)
    findings = inspect_table(Data(source=str(path), target="y"))
    assert (findings.rows, findings.duplicates) == (39, 0)
    assert (findings.task, findings.classes) == ("binary", {"bad": 19, "good": 20})
    assert {column.name: (column.kind, column.exclude) for column in findings.columns} == {
        "id": ("numeric", "identifier"),
        "name": ("categorical", "identifier"),
        "size": ("numeric", None),
        "color": ("categorical", None),
        "same": ("numeric", "constant"),
        "none": (None, "no values"),
        "slip": (None, "mostly numbers"),
        "when": ("datetime", None),
    }
    columns = {column.name: column for column in findings.columns}
    assert (columns["size"].missing, columns["size"].distinct) == (1, 38)
    assert "'x'" in columns["slip"].problem.found


def test_missing_target(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;label\n1;2\n")
    with pytest.raises(DataError, match=r"set data\.csv\.separator"):
        inspect_table(Data(source=str(path), target="label"))
    with pytest.raises(DataError, match="did you mean 'label'"):
        inspect_table(Data(source=str(path), target="lable", csv={"separator": ";"}))


def test_config_merges_classes_that_differ_only_in_case(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "x,y\n" + "".join(f"{row % 7},{['Yes', 'yes', 'NO', 'no'][row % 4]}\n" for row in range(60))
    )
    findings = inspect_table(Data(source=str(path), target="y"))
    assert (findings.task, findings.case_variants, len(findings.classes)) == (
        "binary",
        ("NO", "no"),
        2,
    )
    config = tmp_path / "c.yaml"
    config.write_text(propose_config(path, ("y",), config).text)
    loaded = load_config(config, ())
    assert loaded.config.data.columns["y"].ignore_case
    assert not prepare(loaded.config).preprocessing.target.classes[2:]


def test_config_splits_cells_that_look_like_lists(tmp_path):
    path = tmp_path / "t.csv"
    cells = ["a; b", "b", "a", "c; a", "c", "b; c"]
    path.write_text("x,y\n" + "".join(f"{row % 7},{cells[row % 6]}\n" for row in range(60)))
    config = tmp_path / "c.yaml"
    config.write_text(propose_config(path, ("y",), config).text)
    loaded = load_config(config, ())
    assert loaded.config.data.target_separator == ";"
    assert prepare(loaded.config).preprocessing.target.classes == ("a", "b", "c")


@pytest.mark.parametrize("written", ["{},{}", "€ {},{}", "{},{} kg"])
def test_numbers_with_decimal_commas_are_not_lists(tmp_path, written):
    path = tmp_path / "t.csv"
    rows = [f'{row % 7},"{written.format(95 + row % 9, row % 10)}"' for row in range(60)]
    path.write_text("x,y\n" + "\n".join(rows) + "\n")
    findings = inspect_table(Data(source=str(path), target="y"))
    assert (findings.task, findings.separator) == ("regression", None)


def test_integers_separated_by_commas_are_lists(tmp_path):
    path = tmp_path / "t.csv"
    cells = ["1,2,3", "2", "3,1", "1,3,2,4", "4", "2,4"]
    path.write_text("x,y\n" + "".join(f'{row % 7},"{cells[row % 6]}"\n' for row in range(60)))
    findings = inspect_table(Data(source=str(path), target="y"))
    assert (findings.task, findings.separator) == ("multilabel", ",")


@pytest.mark.parametrize("cell", ["ok", "1", "true", "NaN\n7,ok"])
def test_constant_target_raises(tmp_path, cell):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + f"7,{cell}\n" * 60)
    with pytest.raises(DataError, match=r"at least two distinct values in 'y'.*--target"):
        inspect_table(Data(source=str(path), target="y"))


@pytest.mark.parametrize(
    ("rows", "factors", "columns", "are_redundant"),
    [
        (200, 2, 30, True),
        (200, 30, 30, False),
        (60, 2, 400, True),
        # With few rows, a few combinations always explain all columns.
        (25, 30, 400, False),
    ],
)
def test_columns_that_are_combinations_of_few_are_found(
    tmp_path, rows, factors, columns, are_redundant
):
    generator = np.random.default_rng(0)
    spectra = generator.normal(size=(rows, factors)) @ generator.normal(size=(factors, columns))
    spectra[:5, 0] = np.nan
    named = {f"x{index}": column for index, column in enumerate(spectra.T * 10 + 500)}
    table = pl.DataFrame({**named, "y": range(rows)}).fill_nan(None)
    table.write_csv(tmp_path / "t.csv")
    findings = inspect_table(Data(source=str(tmp_path / "t.csv"), target="y"))
    assert findings.are_redundant == are_redundant

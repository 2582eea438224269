"""Errors about targets without values name the files and the text read as missing."""

from __future__ import annotations

import pytest

from tests.data.streamed import prepare_streaming
from trainer.config.data import Csv, Data
from trainer.data.prepare import prepare
from trainer.data.table_inspection import inspect_table
from trainer.errors import DataError

ROWS = [f"{index},{'ab'[index % 2]}" for index in range(40)]


def table(tmp_path, labels, name="t.csv"):
    path = tmp_path / name
    rows = [f"{row},{label}" for row, label in zip(ROWS, labels, strict=False)]
    path.write_text("\n".join(["x,c,kind", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize("dataset", [prepare, prepare_streaming])
@pytest.mark.parametrize(
    ("cell", "messages"),
    [
        ("", ["'kind'", "none with a target in 40 rows", "set data.target to another"]),
        ("NA", ["'kind'", "'NA' in 40 rows", "set data.csv.null_values to a list without it"]),
        (
            " None ",
            ["'kind'", "'None' in 40 rows", "set data.csv.null_values to a list without it"],
        ),
    ],
)
def test_target_without_values_raises(tmp_path, make_config, dataset, cell, messages):
    source = table(tmp_path, [cell] * 40)
    with pytest.raises(DataError) as caught:
        dataset(make_config(source, "kind"))
    assert all(text in str(caught.value) for text in [source, *messages]), str(caught.value)


def test_the_fix_works(tmp_path, make_config):
    source = table(tmp_path, ["NA", "None"] * 20)
    with pytest.raises(DataError, match=r"set data.csv.null_values to a list without them"):
        prepare(make_config(source, "kind"))
    words = [text for text in Csv().null_values if text not in ("NA", "None")]
    dataset = prepare(make_config(source, "kind", {"csv": {"null_values": words}}))
    assert set(dataset.preprocessing.target.classes) == {"NA", "None"}


def test_init_and_several_targets_and_files(tmp_path, make_config):
    first, other = table(tmp_path, [""] * 40), table(tmp_path, [""] * 40, "u.csv")
    with pytest.raises(DataError, match="'kind'"):
        inspect_table(Data(source=first, target="kind"))
    with pytest.raises(DataError, match=r"t\.csv \(and 1 more\).*'kind'.*80 rows"):
        prepare(make_config([first, other], ["kind", "c"]))


def test_targets_without_common_rows(tmp_path, make_config):
    path = tmp_path / "t.csv"
    path.write_text("x,p,q\n" + "1,1.5,\n2,,2.5\n" * 10)
    with pytest.raises(DataError, match=r"'p', 'q'.*use one column"):
        prepare(make_config(str(path), ["p", "q"]))


def test_rows_dropped_for_null_values_are_counted(tmp_path, make_config):
    source = table(tmp_path, ["None", "mild", "severe", "mild"] * 10)
    warnings = prepare(make_config(source, "kind")).warnings
    assert any("10 rows dropped: no target ('None' in 10 rows" in line for line in warnings)
    source = table(tmp_path, ["", "mild", "severe", "mild"] * 10)
    assert "10 rows dropped: no target" in prepare(make_config(source, "kind")).warnings

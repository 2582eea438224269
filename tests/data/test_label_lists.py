"""Lists of labels in the cells of the target."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

from tests.data.streamed import prepare_streaming
from trainer.config.data import Data
from trainer.data.label_lists import (
    count_labels,
    explode_labels,
    has_lists,
    join_labels,
    label_matrix,
    likely_separator,
)
from trainer.data.new_data import evaluation_dataset
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.table_inspection import inspect_table
from trainer.errors import DataError

RNG = np.random.default_rng(4)
LISTS = [[name for name in ("red", "green", "dark blue") if RNG.random() < 0.4] for _ in range(90)]
EITHER = pytest.mark.parametrize("dataset", [prepare, prepare_streaming])


def csv(path, cells):
    rows = [f'{row % 7},"{cell}"' for row, cell in enumerate(cells)]
    path.write_text("\n".join(["x,tags", *rows]) + "\n", encoding="utf-8")
    return str(path)


def write_lists(folder, form):
    """Write the lists to a file, and return its path and the settings to read it."""
    frame = pl.DataFrame({"x": [row % 7 for row in range(len(LISTS))], "tags": LISTS})
    match form:
        case "json":
            cells = [json.dumps(labels).replace('"', '""') for labels in LISTS]
            return csv(folder / "t.csv", cells), {}
        case "python":
            return csv(folder / "t.csv", [str(labels) for labels in LISTS]), {}
        case "parquet":
            frame.write_parquet(folder / "t.parquet")
            return str(folder / "t.parquet"), {}
        case "ndjson":
            frame.write_ndjson(folder / "t.ndjson")
            return str(folder / "t.ndjson"), {}
        case "arrow":
            frame.write_ipc(folder / "t.arrow")
            return str(folder / "t.arrow"), {}
        case _:
            cells = [f" {form} ".join(labels) for labels in LISTS]
            return csv(folder / "t.csv", cells), {"target_separator": form}


def oracle(lists=LISTS):
    return MultiLabelBinarizer(classes=["dark blue", "green", "red"]).fit_transform(lists)


@EITHER
@pytest.mark.parametrize(
    "form", ["|", ";", ",", " / ", "json", "python", "parquet", "arrow", "ndjson"]
)
@pytest.mark.parametrize("task", ["auto", "multilabel"])
def test_labels_equal_multilabel_binarizer(tmp_path, make_config, dataset, form, task):
    source, data = write_lists(tmp_path, form)
    result = dataset(make_config(source, "tags", {**data, "task": task}))
    target = result.preprocessing.target
    assert (target.task, target.classes) == ("multilabel", ("dark blue", "green", "red"))
    assert result.rows("train") + result.rows("validation") + result.rows("test") == len(LISTS)
    expected = oracle()
    for split in ("train", "validation", "test"):
        samples = result.samples(split)
        np.testing.assert_array_equal(samples.y, expected[samples.rows])
        counts = expected[samples.rows].sum(axis=0)
        assert result.classes(split) == dict(zip(target.classes, counts, strict=True))
    at = result.samples("train").rows
    assert target.prior == pytest.approx(expected[at].mean(axis=0))
    again = Preprocessing.from_json(json.loads(json.dumps(result.preprocessing.to_json())))
    assert again == result.preprocessing
    assert not result.warnings


@EITHER
def test_new_data_with_another_list_format(tmp_path, make_config, dataset):
    source, data = write_lists(tmp_path, "|")
    fitted = dataset(make_config(source, "tags", data)).preprocessing
    for form in ("json", "parquet", "python", "ndjson"):
        other, _ = write_lists(tmp_path, form)
        section = make_config(other, "tags", data).data
        new_dataset = evaluation_dataset(section, fitted, streamed=dataset is prepare_streaming)
        np.testing.assert_array_equal(new_dataset.samples("test").y, oracle())


def test_empty_cells_and_missing_lists(tmp_path, make_config):
    source = csv(tmp_path / "t.csv", ["a|b", "", "NA", "b", "a"] * 8)
    result = prepare(make_config(source, "tags", {"target_separator": "|"}))
    y, valid = result.targets(np.arange(5))
    assert y.tolist() == [[1, 1], [0, 0], [0, 0], [0, 1], [1, 0]]
    assert valid.all()
    pl.DataFrame({"x": range(40), "tags": [["a"], [], None, ["b", "a"]] * 10}).write_parquet(
        tmp_path / "t.parquet"
    )
    result = prepare(make_config(str(tmp_path / "t.parquet"), "tags"))
    assert result.dropped == {"no target": 10}


@EITHER
@pytest.mark.parametrize("by", ["auto", "random", "stratified", "hash", "group"])
def test_every_split(tmp_path, make_config, dataset, by):
    for form in ("|", "parquet"):
        source, data = write_lists(tmp_path, form)
        split = {"by": by, **({"column": "x"} if by == "group" else {})}
        result = dataset(make_config(source, "tags", {**data, "split": split,
                                                         "features": {"include": ["x"]}}))  # fmt: skip
        if by == "stratified":
            rows = np.flatnonzero(result.assignment == 0)
            np.testing.assert_allclose(oracle()[rows].mean(0), oracle().mean(0), atol=0.06)


def test_spellings_of_a_label_are_merged(tmp_path, make_config):
    source = csv(
        tmp_path / "t.csv", ["Red|1", "red ; x|1.0", "red|Red", "1|caf\u00e9", "cafe\u0301"] * 8
    )
    result = prepare(make_config(source, "tags", {"target_separator": "|"}))
    assert set(result.preprocessing.target.classes) == {"Red", "red", "red ; x", "1", "caf\u00e9"}
    assert any("differ only in case" in line and "ignore_case" in line for line in result.warnings)
    folded = {"target_separator": "|", "columns": {"tags": {"ignore_case": True}}}
    result = prepare(make_config(source, "tags", folded))
    assert len(result.preprocessing.target.classes) == 4
    y, _ = result.targets(np.arange(3))
    assert y.sum(axis=1).tolist() == [2, 2, 1]


def test_unknown_labels_are_ignored_with_a_warning(tmp_path, make_config):
    split = {"by": "column", "column": "x"}
    rows = ["train,a|b", "train,b", "train,a", "test,a|c", "test,c", "validation,b"]
    path = tmp_path / "t.csv"
    path.write_text("x,z,tags\n" + "".join(f"{row.replace(',', f',{at},')}\n"
                                           for at, row in enumerate(rows * 4)))  # fmt: skip
    result = prepare(make_config(str(path), "tags", {"split": split, "target_separator": "|"}))
    assert result.preprocessing.target.classes == ("a", "b")
    assert any("ignored: 'c'" in line for line in result.warnings)
    assert result.classes("test") == {"a": 4, "b": 0}


@pytest.mark.parametrize(
    ("cells", "data", "message"),
    [
        (["a|b", "b", "a", "a|b|c"], {"task": "multilabel"}, r"set data\.target_separator: '\|'"),
        (["a", "b"], {"task": "multilabel"}, "task: binary"),
        (["a", "b", "c"], {"task": "multilabel"}, "set data.target_separator"),
        (["a", ""], {"target_separator": "|"}, "only 'a'"),
        (["", "|"], {"target_separator": "|"}, "found none"),
    ],
)
def test_invalid_lists_raise(tmp_path, make_config, cells, data, message):
    source = csv(tmp_path / "t.csv", cells * 10)
    with pytest.raises(DataError, match=message):
        prepare(make_config(source, "tags", data))


def test_lists_that_are_not_labels_raise(tmp_path, make_config):
    for index, cells in enumerate(([[0.5, 1.5]] * 20, [[["a"]]] * 20, [{"a": 1}] * 20)):
        path = str(tmp_path / f"{index}.parquet")
        pl.DataFrame({"x": range(20), "tags": cells}).write_parquet(path)
        with pytest.raises(DataError, match=r"'tags'.*(use|name)"):
            prepare(make_config(path, "tags"))
        pl.read_parquet(path).write_ndjson(f"{path}.ndjson")
        for dataset in (prepare, prepare_streaming):
            with pytest.raises(DataError, match=r"'tags'.*(use|name)"):
                dataset(make_config(f"{path}.ndjson", "tags"))


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["red|blue", "red", "blue", "green|red", "blue|green", "green"], "|"),
        (["rock; pop", "pop", "rock", "jazz; rock; pop", "jazz", "jazz; pop"], ";"),
        (["a, b", "b", "a", "a, c", "c", "b, c"], ","),
        (["Smith, John", "Doe, Jane", "Roe, Rick", "Poe, Edgar"], None),
        (["Paris, France", "Lyon, France", "Bonn, Germany", "Rome, Italy"], None),
        (["yes", "no"], None),
        (["low/high", "high", "low"], None),
        (["1,5", "2,5", "3,7", "4,1"], None),
    ],
)
def test_likely_separators(cells, sign):
    assert likely_separator(pl.Series("tags", cells * 5)) == sign


def test_likely_lists_warn_and_the_fix_works(tmp_path, make_config):
    cells = ["red|blue", "red", "blue", "green|red", "blue|green", "green"] * 10
    source = csv(tmp_path / "t.csv", cells)
    result = prepare(make_config(source, "tags"))
    assert result.preprocessing.target.task == "multiclass"
    (line,) = [line for line in result.warnings if "look like lists" in line]
    assert 'data.target_separator: "|"' in line
    fixed = prepare(make_config(source, "tags", {"target_separator": "|"}))
    assert fixed.preprocessing.target.classes == ("blue", "green", "red")
    assert not fixed.warnings
    seen = inspect_table(Data(source=source, target="tags"))
    assert (seen.task, seen.separator) == ("multilabel", "|")


def test_unused_separator_warns(tmp_path, make_config):
    source = csv(tmp_path / "t.csv", ["a; b", "b", "a", "a; c", "c", "b; c"] * 10)
    result = prepare(make_config(source, "tags", {"target_separator": "|"}))
    (line,) = [line for line in result.warnings if "no cell of 'tags'" in line]
    assert line.endswith('set it to ";"')
    assert not prepare(make_config(source, "tags", {"target_separator": ";"})).warnings


LABEL = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4)


@given(st.lists(st.lists(LABEL, max_size=4), min_size=1, max_size=20))
def test_joined_labels_round_trip(lists):
    series = pl.Series("tags", ["|".join(labels) for labels in lists])
    classes = sorted(count_labels(series, "|", ignore_case=False))
    y, unknown = label_matrix(series, "|", classes, ignore_case=False)
    assert not unknown
    joined = join_labels(y.astype(np.int64), classes, "|")
    again, _ = label_matrix(joined, "|", classes, ignore_case=False)
    np.testing.assert_array_equal(again, y)
    assert y.sum() == sum(count_labels(series, "|", ignore_case=False).values())


def test_list_in_a_list_of_text_is_flattened():
    # NDJSON is read like this, as its lines can have different types.
    nested = pl.Series("tags", [['["a", "b c"]'], ["[]"], ["[1, true]"], None])
    rows, labels = explode_labels(nested, None)
    assert list(zip(rows.tolist(), labels, strict=True)) == [
        (0, "a"),
        (0, "b c"),
        (2, "1"),
        (2, "true"),
    ]
    assert has_lists(nested, Data(source="t", target="tags"))

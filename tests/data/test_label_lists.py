"""Lists of labels in the cells of the target."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

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
from trainer.data.streaming import prepare_streaming
from trainer.data.table_inspection import inspect_table
from trainer.errors import DataError

DRAW = np.random.default_rng(4)
LISTS = [[name for name in ("red", "green", "dark blue") if DRAW.random() < 0.4] for _ in range(90)]
EITHER = pytest.mark.parametrize("dataset", [prepare, prepare_streaming])


def csv(path, cells):
    rows = [f'{row % 7},"{cell}"' for row, cell in enumerate(cells)]
    path.write_text("\n".join(["x,tags", *rows]) + "\n", encoding="utf-8")
    return str(path)


def written(folder, form):
    """The lists in a file, and the settings that read them."""
    frame = pl.DataFrame({"x": [row % 7 for row in range(len(LISTS))], "tags": LISTS})
    match form:
        case "json":
            cells = [json.dumps(each).replace('"', '""') for each in LISTS]
            return csv(folder / "t.csv", cells), {}
        case "python":
            return csv(folder / "t.csv", [str(each) for each in LISTS]), {}
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
            cells = [f" {form} ".join(each) for each in LISTS]
            return csv(folder / "t.csv", cells), {"target_separator": form}


def oracle(lists=LISTS):
    return MultiLabelBinarizer(classes=["dark blue", "green", "red"]).fit_transform(lists)


@EITHER
@pytest.mark.parametrize(
    "form", ["|", ";", ",", " / ", "json", "python", "parquet", "arrow", "ndjson"]
)
@pytest.mark.parametrize("task", ["auto", "multilabel"])
def test_lists_are_labels_as_scikit_learn_has_them(tmp_path, make_config, dataset, form, task):
    source, data = written(tmp_path, form)
    found = dataset(make_config(source, "tags", {**data, "task": task}))
    target = found.preprocessing.target
    assert (target.task, target.classes) == ("multilabel", ("dark blue", "green", "red"))
    assert found.rows("train") + found.rows("validation") + found.rows("test") == len(LISTS)
    expected = oracle()
    for split in ("train", "validation", "test"):
        samples = found.samples(split)
        np.testing.assert_array_equal(samples.y, expected[samples.rows])
        counts = expected[samples.rows].sum(axis=0)
        assert found.classes(split) == dict(zip(target.classes, counts, strict=True))
    at = found.samples("train").rows
    assert target.prior == pytest.approx(expected[at].mean(axis=0))
    again = Preprocessing.from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    assert again == found.preprocessing
    assert not found.warnings


@EITHER
def test_other_files_may_write_lists_in_another_way(tmp_path, make_config, dataset):
    source, data = written(tmp_path, "|")
    fitted = dataset(make_config(source, "tags", data)).preprocessing
    for form in ("json", "parquet", "python", "ndjson"):
        other, _ = written(tmp_path, form)
        section = make_config(other, "tags", data).data
        judged = evaluation_dataset(section, fitted, streamed=dataset is prepare_streaming)
        np.testing.assert_array_equal(judged.samples("test").y, oracle())


def test_an_empty_cell_has_no_labels_and_a_missing_list_is_missing(tmp_path, make_config):
    source = csv(tmp_path / "t.csv", ["a|b", "", "NA", "b", "a"] * 8)
    found = prepare(make_config(source, "tags", {"target_separator": "|"}))
    y, valid = found.targets(np.arange(5))
    assert y.tolist() == [[1, 1], [0, 0], [0, 0], [0, 1], [1, 0]]
    assert valid.all()
    pl.DataFrame({"x": range(40), "tags": [["a"], [], None, ["b", "a"]] * 10}).write_parquet(
        tmp_path / "t.parquet"
    )
    found = prepare(make_config(str(tmp_path / "t.parquet"), "tags"))
    assert found.dropped == {"no target": 10}


@EITHER
@pytest.mark.parametrize("by", ["auto", "random", "stratified", "hash", "group"])
def test_every_split(tmp_path, make_config, dataset, by):
    for form in ("|", "parquet"):
        source, data = written(tmp_path, form)
        split = {"by": by, **({"column": "x"} if by == "group" else {})}
        found = dataset(make_config(source, "tags", {**data, "split": split,
                                                         "features": {"include": ["x"]}}))  # fmt: skip
        if by == "stratified":
            rows = np.flatnonzero(found.assignment == 0)
            np.testing.assert_allclose(oracle()[rows].mean(0), oracle().mean(0), atol=0.06)


def test_spellings_of_a_label_are_one(tmp_path, make_config):
    source = csv(
        tmp_path / "t.csv", ["Red|1", "red ; x|1.0", "red|Red", "1|caf\u00e9", "cafe\u0301"] * 8
    )
    found = prepare(make_config(source, "tags", {"target_separator": "|"}))
    assert set(found.preprocessing.target.classes) == {"Red", "red", "red ; x", "1", "caf\u00e9"}
    assert any("differ only in case" in line and "ignore_case" in line for line in found.warnings)
    folded = {"target_separator": "|", "columns": {"tags": {"ignore_case": True}}}
    found = prepare(make_config(source, "tags", folded))
    assert len(found.preprocessing.target.classes) == 4
    y, _ = found.targets(np.arange(3))
    assert y.sum(axis=1).tolist() == [2, 2, 1]


def test_labels_that_training_has_not_are_ignored_with_a_warning(tmp_path, make_config):
    split = {"by": "column", "column": "x"}
    rows = ["train,a|b", "train,b", "train,a", "test,a|c", "test,c", "validation,b"]
    path = tmp_path / "t.csv"
    path.write_text("x,z,tags\n" + "".join(f"{row.replace(',', f',{at},')}\n"
                                           for at, row in enumerate(rows * 4)))  # fmt: skip
    found = prepare(make_config(str(path), "tags", {"split": split, "target_separator": "|"}))
    assert found.preprocessing.target.classes == ("a", "b")
    assert any("ignored: 'c'" in line for line in found.warnings)
    assert found.classes("test") == {"a": 4, "b": 0}


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
def test_what_is_no_list(tmp_path, make_config, cells, data, message):
    source = csv(tmp_path / "t.csv", cells * 10)
    with pytest.raises(DataError, match=message):
        prepare(make_config(source, "tags", data))


def test_lists_that_are_no_labels_are_refused(tmp_path, make_config):
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


def test_likely_lists_are_said_and_the_fix_works(tmp_path, make_config):
    cells = ["red|blue", "red", "blue", "green|red", "blue|green", "green"] * 10
    source = csv(tmp_path / "t.csv", cells)
    found = prepare(make_config(source, "tags"))
    assert found.preprocessing.target.task == "multiclass"
    (line,) = [line for line in found.warnings if "look like lists" in line]
    assert 'data.target_separator: "|"' in line
    fixed = prepare(make_config(source, "tags", {"target_separator": "|"}))
    assert fixed.preprocessing.target.classes == ("blue", "green", "red")
    assert not fixed.warnings
    seen = inspect_table(Data(source=source, target="tags"))
    assert (seen.task, seen.separator) == ("multilabel", "|")


def test_a_separator_that_no_cell_has_is_said(tmp_path, make_config):
    source = csv(tmp_path / "t.csv", ["a; b", "b", "a", "a; c", "c", "b; c"] * 10)
    found = prepare(make_config(source, "tags", {"target_separator": "|"}))
    (line,) = [line for line in found.warnings if "no cell of 'tags'" in line]
    assert line.endswith('set it to ";"')
    assert not prepare(make_config(source, "tags", {"target_separator": ";"})).warnings


LABEL = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4)


@given(st.lists(st.lists(LABEL, max_size=4), min_size=1, max_size=20))
def test_joined_labels_come_back(lists):
    series = pl.Series("tags", ["|".join(each) for each in lists])
    classes = sorted(count_labels(series, "|", ignore_case=False))
    y, unknown = label_matrix(series, "|", classes, ignore_case=False)
    assert not unknown
    joined = join_labels(y.astype(np.int64), classes, "|")
    again, _ = label_matrix(joined, "|", classes, ignore_case=False)
    np.testing.assert_array_equal(again, y)
    assert y.sum() == sum(count_labels(series, "|", ignore_case=False).values())


def test_a_list_in_a_list_of_text_is_taken_apart():
    # This is how NDJSON is read, whose lines need not agree on types.
    nested = pl.Series("tags", [['["a", "b c"]'], ["[]"], ["[1, true]"], None])
    rows, labels = explode_labels(nested, None)
    assert list(zip(rows.tolist(), labels, strict=True)) == [
        (0, "a"),
        (0, "b c"),
        (2, "1"),
        (2, "true"),
    ]
    assert has_lists(nested, Data(source="t", target="tags"))

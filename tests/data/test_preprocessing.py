from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trainer.data.preprocessing import Preprocessing
from trainer.errors import DataError
from trainer.inputs import InputSpec

FRAME = {
    "x": [1.0, 2.0, 3.0, 4.0] * 5,
    "c": ["p", "q", "r", "p"] * 5,
    "n": [10, None, 30, 40] * 5,
    "e": ["yes", "no", "no", "no"] * 5,
    "y": ["a", "b"] * 10,
}
ALL_TRAIN = {"split": {"test": 0.0, "validation": 0.0}}


def test_embedded_columns_are_the_input_categories(prepare_frame):
    dataset = prepare_frame(
        FRAME, **ALL_TRAIN, columns={"c": {"encode": "embedding"}, "n": {"indicator": True}}
    )
    preprocessing = dataset.preprocessing
    assert preprocessing.feature_names == ("x", "n", "n=(missing)", "e", "c")
    assert preprocessing.embeddings == ((4, 3),)
    assert preprocessing.input_columns == {
        "x": ("features", slice(0, 1)),
        "n": ("features", slice(1, 3)),
        "e": ("features", slice(3, 4)),
        "c": ("categories", slice(0, 1)),
    }
    assert preprocessing.inputs == (
        InputSpec("features", (4,), "float32"),
        InputSpec("categories", (1,), "int32"),
    )
    inputs = dataset.samples("train").inputs
    x, ids = inputs["features"], inputs["categories"]
    assert (x.dtype, ids.dtype) == (np.float32, np.int32)
    assert ids[:4].tolist() == [[1], [2], [3], [1]]
    assert x[:4, 2].tolist() == [0, 1, 0, 0]
    assert x[:4, 3].tolist() == [1, 0, 0, 0]


def test_columns_in_both_inputs_are_numbered_separately(prepare_frame):
    frame = {name: FRAME[name] for name in ("c", "x", "e", "y")}
    frame["d"] = ["u", "v"] * 10
    columns = {"c": {"encode": "embedding"}, "d": {"encode": "embedding"}}
    preprocessing = prepare_frame(frame, **ALL_TRAIN, columns=columns).preprocessing
    assert preprocessing.feature_names == ("x", "e", "c", "d")
    assert preprocessing.input_columns == {
        "c": ("categories", slice(0, 1)),
        "x": ("features", slice(0, 1)),
        "e": ("features", slice(1, 2)),
        "d": ("categories", slice(1, 2)),
    }
    unknown = pl.DataFrame({"c": ["?"], "x": [1.0], "e": ["no"], "d": ["v"]})
    encoded = preprocessing.transform(unknown)
    assert encoded.inputs["categories"].tolist() == [[0, 2]]
    assert encoded.unseen.tolist() == [True]


def test_table_of_only_embedded_columns_has_one_input(prepare_frame):
    frame = {name: FRAME[name] for name in ("c", "y")}
    dataset = prepare_frame(frame, **ALL_TRAIN, columns={"c": {"encode": "embedding"}})
    assert dataset.preprocessing.inputs == (InputSpec("categories", (1,), "int32"),)
    assert dataset.preprocessing.row_bytes == 4 + 4
    assert list(dataset.samples("train").inputs) == ["categories"]


def test_large_ids_are_exact(prepare_frame):
    """Beyond 2^24, neighboring integers are the same float32."""
    frame = {name: FRAME[name] for name in ("c", "x", "y")}
    preprocessing = prepare_frame(
        frame, **ALL_TRAIN, columns={"c": {"encode": "embedding"}}
    ).preprocessing
    codes = np.array([2**24 - 1, 2**24, 2**24 + 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.data.encoder.level_codes", lambda *_: (codes, np.zeros(3, np.bool_)))
        encoded = preprocessing.transform(pl.DataFrame(frame)[:3])
    assert encoded.inputs["categories"][:, 0].tolist() == [2**24, 2**24 + 1, 2**24 + 2]


def test_json_is_readable(prepare_frame):
    column = prepare_frame(FRAME, **ALL_TRAIN).preprocessing.to_json()["columns"][2]
    assert column == {
        "kind": "numeric", "name": "n", "missing": 5, "mean": pytest.approx(80 / 3),
        "std": pytest.approx(12.4722, abs=1e-4), "minimum": 10.0, "maximum": 40.0,
        "sampled": None,
        "outliers": None, "impute": "median", "fill": 30.0, "scale": "standard", "center": 27.5,
        "divisor": pytest.approx(10.8972, abs=1e-4), "quantiles": None, "smooth_clip": None,
        "indicator": False, "features": ["n"],
    }  # fmt: skip


def test_missing_columns_raise(prepare_frame):
    preprocessing = prepare_frame(FRAME, **ALL_TRAIN).preprocessing
    with pytest.raises(DataError) as caught:
        preprocessing.transform(pl.DataFrame({"X": [1], "e": ["yes"]}))
    assert [problem.expected for problem in caught.value.problems] == [
        "a column 'x'", "a column 'c'", "a column 'n'",
    ]  # fmt: skip
    assert caught.value.problems[0].fix == "did you mean 'X'?"


@pytest.mark.parametrize("damage", [
    lambda content: content.pop("columns"),
    lambda content: content.update(format=9),
    lambda content: content["columns"][0].update(divisor="1"),
    lambda content: content["columns"][0].update(center=float("nan")),
    lambda content: content["columns"][0].update(kind="other"),
    lambda content: content["target"].update(more=1),
])  # fmt: skip
def test_damaged_json_raises(prepare_frame, damage):
    content = prepare_frame(FRAME, **ALL_TRAIN).preprocessing.to_json()
    damage(content)
    with pytest.raises(DataError, match=r"preprocessing\.json"):
        Preprocessing.from_json(content)
    with pytest.raises(DataError):
        Preprocessing.from_json([1])


def test_unseen_values_of_new_rows(prepare_frame):
    preprocessing = prepare_frame(FRAME, **ALL_TRAIN).preprocessing
    later = pl.DataFrame(
        {"x": ["1", "oops", "inf", None], "c": ["p", "new", None, "q"], "n": ["10"] * 4,
         "e": ["yes", "no", "perhaps", "no"]}
    )  # fmt: skip
    encoded = preprocessing.transform(later)
    assert encoded.unseen.tolist() == [False, True, True, False]
    assert (
        encoded.inputs["features"][1, 0]
        == encoded.inputs["features"][2, 0]
        == encoded.inputs["features"][3, 0]
        == 0
    )
    assert encoded.inputs["features"][1, 1:4].tolist() == [0, 0, 0]
    assert encoded.warnings == (
        "1 row has an infinite value (read as missing) in 'x'",
        "1 row has a value that is not a number (read as missing) in 'x'",
        "2 rows have a value not seen in training in 'c'",
        "1 row has a value that is neither yes nor no (read as missing) in 'e'",
    )


@pytest.mark.parametrize("damage", [
    lambda content: content["columns"].append(content["columns"][0]),
    lambda content: content["columns"][0].update(divisor=0.0),
    lambda content: content["columns"][0].update(indicator=True),
    lambda content: content["columns"][0]["features"].pop(),
    lambda content: _of_kind(content, "categorical")["counts"].pop(),
    lambda content: _of_kind(content, "categorical").update(has_missing_level=True),
    lambda content: _of_kind(content, "datetime").update(origin="yesterday"),
    lambda content: _of_kind(content, "datetime")["cycles"].pop(),
    lambda content: _of_kind(content, "boolean")["features"].append("more"),
    lambda content: content["target"].update(columns=[]),
    lambda content: content["target"]["classes"].pop(),
    lambda content: content["target"]["class_counts"].pop(),
    lambda content: content["target"].update(prior=[0.5, 0.5]),
])  # fmt: skip
def test_inconsistent_json_raises(prepare_frame, damage):
    dates = [f"2024-0{month}-{day:02}" for month in (1, 2) for day in range(1, 21)]
    frame = {
        "n": range(40), "c": ["p", "q"] * 20, "b": ["yes", "no", "yes", "yes"] * 10,
        "d": dates, "y": ["r", "s"] * 20,
    }  # fmt: skip
    content = prepare_frame(frame).preprocessing.to_json()
    assert Preprocessing.from_json(content).to_json() == content
    damage(content)
    with pytest.raises(DataError, match=r"preprocessing\.json"):
        Preprocessing.from_json(content)


@pytest.mark.parametrize("damage", [
    lambda target: target.update(offset=[]),
    lambda target: target.update(scale=[0.0]),
    lambda target: target.update(prior=[]),
    lambda target: target["transforms"].append(target["transforms"][0]),
])  # fmt: skip
def test_inconsistent_target_raises(prepare_frame, damage):
    frame = {"n": range(40), "y": [1.5**row for row in range(40)]}
    content = prepare_frame(frame, target_scale="log").preprocessing.to_json()
    assert Preprocessing.from_json(content).to_json() == content
    damage(content["target"])
    with pytest.raises(DataError, match=r"preprocessing\.json"):
        Preprocessing.from_json(content)


def _of_kind(content, kind):
    return next(column for column in content["columns"] if column["kind"] == kind)

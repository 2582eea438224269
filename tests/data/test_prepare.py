from __future__ import annotations

import json
import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config.schema import Config
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.recorded_splits import split_frame
from trainer.errors import DataError
from trainer.metrics.labels import class_indices
from trainer.tasks.registry import get_task_kind

BY_COLUMN = {"split": {"by": "column", "column": "part"}}
EVERYTHING = [
    {},
    {"numeric": {"impute": "mean", "scale": "quantile", "indicator": True, "smooth_clip": 3.0}},
    {
        "numeric": {"scale": "robust"},
        "categorical": {"encode": "ordinal", "impute": "most_frequent"},
    },
    {"numeric": {"impute": "drop", "scale": "minmax"}, "categorical": {"impute": "drop"}},
    {"clean": {"outliers": {"method": "zscore", "factor": 1.5, "action": "drop"}}},
    {"clean": {"outliers": {"factor": 0.5}, "duplicates": "drop"}},
    {"categorical": {"encode": "embedding", "min_count": 18, "unknown": "rare"}},
]
GARBAGE = [
    "",
    "NA",
    "inf",
    "-inf",
    "nan",
    "1e999",
    "garbage",
    "2024-02-30",
    "1",
    "yes",
    "0x1F",
    "ü",
    '"',
]


def fitted(dataset) -> bytes:
    return json.dumps(dataset.preprocessing.to_json()).encode()


def config_of(path, data, target="y") -> Config:
    return Config.model_validate({"data": {"source": str(path), "target": target, **data}})


@pytest.mark.parametrize("data", EVERYTHING)
@settings(
    max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(draw=st.data())
def test_fit_depends_only_on_training_rows(tmp_path, mixed_frame, data, draw):
    path = tmp_path / "t.csv"
    mixed_frame.write_csv(path)
    config = config_of(path, {**data, **BY_COLUMN})
    before = fitted(prepare(config))
    lines = path.read_text().splitlines()
    header, others = lines[0], []
    for line in lines[1:]:
        cells = line.split(",")
        if cells[6] != "train":
            some = draw.draw(st.lists(st.sampled_from(GARBAGE), min_size=6, max_size=6))
            some = ['"a""b"' if cell == '"' else cell for cell in some]
            cells = [*some, cells[6], draw.draw(st.sampled_from(["good", "bad", ""]))]
            cells[6] = draw.draw(st.sampled_from(["test", "validation"]))
        others.append(",".join(cells))
    path.write_text("\n".join([header, *others]) + "\n")
    changed = prepare(config)
    assert fitted(changed) == before
    for split in ("train", "validation", "test"):
        samples = changed.samples(split)
        if samples is not None:
            assert all(np.isfinite(values).all() for values in samples.inputs.values())


def test_fit_depends_on_every_training_row(prepare_frame, mixed_frame):
    before = fitted(prepare_frame(mixed_frame, **BY_COLUMN))
    for name, value in {"a": 7.5, "b": 9, "c": "pink", "d": "z", "e": "no", "y": "good"}.items():
        row = next(
            row
            for row in range(120)
            if mixed_frame["part"][row] == "train" and mixed_frame[name][row] != value
        )
        changed = mixed_frame.clone()
        changed[row, name] = value
        assert fitted(prepare_frame(changed, **BY_COLUMN)) != before


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
def test_types_of_other_files_do_not_affect_the_fit(tmp_path, mixed_frame, kind):
    frame = mixed_frame.drop("part")

    def write(part: pl.DataFrame, name: str) -> str:
        path = tmp_path / f"{name}.{kind}"
        getattr(part, f"write_{kind}")(path)
        return str(path)

    def run(test: pl.DataFrame) -> bytes:
        source = {"train": write(frame[:80], "train"), "validation": write(test[:20], "val"),
                  "test": write(test[20:], "test")}  # fmt: skip
        content = {"data": {"source": source, "target": "y"}}
        dataset = prepare(Config.model_validate(content))
        assert [dataset.rows(split) for split in ("train", "validation", "test")] == [80, 20, 20]
        return fitted(dataset)

    before = run(frame[80:])
    other_types = frame[80:].with_columns(
        pl.lit("what").alias("a"), pl.lit(1.5).alias("b"), pl.lit(7).alias("c"),
        pl.lit(None, dtype=pl.Float64).alias("e"), pl.lit("x").alias("f"),
    )  # fmt: skip
    assert run(other_types) == before


@pytest.mark.parametrize("by", ["group", "hash"])
def test_group_and_hash_splits_are_stable_when_rows_are_added(tmp_path, mixed_frame, by):
    path = tmp_path / "t.csv"
    data = {"split": {"by": by, "column": "b" if by == "group" else "a"}}
    known = mixed_frame.filter(pl.col("b").is_not_null())
    known.write_csv(path)
    before = prepare(config_of(path, data))
    pl.concat([known, known]).write_csv(path)
    after = prepare(config_of(path, data))
    rows = known.height
    assert np.array_equal(after.assignment[:rows], before.assignment)
    assert np.array_equal(after.assignment[rows:], before.assignment)


@pytest.mark.parametrize("data", EVERYTHING)
def test_rows_are_encoded_independently(tmp_path, mixed_frame, data):
    path = tmp_path / "t.csv"
    mixed_frame.write_csv(path)
    config = config_of(path, {**data, **BY_COLUMN})
    dataset = prepare(config)
    restored = Preprocessing.from_json(json.loads(json.dumps(dataset.preprocessing.to_json())))
    assert restored == dataset.preprocessing
    everything = restored.transform(dataset.table.frame)
    for split in ("train", "validation", "test"):
        samples = dataset.samples(split)
        for spec in dataset.preprocessing.inputs:
            values = samples.inputs[spec.name]
            assert values.dtype == spec.dtype
            assert values.flags.c_contiguous
            assert values.shape == (dataset.rows(split), *spec.shape)
            np.testing.assert_array_equal(values, everything.inputs[spec.name][samples.rows])
    frame = dataset.table.frame
    for row in (0, 7, 119):
        alone = restored.transform(frame[row : row + 1])
        for name, values in everything.inputs.items():
            np.testing.assert_array_equal(alone.inputs[name][0], values[row])
    assert len(set(restored.feature_names)) == restored.width


def test_scaled_training_rows_have_mean_0_and_std_1(prepare_frame):
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, 200)
    x[rng.random(200) < 0.2] = np.nan
    dataset = prepare_frame({"x": pl.Series(x).fill_nan(None), "y": rng.integers(2, size=200)})
    train = dataset.samples("train").inputs["features"][:, 0]
    assert train.mean() == pytest.approx(0, abs=1e-6)
    assert train.std() == pytest.approx(1, abs=1e-6)


def test_dropped_rows_are_recorded(prepare_frame):
    frame = pl.DataFrame(
        {
            "x": [1.0, 2.0, 3.0, 4.0, 1000.0, None, 1.0, 5.0, None, 1000.0],
            "part": ["train"] * 8 + ["test"] * 2,
            "y": ["a", "b", "a", "b", "a", "b", "a", None, "a", "b"],
        }
    )
    dataset = prepare_frame(
        frame, **BY_COLUMN, numeric={"impute": "drop"},
        clean={"duplicates": "drop", "outliers": {"action": "drop"}},
    )  # fmt: skip
    table = split_frame(dataset)
    assert table.columns == ["row", "split", "reason"]
    assert table["row"].dtype == pl.Int64
    assert table["split"].to_list() == ["train"] * 4 + ["dropped"] * 4 + ["test"] * 2
    assert table["reason"].to_list()[4:8] == ["outlier", "missing value", "duplicate", "no target"]
    assert dataset.dropped == {"no target": 1, "duplicate": 1, "missing value": 1, "outlier": 1}
    assert dataset.samples("test").inputs["features"][0, 0] == 0
    assert dataset.samples("validation") is None


def test_training_row_is_kept_among_duplicates(prepare_frame):
    frame = pl.DataFrame({"x": [1, 1, 2, 1], "part": ["test", "train", "train", "validation"],
                          "y": ["a", "a", "b", "a"]})  # fmt: skip
    dataset = prepare_frame(frame, **BY_COLUMN, clean={"duplicates": "drop"})
    assert dataset.assignment.tolist() == [-1, 0, 0, -1]


def test_weights(prepare_frame):
    frame = {"x": range(10), "w": [0.5] * 10, "y": [0, 1] * 5}
    dataset = prepare_frame(frame, weight="w")
    assert dataset.samples("train").weight.tolist() == [0.5] * 6
    assert dataset.preprocessing.feature_names == ("x",)
    for bad, message in ((-1.0, "'-1.0'"), (None, "no value"), (float("inf"), "'inf'")):
        with pytest.raises(DataError, match=message):
            prepare_frame({**frame, "w": [bad, *[1.0] * 9]}, weight="w")
    with pytest.raises(DataError, match="0 in every row"):
        prepare_frame({**frame, "w": [0.0] * 10}, weight="w")


def test_target_scale_follows_the_head(prepare_frame):
    frame = {"x": range(50), "y": np.linspace(10.5, 90, 50)}
    assert prepare_frame(frame).preprocessing.target.scale[0] > 1
    assert prepare_frame(frame, target_scale="none").preprocessing.target.scale == (1.0,)
    for head in ("softplus", "exponential"):
        assert prepare_frame(frame, model={"head": head}).preprocessing.target.scale == (1.0,)
    shares = {"x": range(50), "y": np.linspace(0.105, 0.9, 50)}
    assert prepare_frame(shares, model={"head": "sigmoid"}).preprocessing.target.scale == (1.0,)


COUNTS = [*range(4), *range(4)] * 15


@pytest.mark.parametrize(
    ("y", "sections", "message"),
    [
        ([-1, *COUNTS], {"loss": "poisson"}, "no negative numbers in 'y', as loss: poisson"),
        ([-2.5, *COUNTS], {"loss": "mean_squared_logarithmic_error"}, "found -2.5"),
        ([-1, *COUNTS], {"model": {"head": "softplus"}}, "as model.head: softplus"),
        ([0.5, *COUNTS], {"model": {"head": "sigmoid"}}, r"numbers in \[0, 1\]"),
        ([0.5, *COUNTS], {"loss": "mean_absolute_percentage_error"}, "no zeros in 'y'"),
    ],
)
def test_targets_out_of_range_of_head_or_loss(prepare_frame, y, sections, message):
    frame = {"x": range(len(y)), "y": y}
    split = {"by": "random", "test": 0, "validation": 0}
    with pytest.raises(DataError, match=message) as raised:
        prepare_frame(frame, split=split, **sections)
    assert "table.csv:" in str(raised.value)
    automatic = prepare_frame(frame, task="regression", split=split)
    assert automatic.preprocessing.target.task == "regression"


@pytest.mark.parametrize(
    "sections",
    [
        {"loss": "poisson"},
        {"loss": "mean_squared_logarithmic_error"},
        {"model": {"head": "exponential"}},
    ],
)
def test_few_counts_are_regression_if_a_setting_requires_numbers(prepare_frame, sections):
    frame = {"x": range(120), "y": COUNTS}
    assert prepare_frame(frame).preprocessing.target.task == "multiclass"
    target = prepare_frame(frame, **sections).preprocessing.target
    assert (target.task, target.scale) == ("regression", (1.0,))
    words = {"x": range(120), "y": [f"class {n}" for n in COUNTS]}
    assert prepare_frame(words, **sections).preprocessing.target.task == "multiclass"


def test_classes_by_split(prepare_frame):
    dataset = prepare_frame({"x": range(100), "y": ["a", "b"] * 50})
    assert dataset.classes("train") == {"a": 30, "b": 30}
    assert dataset.classes("test") == {"a": 10, "b": 10}


def bad(**changes):
    return {"x": range(20), "c": ["p", "q"] * 10, "y": ["a", "b"] * 10, **changes}


@pytest.mark.parametrize(
    ("frame", "data", "where", "message"),
    [
        (bad(), {"target": "yy"}, "", "did you mean 'y'"),
        (bad(), {"weight": "ww", "features": {"exclude": ["idd"]}}, "", "'idd'"),
        (bad(), {"features": {"exclude": ["x", "c"]}}, "", "at least one feature"),
        (bad(), {"features": {"include": ["pixel_*"]}}, "", "'pixel_*'"),
        (bad(), {"split": {"by": "group", "column": "g"}}, "", "'g'"),
        (bad(), {"columns": {"z": {"kind": "numeric"}}}, "", "'z'"),
        (bad(), {"columns": {"c": {"scale": "none"}}}, "", "a setting of a categorical column"),
        (bad(), {"columns": {"c": {"impute": "median"}}}, "", "one of drop, separate_level"),
        (bad(), {"columns": {"c": {"kind": "numeric"}}}, "table.csv:", "a number in 'c'"),
        (bad(), {"columns": {"c": {"kind": "datetime"}}}, "table.csv:", "a date"),
        (bad(), {"clean": {"outliers": {"columns": ["c"]}}}, "", "'c', which is categorical"),
        (bad(y=["a"] * 20), {}, "table.csv", "only 'a'"),
        (bad(y=[None] * 20), {}, "table.csv", "none with a target"),
        (bad(y=["a"] * 19 + ["b"]), {}, "", "1 row of 'b'"),
        (bad(y=["a"] * 19 + [None]), {"clean": {"missing_target": "error"}}, "table.csv:21", "none"),
        (bad(x=["1"] * 19 + ["oops"]), {"split": {"test": 0.0, "validation": 0.0}},
         "table.csv:21", "'oops'"),
        (bad(x=[1.5] * 19 + [float("inf")]), {"split": {"test": 0.0, "validation": 0.0}},
         "table.csv:21", "infinity"),
        (bad(y=[*range(1, 20), "inf"]), {"task": "regression"}, "table.csv:21", "'inf'"),
        (bad(x=[None] * 20, c=["p"] * 20), {}, "table.csv", "a feature that varies"),
        (bad(), {"split": {"by": "column", "column": "c"}}, "", "train, validation or test"),
        (bad(c=["p"] * 20), {"split": {"by": "group", "column": "c"}}, "", "try another seed"),
        (bad(c=["p", None] * 10), {"split": {"by": "group", "column": "c"}}, "table.csv:3", "a value"),
        (bad(c=["p"] * 20), {"split": {"by": "time", "column": "c"}}, "", "ISO 8601"),
        (bad(y=np.linspace(0, 1, 20)), {"split": {"by": "stratified"}}, "", "classes to split"),
        (bad(c=["train"] * 18 + ["test"] * 2, y=["a", "b"] * 9 + ["n", "n"]),
         {"split": {"by": "column", "column": "c"}}, "table.csv:20", "'n' in 'y' in 2 rows"),
        ({"x": [1], "y": ["a"]}, {}, "", "at least 3 rows"),
    ],
)  # fmt: skip
def test_invalid_tables(prepare_frame, frame, data, where, message):
    with pytest.raises(DataError) as caught:
        prepare_frame(pl.DataFrame(frame, strict=False), **data)
    assert message in str(caught.value)
    locations = [problem.where.rpartition("/")[2] for problem in caught.value.problems]
    assert locations[0].startswith(where)
    assert all(location or problem.key for location, problem in
               zip(locations, caught.value.problems, strict=True))  # fmt: skip


def test_all_problems_are_reported(prepare_frame):
    with pytest.raises(DataError) as caught:
        prepare_frame(bad(), target=["p", "q"], weight="w", features={"exclude": ["u"]})
    assert len(caught.value.problems) == 4


def test_constant_and_empty_columns_are_ignored_with_a_warning(prepare_frame):
    dataset = prepare_frame(bad(k=[3] * 20, e=[None] * 20))
    assert dataset.preprocessing.feature_names == ("x", "c=p", "c=q")
    assert dataset.warnings == (
        "ignored, no values in the training rows: 'e'",
        "ignored, constant in the training rows: 'k'",
    )


def test_identifiers_warn(prepare_frame):
    dataset = prepare_frame(bad(x=[f"n{i}" for i in range(20)]) | {"z": range(20)})
    assert dataset.warnings == ()
    frame = {"n": [f"n{i}" for i in range(100)], "x": range(100), "y": [0, 1] * 50}
    assert "60 distinct values" in prepare_frame(frame).warnings[0]


def test_split_column_is_a_feature_only_if_included(prepare_frame):
    split = {"by": "group", "column": "c"}
    frame = bad(c=[f"g{i % 10}" for i in range(20)])
    assert prepare_frame(frame, split=split).preprocessing.feature_names == ("x",)
    configured = prepare_frame(frame, split=split, features={"include": ["x", "c"]}, seed=2)
    assert "c=g3" in configured.preprocessing.feature_names


def test_many_columns(prepare_frame):
    rng = np.random.default_rng(0)
    frame = {f"g{i}": rng.normal(size=30) for i in range(600)}
    dataset = prepare_frame({**frame, "y": [0, 1] * 15})
    assert dataset.samples("train").inputs["features"].shape == (18, 600)


def test_encoded_rows_are_shared_until_released(prepare_frame):
    frame = pl.DataFrame({"a": [0.5 * row for row in range(40)], "y": ["a", "b"] * 20})
    dataset = prepare_frame(frame)
    train = dataset.samples("train")
    assert dataset.samples("train") is train
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.samples("train") is not train
    np.testing.assert_array_equal(
        copy.samples("train").inputs["features"], train.inputs["features"]
    )
    dataset.release_samples()
    assert dataset.samples("train") is not train
    linear = dataset.with_preprocessing(dataset.preprocessing)
    assert linear.samples("train") is not dataset.samples("train")


def test_networks_share_the_rows_of_equal_class_weights(prepare_frame):
    frame = pl.DataFrame({"a": [0.5 * row for row in range(40)], "y": ["a", "b"] * 20})
    train = prepare_frame(frame).samples("train")
    weights = np.array([1.0, 3.0], np.float32)
    weighted = train.with_class_weights(weights, class_indices)
    assert train.with_class_weights(weights.copy(), class_indices) is weighted
    assert weighted.inputs["features"] is train.inputs["features"]
    np.testing.assert_array_equal(weighted.weight, np.where(train.y[:, 0] > 0.5, 3.0, 1.0))
    encode = get_task_kind("binary").encode_for_head
    assert train.encoded_for_head(encode, 1) is train
    two = train.encoded_for_head(encode, 2)
    assert train.encoded_for_head(encode, 2) is two
    np.testing.assert_array_equal(two.y, np.stack([1 - train.y[:, 0], train.y[:, 0]], axis=1))
    np.testing.assert_array_equal(
        two.with_class_weights(weights, class_indices).weight, weighted.weight
    )


def test_typed_tables_and_text_are_encoded_equally(tmp_path, mixed_frame):
    mixed_frame.write_csv(tmp_path / "t.csv")
    mixed_frame.write_parquet(tmp_path / "t.parquet")
    mixed_frame.write_ipc(tmp_path / "t.arrow")
    mixed_frame.write_ndjson(tmp_path / "t.ndjson")
    found = [prepare(config_of(tmp_path / f"t.{kind}", BY_COLUMN))
             for kind in ("csv", "parquet", "arrow", "ndjson")]  # fmt: skip
    for other in found[1:]:
        assert fitted(other) == fitted(found[0])
        np.testing.assert_array_equal(
            other.samples("test").inputs["features"], found[0].samples("test").inputs["features"]
        )

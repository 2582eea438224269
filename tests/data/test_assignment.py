from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from trainer.config.schema import Config
from trainer.data.prepare import prepare
from trainer.data.splits import TRAIN, VALIDATION
from trainer.errors import DataError


def test_validation_rows_come_from_named_training_files(tmp_path):
    for name, rows in (("train", 100), ("test", 20)):
        pl.DataFrame({"x": range(rows), "y": ["a", "b"] * (rows // 2)}).write_csv(
            tmp_path / f"{name}.csv"
        )
    source = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    dataset = prepare(Config.model_validate({"data": {"source": source, "target": "y"}}))
    assert [dataset.rows(name) for name in ("train", "validation", "test")] == [80, 20, 20]
    assert np.all(dataset.assignment[100:] == 2)
    alone = {"source": {"train": source["train"]}, "target": "y"}
    dataset = prepare(Config.model_validate({"data": alone}))
    assert [dataset.rows(name) for name in ("train", "validation", "test")] == [80, 20, 0]


def test_labels_are_stratified_by_their_combinations(prepare_frame):
    frame = {"x": range(100), "p": [1, 0] * 50, "q": [1, 1, 0, 0] * 25}
    dataset = prepare_frame(frame, target=["p", "q"], split={"by": "stratified"})
    train = dataset.samples("train").y
    assert np.unique(train, axis=0, return_counts=True)[1].tolist() == [15] * 4


def test_auto_stratifies_classes(prepare_frame):
    frame = {"x": range(100), "y": ["a"] * 90 + ["b"] * 10}
    for seed in range(5):
        assert prepare_frame(frame, seed=seed).classes("test") == {"a": 18, "b": 2}


def test_split_is_reproducible_per_seed(prepare_frame):
    frame = {"x": range(100), "y": np.linspace(0, 1, 100)}
    result = [prepare_frame(frame, seed=seed).assignment.tolist() for seed in (1, 2, 1)]
    assert result[0] == result[2] != result[1]


def test_groups_are_not_split(prepare_frame):
    frame = pl.DataFrame({"g": [f"g{i % 30}" for i in range(300)], "x": range(300),
                          "y": [0, 1] * 150})  # fmt: skip
    dataset = prepare_frame(frame, split={"by": "group", "column": "g"})
    parts = frame.with_columns(pl.Series("part", dataset.assignment)).group_by("g")
    assert parts.agg(pl.col("part").n_unique())["part"].max() == 1


def test_named_file_without_targets_raises(tmp_path):
    (tmp_path / "train.csv").write_text("x,y\n1,a\n2,b\n")
    (tmp_path / "test.csv").write_text("x,y\n1,\n")
    source = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    with pytest.raises(DataError, match=r"data\.source\.test"):
        prepare(Config.model_validate({"data": {"source": source, "target": "y"}}))


@pytest.mark.parametrize(
    "split",
    [
        {},
        {"by": "random"},
        {"by": "stratified", "test": 0.13, "validation": 0.17},
        {"by": "group", "column": "g"},
        {"by": "time", "column": "x"},
        {"by": "column", "column": "part"},
        {"by": "hash", "column": "x"},
        {"fold": "2/3"},
        {"by": "time", "column": "x", "fold": "2/3"},
    ],
    ids=str,
)
def test_train_on_validation_keeps_test_rows(tmp_path, split):
    frame = pl.DataFrame(
        {
            "g": [f"g{i % 30}" for i in range(300)],
            "part": [("train", "validation", "test")[i % 3] for i in range(300)],
            "x": range(300),
            "y": ["a" if i % 7 else "b" for i in range(300)],
        }
    )
    frame.write_csv(tmp_path / "table.csv")

    def assigned(read, **more):
        data = {"source": str(tmp_path / "table.csv"), "target": "y", "split": split | more}
        return read(Config.model_validate({"data": data})).assignment

    # A hash split needs the whole table.
    for read in [prepare] if split.get("by") == "hash" else [prepare, prepare_streaming]:
        before, merged = assigned(read), assigned(read, train_on_validation=True)
        assert (before == VALIDATION).any()
        np.testing.assert_array_equal(merged, np.where(before == VALIDATION, TRAIN, before))


def test_train_on_validation_with_named_files(tmp_path):
    for name in ("train", "validation", "test"):
        pl.DataFrame({"x": range(20), "y": ["a", "b"] * 10}).write_csv(tmp_path / f"{name}.csv")
    source = {name: str(tmp_path / f"{name}.csv") for name in ("train", "validation", "test")}
    data = {"source": source, "target": "y", "split": {"train_on_validation": True}}
    dataset = prepare(Config.model_validate({"data": data}))
    assert [dataset.rows(name) for name in ("train", "validation", "test")] == [40, 0, 20]

"""Prediction files of every task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trainer.errors import RunError
from trainer.metrics.predictions import Predictions
from trainer.report import predictions
from trainer.report.predictions import (
    StoredPredictions,
    predictions_to_parquet,
    read_split_predictions,
)
from trainer.runs.directory import RunDirectory
from trainer.task_names import TaskName

RNG = np.random.default_rng(5)
SHARES = RNG.dirichlet(np.ones(3), 4).astype(np.float32)
CASES: dict[TaskName, tuple[tuple[str, ...], list[str], np.ndarray, np.ndarray]] = {
    "binary": (
        ("no", "ja ✓"),
        ["probability_ja ✓"],
        np.array([[0], [1], [1], [0.0]]),
        SHARES[:, :1],
    ),
    "multiclass": (("a", "b", "c"), ["p_a", "p_b", "p_c"], np.eye(3)[[2, 0, 1, 1]], SHARES),
    "multilabel": (("x", "y", "z"), ["p_x", "p_y", "p_z"], np.eye(3)[[2, 0, 1, 1]], SHARES),
    "regression": (("m",), ["predicted_m"], RNG.normal(size=(4, 1)), RNG.normal(size=(4, 1))),
}


def run_in(folder: Path) -> RunDirectory:
    folder.mkdir(exist_ok=True)
    return RunDirectory(folder)


@pytest.mark.parametrize("task", CASES)
def test_round_trip(tmp_path: Path, task: TaskName) -> None:
    names, columns, y, p = CASES[task]
    weight = np.array([1.0, 2.0, 0.5, 1.0])
    given = Predictions(task, names, y, p, np.array([7, 3, 9, 1]), weight)
    run = run_in(tmp_path / "run")
    groups = pl.Series(["u", "v", "u", "w"])
    run.write_predictions("test.parquet", predictions_to_parquet(given, columns, groups))
    result = read_split_predictions(run, "test", task, names, columns)
    assert result is not None
    assert result.p.dtype == p.dtype
    for item, other in (
        (result.y, y),
        (result.p, p),
        (result.rows, given.rows),
        (result.weight, weight),
    ):
        np.testing.assert_array_equal(item, other)
    assert result.group is not None
    assert result.group.tolist() == [0, 1, 0, 2]


def test_classes_are_written_as_text(tmp_path: Path) -> None:
    names, columns, y, p = CASES["binary"]
    run = run_in(tmp_path / "run")
    given = Predictions("binary", names, y, p, np.arange(4))
    run.write_predictions("test.parquet", predictions_to_parquet(given, columns))
    frame = pl.read_parquet(run.predictions / "test.parquet")
    assert frame.columns == ["row", "actual", "probability_ja ✓"]
    assert frame["actual"].cast(pl.String).to_list() == ["no", "ja ✓", "ja ✓", "no"]


@pytest.mark.parametrize("kept", [10, 3])
def test_large_splits_are_read_when_they_are_used(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_KEPT_ROWS", kept)
    names, columns, y, p = CASES["binary"]
    run = run_in(tmp_path / "run")
    for split, rows in (("train", slice(0, 4)), ("test", slice(0, 0))):
        given = Predictions("binary", names, y[rows], p[rows], np.arange(4)[rows])
        run.write_predictions(f"{split}.parquet", predictions_to_parquet(given, columns))
    read: list[str] = []

    def read_split(split: str) -> Predictions | None:
        read.append(split)
        return read_split_predictions(run, split, "binary", names, columns)

    stored = StoredPredictions(("test", "validation", "train"), read_split)
    assert (list(stored), len(stored), "test" in stored) == (["train"], 1, False)
    assert stored.get("test") is None
    assert read == ["test", "validation", "train"]
    for _ in range(2):
        np.testing.assert_array_equal(stored["train"].p, p)
    assert read[3:] == ([] if kept == 10 else ["train", "train"])


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    names, columns, *_ = CASES["binary"]
    run = run_in(tmp_path / "run")
    assert read_split_predictions(run, "test", "binary", names, columns) is None
    run.write_predictions("test.parquet", b"PAR1 nothing")
    with pytest.raises(RunError, match="expected predictions of the run"):
        read_split_predictions(run, "test", "binary", names, columns)
    buffer = tmp_path / "other.parquet"
    pl.DataFrame({"row": [1], "actual": ["maybe"], columns[0]: [0.5]}).write_parquet(buffer)
    run.write_predictions("test.parquet", buffer.read_bytes())
    with pytest.raises(RunError, match="maybe"):
        read_split_predictions(run, "test", "binary", names, columns)

"""Likely label errors according to the network of a run, from its out-of-sample predictions."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from trainer.audit.labels import LabelIssue, find_label_issues
from trainer.config.data import Data
from trainer.config.file_formats import FileFormat
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Float64Array
from trainer.data.image_folders import read_image_folder
from trainer.data.out_of_fold import out_of_fold_names
from trainer.data.parquet_errors import parquet_errors
from trainer.data.sources import file_format
from trainer.data.splits import SplitName
from trainer.data.tables import SourceFile, Table
from trainer.data.targets import FittedTarget
from trainer.errors import DataError, Problem, RunError, command_text
from trainer.runs.directory import RunDirectory


def read_labeled_predictions(
    run: RunDirectory, target: FittedTarget, prediction_names: tuple[str, ...]
) -> dict[str, pl.DataFrame]:
    """Return the predictions of a run by kind of rows: `row`, `actual_<column>` and the predictions."""
    frames: dict[str, tuple[pl.DataFrame, Mapping[str, str]]] = {}
    if run.out_of_fold.is_file():
        frame = _parquet(run, run.out_of_fold.name)
        frames["out of fold"] = frame, out_of_fold_names(target.columns, prediction_names).target
    else:
        splits: tuple[SplitName, ...] = ("validation", "test")
        for split in splits:
            if not (run.predictions / f"{split}.parquet").is_file():
                continue
            frame = _parquet(run, f"{split}.parquet")
            many_columns = len(target.columns) > 1 or target.has_label_lists
            names = target.names if target.has_label_lists else target.columns
            actual = {name: f"actual_{name}" if many_columns else "actual" for name in names}
            if set(actual.values()) <= set(frame.columns):
                frames[split] = frame, actual
    if not frames:
        raise RunError(
            Problem(
                str(run.predictions),
                "predictions and labels of rows that the network was not trained on",
                "no out_of_fold.parquet or validation.parquet with both",
                _prediction_fix(run),
            )
        )
    for frame, columns in frames.values():
        missing = [
            name
            for name in ("row", *columns.values(), *prediction_names)
            if name not in frame.columns
        ]
        if missing:
            fix = "restore the file from a copy of the run"
            raise RunError(
                Problem(str(run.predictions), f"a column '{missing[0]}'", "no such column", fix)
            )
    return {
        name: frame.select("row", *(pl.col(at).alias(f"actual_{of}") for of, at in columns.items()),
                           *prediction_names)
        for name, (frame, columns) in frames.items()
    }  # fmt: skip


def _parquet(run: RunDirectory, name: str) -> pl.DataFrame:
    with parquet_errors(run.predictions / name, "a Parquet file"):
        return pl.read_parquet(io.BytesIO(run.read_predictions(name)))


def label_issues_of(
    frame: pl.DataFrame, target: FittedTarget, prediction_names: tuple[str, ...]
) -> list[LabelIssue]:
    """Return the label issues among predictions, for yes/no columns those of each column."""
    if f"actual_{target.columns[0]}" in frame.columns:
        labels = frame.select(pl.col(f"actual_{name}").alias(name) for name in target.columns)
        y, has_label = target.encode(labels)
    else:  # a column for each label of the lists
        y = frame.select(f"actual_{name}" for name in target.names).to_numpy().astype(np.float32)
        has_label = np.ones(len(y), np.bool_)
    labeled = np.flatnonzero(has_label)
    rows = frame["row"].to_numpy().astype(np.int64)[labeled]
    p: Float64Array = frame.select(prediction_names).to_numpy().astype(np.float64)[labeled]
    rules = TASK_RULES[target.task]
    if rules.predicts_most_likely:
        return find_label_issues(rows, y[labeled].argmax(axis=1), p, target.classes)
    label_issues = []
    for column, name in enumerate(target.names if target.has_label_lists else target.columns):
        no, yes = (f"not {name}", name) if rules.has_several_labels else target.classes
        both = np.stack([1 - p[:, column], p[:, column]], axis=1)
        label_issues += find_label_issues(
            rows, y[labeled, column].astype(np.int64), both, (no, yes)
        )
    return label_issues


def files_of(run: RunDirectory, data: Data) -> Table:
    """Return the files of a run to locate its rows; only folders of images are read."""
    files = tuple(
        SourceFile(file.path, file.bytes, file.rows, file.sha256)
        for file in run.read_manifest().data
    )
    folders = [Path(file.path) for file in files if Path(file.path).is_dir()]
    if len(folders) == len(files):
        frame = pl.concat([read_image_folder(folder)[0] for folder in folders])
        kinds: list[FileFormat] = ["folder"] * len(files)
        return Table(frame, files, None, data.csv, tuple(kinds))
    formats = tuple(file_format(Path(file.path), data.format) for file in files)
    return Table(pl.DataFrame(), files, None, data.csv, formats)


def location(table: Table, row: int) -> str:
    try:
        return table.where(row)
    except (OSError, IndexError, DataError):  # the files have moved or changed
        return f"row {row + 1} of {table.name}"


def _prediction_fix(run: RunDirectory) -> str:
    """Return the command that makes out-of-sample predictions for a run."""
    if run.read_manifest().status != "finished":
        return f"finish it: {command_text('resume', run.path)}"
    return f"train it with folds: {command_text('fit', run.config, 'fit.folds=5')}"

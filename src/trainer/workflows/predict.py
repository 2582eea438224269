"""Predictions for the rows of a file: one output row per input row, in the same order.

A file larger than memory is read, predicted and written in parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.task_rules import TASK_RULES
from trainer.data.column_names import free_name
from trainer.data.label_lists import join_labels
from trainer.data.new_data import PredictionBatch, prediction_batches
from trainer.data.preprocessing import Preprocessing, warning_texts
from trainer.data.sources import is_large
from trainer.data.table_writer import csv_bytes, write_table
from trainer.engine import devices
from trainer.engine.selection import exceeds_memory
from trainer.workflows.plan import locate_problems
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import data_settings_for, ensemble_task, open_members


@dataclass(frozen=True)
class LazyPredictions:
    """Predictions that are computed while they are consumed.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        parts: Frames with `row`, the columns passed through, the predictions and `unseen`, one row per
            input row. They can be consumed once.
    """

    run: Path
    checkpoint: str
    parts: Iterator[pl.DataFrame]
    _oddities: Counter[tuple[str, str]] = field(repr=False)
    _reading: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Return all parts as one frame."""
        return pl.concat(self.parts)

    def csv(self) -> Iterator[str]:
        """Yield all parts as CSV, some lines at a time, without the final line end."""
        for number, frame in enumerate(self.parts):
            yield csv_bytes(frame, header=number == 0).decode().removesuffix("\n")

    def write(self, out: Path) -> tuple[int, list[str]]:
        """Write all parts as CSV or Parquet by file extension; completely or not at all.

        Returns:
            The number of rows, and the columns.
        """
        return write_table(self.parts, out)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return warnings about the rows consumed so far."""
        return (*self._reading, *warning_texts(self._oddities))


def predict(
    path: Path,
    source: Path,
    *,
    keep: tuple[str, ...],
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    read_options: Sequence[str] = (),
) -> LazyPredictions:
    """Predict the rows of a file with a trained network.

    For a run with repeats or folds, predictions are means over its members, with their spread: the
    standard deviation between members.

    Args:
        path: A run directory or a checkpoint in it.
        source: The file; it needs the feature columns, not the target.
        keep: Columns of the file to pass through; "*" for all. A column with the name of a result
            column is renamed to `<name>_of_input`.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether custom layers may be imported.
        read_options: Settings for reading the file, as typed, that differ from those of the run.

    Raises:
        RunError: The run does not exist or is damaged.
        ConfigError: A setting is invalid.
        DataError: The file lacks columns or cannot be read; for later parts, when they are consumed.
    """
    run, members = open_members(path)
    opened = members[0]
    task = ensemble_task(run, members)
    data = data_settings_for(opened, source, read_options, "trainer predict")
    # Members of the same fold encode rows in the same way.
    encoders = unique_encoders([member.preprocessing for member in members])

    def encoded_parts() -> Iterator[tuple[PredictionBatch, ...]]:
        with locate_problems(opened.loaded):
            parts = [
                prediction_batches(data, encoder, keep, streamed=exceeds_memory(data))
                for encoder in encoders
            ]
            yield from zip(*parts, strict=True)

    rows = encoded_parts()
    with devices.tensorflow_import(in_background=is_large(data)):
        first = next(rows)
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with locate_problems(opened.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    encoding_warnings: Counter[tuple[str, str]] = Counter()

    def predicted_parts() -> Iterator[pl.DataFrame]:
        for part in chain([first], rows):
            predictions = ensemble.predict(
                [part[encoders.index(member.preprocessing)].encoded.x for member in members]
            )
            encoding_warnings.update(part[0].encoded.encoding_warnings)
            columns = prediction_columns(task, predictions.mean)
            if predictions.spread is not None:
                columns |= spread_columns(task, predictions.spread, columns)
            yield _result(part[0], columns)

    return LazyPredictions(
        run.path, opened.checkpoint, predicted_parts(), encoding_warnings, first[0].warnings
    )


def unique_encoders(encoders: Sequence[Preprocessing]) -> list[Preprocessing]:
    """Return the distinct encoders in order of appearance."""
    unique: list[Preprocessing] = []
    for encoder in encoders:
        if encoder not in unique:
            unique.append(encoder)
    return unique


def spread_columns(
    task: Task, spread: NDArray[np.floating[Any]], others: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Return the spread of each predicted number as `<name>_spread`.

    Args:
        task: The task.
        spread: (rows, numbers) standard deviations between members.
        others: The names of the columns before them.
    """
    return {
        free_name(f"{name}_spread", others, "_of_members"): spread[:, at]
        for at, name in enumerate(task.prediction_names)
    }


def prediction_columns(
    task: Task, predictions: NDArray[np.floating[Any]]
) -> dict[str, pl.Series | NDArray[Any]]:
    """Return the predictions as named columns.

    Classes: `label` and `probability_<class>` for each class. Lists of labels: `labels`, joined as in
    the table, and `probability_<label>` for each label. Yes/no columns: `label_<column>` and
    `probability_<column>`. Numbers: `predicted_<column>`, and `predicted_<column>_low` and `_high`,
    the prediction interval (`evaluate.prediction_interval`); `…_low_of_interval` if the name of another
    target column makes this the name of its prediction.
    """
    target = task.target
    rules = TASK_RULES[target.task]
    columns: dict[str, pl.Series | NDArray[Any]] = {}
    if rules.is_exclusive:
        columns["label"] = pl.Series(target.classes).gather(
            task.predicted_labels(predictions)[:, 0]
        )
        if rules.has_positive_class:
            predictions = np.concatenate([1 - predictions, predictions], axis=1)
        for number, column in enumerate(target.classes):
            columns[f"probability_{column}"] = predictions[:, number]
        return columns
    if target.listed:
        labels = task.predicted_labels(predictions)
        return {
            "labels": join_labels(labels, target.classes, target.separator),
            **dict(zip(task.prediction_names, predictions.T, strict=True)),
        }
    if rules.has_classes:
        labels = task.predicted_labels(predictions)
        for number, column in enumerate(target.columns):
            columns[f"label_{column}"] = labels[:, number]
            columns[f"probability_{column}"] = predictions[:, number]
        return columns
    interval = task.prediction_intervals(predictions) if task.half_widths else None
    for number, column in enumerate(target.columns):
        columns[f"predicted_{column}"] = predictions[:, number]
        if interval is not None:
            for end, values in zip(("low", "high"), interval, strict=True):
                name = free_name(f"predicted_{column}_{end}", task.prediction_names, "_of_interval")
                columns[name] = values[:, number]
    return columns


def _result(
    part: PredictionBatch, predictions: dict[str, pl.Series | NDArray[Any]]
) -> pl.DataFrame:
    height = len(part.encoded.unseen)
    columns: dict[str, Any] = {"row": np.arange(part.first, part.first + height)}
    for series in part.kept:
        name = free_name(series.name, {*columns, *predictions, "unseen"}, "_of_input")
        columns[name] = series
    return pl.DataFrame({**columns, **predictions, "unseen": part.encoded.unseen})

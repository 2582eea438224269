"""Predictions for rows of a file: one row out for each row in, in its order.

A file larger than memory is read, answered and written a part at a time.
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

from trainer.data.column_names import free_name
from trainer.data.label_lists import join_labels
from trainer.data.new_data import PredictionBatch, prediction_batches
from trainer.data.preprocessing import Preprocessing, warning_texts
from trainer.data.sources import is_large
from trainer.data.table_writer import csv_bytes, write_table
from trainer.engine import devices
from trainer.workflows.engines import exceeds_memory
from trainer.workflows.plan import locate_problems
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import data_settings_for, ensemble_task, open_members


@dataclass(frozen=True)
class LazyPredictions:
    """Predictions that are made while they are taken.

    Attributes:
        run: The run directory.
        checkpoint: The checkpoint's name.
        parts: `row`, columns passed through, the answers, `unseen`; one row for each input row, some
            at a time. They can be taken once.
    """

    run: Path
    checkpoint: str
    parts: Iterator[pl.DataFrame]
    _oddities: Counter[tuple[str, str]] = field(repr=False)
    _reading: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All parts as one."""
        return pl.concat(self.parts)

    def csv(self) -> Iterator[str]:
        """All parts as CSV, some lines at a time, without the last line's end."""
        for number, frame in enumerate(self.parts):
            yield csv_bytes(frame, header=number == 0).decode().removesuffix("\n")

    def write(self, out: Path) -> tuple[int, list[str]]:
        """Write all parts as CSV or Parquet, by the name's ending; whole or not at all.

        Returns:
            How many rows, and the columns.
        """
        return write_table(self.parts, out)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the rows taken so far."""
        return (*self._reading, *warning_texts(self._oddities))


def predict(
    path: Path,
    source: Path,
    *,
    keep: tuple[str, ...],
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    reading: Sequence[str] = (),
) -> LazyPredictions:
    """Ask a trained network about the rows of a file.

    A run with repeats or folds answers with the mean of its members' answers, and their spread: the
    standard deviation between them.

    Args:
        path: A run directory or a checkpoint in it.
        source: The file; it needs the feature columns, not the target.
        keep: Columns of the file to pass through; "*" for all. One that is named like a column of
            the result becomes `<name>_of_input`.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether layers of the user's own may be imported.
        reading: Settings of how the file is read, as typed, where that differs from the run's data.

    Raises:
        RunError: There is no such run or it is damaged.
        ConfigError: A setting is wrong.
        DataError: The file lacks columns or cannot be read; of later parts, when they are taken.
    """
    run, members = open_members(path)
    opened = members[0]
    task = ensemble_task(run, members)
    data = data_settings_for(opened, source, reading, "trainer predict")
    # Members of one fold encode alike.
    encoders = unique_encoders([member.preprocessing for member in members])

    def asked() -> Iterator[tuple[PredictionBatch, ...]]:
        with locate_problems(opened.loaded):
            parts = [
                prediction_batches(data, encoder, keep, streamed=exceeds_memory(data))
                for encoder in encoders
            ]
            yield from zip(*parts, strict=True)

    rows = asked()
    with devices.tensorflow_import(in_background=is_large(data)):
        first = next(rows)
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with locate_problems(opened.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    encoding_warnings: Counter[tuple[str, str]] = Counter()

    def answered() -> Iterator[pl.DataFrame]:
        for part in chain([first], rows):
            answers = ensemble.answers(
                [part[encoders.index(member.preprocessing)].encoded.x for member in members]
            )
            encoding_warnings.update(part[0].encoded.encoding_warnings)
            columns = prediction_columns(task, answers.mean)
            if answers.spread is not None:
                columns |= spread_columns(task, answers.spread, columns)
            yield _result(part[0], columns)

    return LazyPredictions(
        run.path, opened.checkpoint, answered(), encoding_warnings, first[0].warnings
    )


def unique_encoders(encoders: Sequence[Preprocessing]) -> list[Preprocessing]:
    """Those that differ, in their order."""
    found: list[Preprocessing] = []
    for encoder in encoders:
        if encoder not in found:
            found.append(encoder)
    return found


def spread_columns(
    task: Task, spread: NDArray[np.floating[Any]], others: Collection[str]
) -> dict[str, NDArray[Any]]:
    """The spread of each number of an answer, as `<name>_spread`; `others` are the columns before."""
    return {
        free_name(f"{name}_spread", others, "_of_members"): spread[:, at]
        for at, name in enumerate(task.prediction_names)
    }


def prediction_columns(
    task: Task, answers: NDArray[np.floating[Any]]
) -> dict[str, pl.Series | NDArray[Any]]:
    """The answers as named columns.

    Classes: `label` and `probability_<class>` for each class. Lists of labels: `labels`, joined as in
    the table, and `probability_<label>` for each label. Yes/no columns: `label_<column>` and
    `probability_<column>`. Numbers: `predicted_<column>`, and `predicted_<column>_low` and `_high`,
    between which it lies with the probability `evaluate.prediction_interval`; `…_low_of_interval` where
    a target column is named so that this is the name of its prediction.
    """
    target = task.target
    match target.task:
        case "binary" | "multiclass":
            labels = task.labels(answers)[:, 0]
            shares = np.concatenate([1 - answers, answers], axis=1)
            per_class = shares if target.task == "binary" else answers
            return {
                "label": pl.Series(target.classes).gather(labels),
                **{
                    f"probability_{name}": per_class[:, number]
                    for number, name in enumerate(target.classes)
                },
            }
        case "multilabel":
            labels = task.labels(answers)
            columns: dict[str, pl.Series | NDArray[Any]] = {}
            if target.listed:
                return {
                    "labels": join_labels(labels, target.classes, target.separator),
                    **dict(zip(task.prediction_names, answers.T, strict=True)),
                }
            for number, name in enumerate(target.columns):
                columns[f"label_{name}"] = labels[:, number]
                columns[f"probability_{name}"] = answers[:, number]
            return columns
        case "regression":
            numbers: dict[str, pl.Series | NDArray[Any]] = {}
            ends = task.intervals(answers) if task.half_widths else None
            for number, name in enumerate(target.columns):
                numbers[f"predicted_{name}"] = answers[:, number]
                if ends is not None:
                    for end, values in zip(("low", "high"), ends, strict=True):
                        wanted = f"predicted_{name}_{end}"
                        place = free_name(wanted, task.prediction_names, "_of_interval")
                        numbers[place] = values[:, number]
            return numbers


def _result(part: PredictionBatch, answers: dict[str, pl.Series | NDArray[Any]]) -> pl.DataFrame:
    height = len(part.encoded.unseen)
    columns: dict[str, Any] = {"row": np.arange(part.first, part.first + height)}
    for series in part.kept:
        place = free_name(series.name, {*columns, *answers, "unseen"}, "_of_input")
        columns[place] = series
    return pl.DataFrame({**columns, **answers, "unseen": part.encoded.unseen})

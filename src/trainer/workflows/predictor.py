"""The predictor of a trained run: rows in memory → labels, probabilities or numbers, intervals, flags.

It combines the networks of a run (itself, or its finished repeats and folds), their preprocessing, and
the decisions made after training: threshold, temperature and half-widths of intervals.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.task_rules import TASK_RULES
from trainer.data.column_names import free_name
from trainer.data.in_memory import table_in_memory
from trainer.data.label_lists import join_labels
from trainer.data.new_data import PredictionBatch, prediction_batch
from trainer.data.preprocessing import Preprocessing
from trainer.engine import devices
from trainer.runs.directory import RunDirectory
from trainer.workflows.plan import locate_problems
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import TrainedRun, ensemble_task, open_members

if TYPE_CHECKING:
    from trainer.workflows.ensemble import Ensemble, EnsemblePredictions


class Predictor:
    """A trained run that predicts. Networks are loaded with `load_networks` or when first used.

    Attributes:
        run: The run directory.
        members: The networks that predict for it: its finished members, or itself.
        task: The task, with the decisions made for all members together.
        encoders: The distinct preprocessing of the members: those of the same fold share one.
        representatives: The first member of each encoder.
        encoder_of_member: The index of each member's encoder.
    """

    def __init__(
        self,
        run: RunDirectory,
        members: Sequence[TrainedRun],
        *,
        device: Literal["auto", "cpu", "gpu"],
        allow_custom: bool,
    ) -> None:
        self.run = run
        self.members = tuple(members)
        self.task = ensemble_task(run, members)
        self.encoders: list[Preprocessing] = []
        self.representatives: list[TrainedRun] = []
        for member in members:
            if member.preprocessing not in self.encoders:
                self.encoders.append(member.preprocessing)
                self.representatives.append(member)
        self.encoder_of_member = [self.encoders.index(member.preprocessing) for member in members]
        self._device = device
        self._allow_custom = allow_custom

    def predict(self, frame: object, *, keep: Sequence[str] = ()) -> pl.DataFrame:
        """Predict the rows of a frame, with the columns that `trainer predict` writes.

        Args:
            frame: A polars or pandas DataFrame, a dict of columns, or a list of dicts, one per row. It
                needs the feature columns of the run, not the target.
            keep: Columns to pass through; "*" for all.

        Returns:
            One row per input row, in the same order: `row`, from 0; the columns that are passed
            through; `label` and `probability_<class>`, or `predicted_<column>` with `_low` and `_high`
            if the run has prediction intervals; `<name>_std`, the standard deviation between
            members, for folds and repeats; and `unseen`, whether a category did not occur in training.

        Raises:
            DataError: Columns are missing or have other types of values, or there are no rows.
        """
        first = self.members[0].loaded
        with locate_problems(first):
            table = table_in_memory(frame)
            batches = [
                prediction_batch(table, first.config.data, encoder, keep)
                for encoder in self.encoders
            ]
        return self.predict_encoded_rows(batches)

    def predict_encoded_rows(self, batches: Sequence[PredictionBatch]) -> pl.DataFrame:
        """Predict rows that are encoded by each encoder; see `predict`."""
        predictions = self.predict_numbers([batch.encoded.x for batch in batches])
        columns = prediction_columns(self.task, predictions.mean)
        if predictions.std is not None:
            columns |= std_columns(self.task, predictions.std, columns)
        return _result(batches[0], columns)

    def predict_numbers(self, x: Sequence[NDArray[np.float32]]) -> EnsemblePredictions:
        """Return the mean and standard deviation of the decoded predictions of all members.

        Args:
            x: The rows encoded by each encoder.
        """
        return self._ensemble.predict([x[number] for number in self.encoder_of_member])

    def load_networks(self) -> None:
        """Import TensorFlow and load the networks, if they are not loaded yet.

        Raises:
            RunError: A checkpoint is damaged.
            ConfigError: A custom layer is not allowed.
        """
        self._ensemble  # noqa: B018

    @cached_property
    def _ensemble(self) -> Ensemble:
        devices.start(self._device, devices.usable_cores())
        from trainer.workflows.ensemble import Ensemble

        with locate_problems(self.members[0].loaded):
            return Ensemble(self.members, allow_custom=self._allow_custom)


def open_predictor(
    path: Path, *, device: Literal["auto", "cpu", "gpu"], allow_custom: bool
) -> Predictor:
    """Open a run, or a checkpoint in it, without loading its networks.

    Raises:
        RunError: The run does not exist, has no checkpoint or finished member yet, or is damaged.
    """
    run, members = open_members(path)
    return Predictor(run, members, device=device, allow_custom=allow_custom)


def std_columns(
    task: Task, std: NDArray[np.floating[Any]], others: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Return the standard deviation of each predicted number as `<name>_std`.

    Args:
        task: The task.
        std: (rows, numbers) standard deviations between members.
        others: The names of the columns before them.
    """
    return {
        free_name(f"{name}_std", others, "_of_members"): std[:, index]
        for index, name in enumerate(task.prediction_names)
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

"""Read and write the predictions of a run for one split, `predictions/<split>.parquet`.

The columns are: row, actual or actual_<column>…, one per predicted value, weight, group.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trainer.config.task_rules import TASK_RULES
from trainer.data.parquet_errors import parquet_errors
from trainer.metrics.labels import class_indices, encode_classes
from trainer.metrics.predictions import Predictions
from trainer.runs.directory import RunDirectory
from trainer.task_names import TaskName

LINEAR, BOOSTING = "_linear", "_boosting"
"""Suffixes of the split's name in the files of the baselines."""


def predictions_to_parquet(
    predictions: Predictions, names: Sequence[str], groups: pl.Series | None = None
) -> bytes:
    """Return the content of a predictions file.

    Args:
        predictions: The predictions with their targets.
        names: The names of the columns of predicted values.
        groups: The group of each row, if the split was by group.
    """
    columns: dict[str, Any] = {"row": predictions.rows, **_actual(predictions)}
    # Probabilities are computed in float32; reading gives the same values.
    dtype = np.float32 if TASK_RULES[predictions.task].has_classes else np.float64
    p = predictions.all_predictions()
    columns |= {name: p[:, index].astype(dtype) for index, name in enumerate(names)}
    if predictions.weight is not None:
        columns["weight"] = predictions.weight
    if groups is not None:
        columns["group"] = groups
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def read_split_predictions(
    run: RunDirectory, split: str, task: TaskName, names: Sequence[str], columns: Sequence[str]
) -> Predictions | None:
    """Read the predictions of a run for a split; None if there is no file.

    Args:
        run: The run directory.
        split: The name of a split, with the suffix of a baseline or none.
        task: The task.
        names: Classes (binary: negative, positive), or target columns.
        columns: The columns of predicted values, then those of quantiles, if they are needed.

    Raises:
        RunError: The file is damaged.
    """
    path = run.predictions / f"{split}.parquet"
    if not path.exists():
        return None
    with parquet_errors(path, "predictions of the run"):
        frame = pl.read_parquet(io.BytesIO(run.read_predictions(path.name)))
        p = frame.select(columns).to_numpy()
        y = _targets(frame, task, names)
        width = y.shape[1]
        return Predictions(
            task=task,
            names=tuple(names),
            y=y,
            p=p[:, :width],
            rows=frame["row"].to_numpy(),
            weight=_optional(frame, "weight"),
            group=_group(frame),
            quantiles=p[:, width:] if len(columns) > width else None,
        )


def _actual(predictions: Predictions) -> Mapping[str, Any]:
    y, names = predictions.y, predictions.names
    rules = TASK_RULES[predictions.task]
    if rules.is_exclusive:
        classes = pl.Series(names, dtype=pl.Enum(list(names)))
        return {"actual": classes.gather(class_indices(y))}
    values = y > 0.5 if rules.has_classes else y
    return {f"actual_{name}": values[:, index] for index, name in enumerate(names)}


def _targets(frame: pl.DataFrame, task: TaskName, names: Sequence[str]) -> npt.NDArray[np.float64]:
    rules = TASK_RULES[task]
    if not rules.is_exclusive:
        columns = [f"actual_{name}" for name in names]
        return frame.select(columns).cast(pl.Float64).to_numpy()
    # Casting to an Enum rejects classes that the run does not have.
    actual = frame["actual"].cast(pl.String).cast(pl.Enum(list(names)))
    codes = actual.to_physical().to_numpy().astype(np.int64)
    return encode_classes(codes, len(rules.scored_names(names)), np.float64)


def _optional(frame: pl.DataFrame, name: str) -> npt.NDArray[np.float64] | None:
    return frame[name].cast(pl.Float64).to_numpy() if name in frame.columns else None


def _group(frame: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    if "group" not in frame.columns:
        return None
    return frame["group"].rank("dense").cast(pl.Int64).to_numpy() - 1

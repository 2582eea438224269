"""Read and write the predictions of a run for one split, `predictions/<split>.parquet`.

The columns are: row, actual or actual_<column>…, one per predicted value, weight, group.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from trainer.config.task_rules import TASK_RULES
from trainer.data.parquet_errors import parquet_errors
from trainer.metrics.arrays import FloatArray
from trainer.metrics.labels import class_indices, encode_classes
from trainer.metrics.predictions import Predictions
from trainer.runs.directory import RunDirectory
from trainer.task_names import TaskName

LINEAR, BOOSTING = "_linear", "_boosting"
"""Suffixes of the split's name in the files of the baselines."""


Split = TypeVar("Split", bound=str)
_KEPT_ROWS = 1_000_000


class StoredPredictions(Mapping[Split, Predictions]):
    """The predictions of each split that has any.

    Each is read once at first, so that damage is known. Those of more than a million rows are then read
    again whenever they are used, so that those of one split are in memory at a time.
    """

    def __init__(
        self, splits: Iterable[Split], read: Callable[[Split], Predictions | None]
    ) -> None:
        """Read the predictions.

        Args:
            splits: The splits, in order.
            read: Reads those of a split; None if it has none.
        """
        self._read = read
        self._kept: dict[Split, Predictions | None] = {}
        for split in splits:
            predictions = read(split)
            if predictions is not None and len(predictions):
                is_small = len(predictions) <= _KEPT_ROWS
                self._kept[split] = predictions if is_small else None

    def __getitem__(self, split: Split) -> Predictions:
        kept = self._kept[split]
        predictions = self._read(split) if kept is None else kept
        if predictions is None:
            raise KeyError(split)
        return predictions

    def __contains__(self, split: object) -> bool:
        return split in self._kept

    def __iter__(self) -> Iterator[Split]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


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


def _targets(frame: pl.DataFrame, task: TaskName, names: Sequence[str]) -> FloatArray:
    rules = TASK_RULES[task]
    if not rules.is_exclusive:
        columns = [f"actual_{name}" for name in names]
        dtype = pl.Float32 if rules.has_classes else pl.Float64
        return frame.select(columns).cast(dtype).to_numpy()
    actual, classes = frame["actual"], pl.Enum(list(names))
    if actual.dtype != classes:
        # Rejects classes that the run does not have.
        actual = actual.cast(pl.String).cast(classes)
    return encode_classes(
        actual.to_physical().to_numpy(), len(rules.scored_names(names)), np.float32
    )


def _optional(frame: pl.DataFrame, name: str) -> npt.NDArray[np.float64] | None:
    return frame[name].cast(pl.Float64).to_numpy() if name in frame.columns else None


def _group(frame: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    if "group" not in frame.columns:
        return None
    return frame["group"].rank("dense").cast(pl.Int64).to_numpy() - 1

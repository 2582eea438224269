"""What a run said of the rows of a split, as its `predictions/<split>.parquet` keeps it.

    row, actual or actual_<column>…, an answer a column, weight, group

Owns: the form of these files, both ways. Does not own: what is made of the answers
(`trainer.evaluation`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trainer.config.data import TaskName
from trainer.errors import Problem, RunError
from trainer.evaluation.predictions import Predictions
from trainer.runs.directory import RunDirectory

LINEAR = "_linear"
"""Files of the linear baseline's answers have this after the split's name."""


def prediction_columns(task: TaskName, names: Sequence[str]) -> list[str]:
    """The columns of the predictions in `predictions/<split>.parquet`, for classes or target columns."""
    match task:
        case "binary":
            return [f"probability_{name}" for name in names[1:2]]
        case "multiclass" | "multilabel":
            return [f"probability_{name}" for name in names]
        case "regression":
            return [f"predicted_{name}" for name in names]


def predictions_to_parquet(
    answers: Predictions, names: Sequence[str], groups: pl.Series | None = None
) -> bytes:
    """The content of a file.

    Args:
        answers: What was said.
        names: A name for each answer (columns of `answers.p`).
        groups: The group of each row, where the split was by group.
    """
    columns: dict[str, Any] = {"row": answers.rows, **_actual(answers)}
    # Probabilities are computed in float32 and come back as they were.
    kind = np.float64 if answers.task == "regression" else np.float32
    columns |= {name: answers.p[:, number].astype(kind) for number, name in enumerate(names)}
    if answers.weight is not None:
        columns["weight"] = answers.weight
    if groups is not None:
        columns["group"] = groups
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def read_split_predictions(
    run: RunDirectory, split: str, task: TaskName, names: Sequence[str], columns: Sequence[str]
) -> Predictions | None:
    """What a run said of a split; None where there is no file.

    Args:
        run: The run directory.
        split: A split's name, or with `LINEAR` after it.
        task: What is predicted.
        names: Classes (binary: negative, positive), or target columns.
        columns: The columns of the answers.

    Raises:
        RunError: The file is damaged.
    """
    path = run.predictions / f"{split}.parquet"
    if not path.exists():
        return None
    try:
        frame = pl.read_parquet(io.BytesIO(run.read_predictions(path.name)))
        p = frame.select(columns).to_numpy()
        y = _truth(frame, task, names)
        return Predictions(
            task=task,
            names=tuple(names),
            y=y,
            p=p,
            rows=frame["row"].to_numpy(),
            weight=_optional(frame, "weight"),
            group=_group(frame),
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        found = str(error).splitlines()[0]
        fix = "take the file from a whole copy of the run"
        raise RunError(Problem(str(path), "the answers of the run", found, fix)) from error


def _actual(answers: Predictions) -> Mapping[str, Any]:
    match answers.task:
        case "binary":
            return {"actual": _named(answers.names, answers.y[:, 0] > 0.5)}
        case "multiclass":
            return {"actual": _named(answers.names, answers.y.argmax(axis=1))}
        case "multilabel":
            return {
                f"actual_{name}": answers.y[:, number] > 0.5
                for number, name in enumerate(answers.names)
            }
        case "regression":
            return {
                f"actual_{name}": answers.y[:, number] for number, name in enumerate(answers.names)
            }


def _named(names: Sequence[str], numbers: npt.NDArray[Any]) -> pl.Series:
    return pl.Series(names, dtype=pl.Enum(list(names))).gather(numbers.astype(np.int64))


def _truth(frame: pl.DataFrame, task: TaskName, names: Sequence[str]) -> npt.NDArray[np.float64]:
    if task in {"multilabel", "regression"}:
        columns = [f"actual_{name}" for name in names]
        return frame.select(columns).cast(pl.Float64).to_numpy()
    # As Enum a class that the run does not have is an error.
    actual = frame["actual"].cast(pl.String).cast(pl.Enum(list(names)))
    numbers = actual.to_physical().to_numpy().astype(np.int64)
    if task == "binary":
        return np.asarray(numbers[:, None], np.float64)
    hot: npt.NDArray[np.float64] = np.eye(len(names))[numbers]
    return hot


def _optional(frame: pl.DataFrame, name: str) -> npt.NDArray[np.float64] | None:
    return frame[name].cast(pl.Float64).to_numpy() if name in frame.columns else None


def _group(frame: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    if "group" not in frame.columns:
        return None
    return frame["group"].rank("dense").cast(pl.Int64).to_numpy() - 1

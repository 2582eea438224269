"""Predictions for rows of a file: one row out for each row in, in its order."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.prepare import read_samples
from trainer.engine import devices
from trainer.errors import DataError, Problem, did_you_mean
from trainer.runs.files import write_atomically
from trainer.workflows.plan import located
from trainer.workflows.question import Question
from trainer.workflows.trained import load_network, open_trained


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a prediction made.

    Attributes:
        run: The run directory.
        checkpoint: The checkpoint's name.
        frame: `row`, columns passed through, the answers, `unseen`; one row for each input row.
        warnings: What a user should know of these rows.
    """

    run: Path
    checkpoint: str
    frame: pl.DataFrame
    warnings: tuple[str, ...]


def predict(
    path: Path,
    source: Path,
    *,
    keep: tuple[str, ...],
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
) -> Predicted:
    """Ask a trained network about the rows of a file.

    Args:
        path: A run directory or a checkpoint in it.
        source: The file; it needs the feature columns, not the target.
        keep: Columns of the file to pass through; "*" for all. One that is named like a column of
            the result becomes `<name>_of_input`.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether layers of the user's own may be imported.

    Raises:
        RunError: There is no such run or it is damaged.
        DataError: The file lacks columns or cannot be read.
    """
    opened = open_trained(path)
    with located(opened.loaded):
        rows = read_samples(
            str(source), opened.preprocessing, opened.loaded.config.data, with_target=False
        )
    kept = _kept(rows.table.frame, keep, source)
    devices.start(device, devices.usable_cores())
    from trainer.engine.batches import Evaluator
    from trainer.models.losses import build_loss

    config, question = opened.loaded.config, opened.question
    with located(opened.loaded):
        network = load_network(opened, allow_custom=allow_custom)
    outputs = Evaluator(network, build_loss(config.loss, question.loss)).predict(rows.samples.x)
    answers = answer_columns(question, question.answers(outputs))
    columns: dict[str, Any] = {"row": rows.samples.rows}
    for name in kept:
        place = name
        while place in columns or place in answers or place == "unseen":
            place = f"{place}_of_input"
        columns[place] = rows.table.frame[name]
    columns.update(answers)
    columns["unseen"] = rows.samples.unseen
    return Predicted(
        opened.run.path, opened.checkpoint, pl.DataFrame(columns), rows.samples.warnings
    )


def answer_columns(
    question: Question, answers: NDArray[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    """The answers as named columns.

    Classes: `label` and `probability_<class>` for each class. Yes/no columns: `label_<column>` and
    `probability_<column>`. Numbers: `predicted_<column>`.
    """
    target = question.target
    match target.task:
        case "binary" | "multiclass":
            labels = question.labels(answers)[:, 0]
            shares = np.concatenate([1 - answers, answers], axis=1)
            per_class = shares if target.task == "binary" else answers
            names = np.asarray(target.classes, dtype=object)
            return {
                "label": names[labels].astype(str),
                **{
                    f"probability_{name}": per_class[:, number]
                    for number, name in enumerate(target.classes)
                },
            }
        case "multilabel":
            labels = question.labels(answers)
            columns: dict[str, NDArray[Any]] = {}
            for number, name in enumerate(target.columns):
                columns[f"label_{name}"] = labels[:, number]
                columns[f"probability_{name}"] = answers[:, number]
            return columns
        case "regression":
            return {
                f"predicted_{name}": answers[:, number]
                for number, name in enumerate(target.columns)
            }


def write_predictions(frame: pl.DataFrame, out: Path) -> None:
    """Write predictions as CSV or Parquet, by the name's ending; whole or not at all."""
    buffer = io.BytesIO()
    if out.suffix == ".parquet":
        frame.write_parquet(buffer)
    else:
        frame.write_csv(buffer)
    write_atomically(out, buffer.getvalue())


def _kept(frame: pl.DataFrame, keep: tuple[str, ...], source: Path) -> list[str]:
    if "*" in keep:
        return frame.columns
    unknown = [name for name in keep if name not in frame.columns]
    if unknown:
        raise DataError(
            Problem(
                str(source),
                "the columns to keep",
                f"no '{name}'",
                did_you_mean(name, frame.columns),
            )
            for name in unknown
        )
    return list(dict.fromkeys(keep))

"""Predictions for rows of a file: one row out for each row in, in its order.

A file larger than memory is read, answered and written a part at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.others import Asked, rows_to_ask_about
from trainer.data.preprocessing import in_words
from trainer.data.sources import is_large
from trainer.data.writing import csv_bytes, write_table
from trainer.engine import devices
from trainer.workflows.engines import beyond_memory
from trainer.workflows.plan import located
from trainer.workflows.question import Question
from trainer.workflows.trained import load_network, open_trained


@dataclass(frozen=True)
class Predicted:
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
        return in_words(self._oddities)


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
        DataError: The file lacks columns or cannot be read; of later parts, when they are taken.
    """
    opened = open_trained(path)
    config, question = opened.loaded.config, opened.question
    data = config.data.model_copy(update={"source": str(source)})

    def asked() -> Iterator[Asked]:
        with located(opened.loaded):
            yield from rows_to_ask_about(
                data, opened.preprocessing, keep, in_parts=beyond_memory(data)
            )

    rows = asked()
    with devices.importing(worthwhile=is_large(data)):
        first = next(rows)
    devices.start(device, devices.usable_cores())
    from trainer.engine.batches import Evaluator
    from trainer.models.losses import build_loss

    with located(opened.loaded):
        network = load_network(opened, allow_custom=allow_custom)
    evaluator = Evaluator(network, build_loss(config.loss, question.loss))
    oddities: Counter[tuple[str, str]] = Counter()

    def answered() -> Iterator[pl.DataFrame]:
        for part in chain([first], rows):
            answers = question.answers(evaluator.predict(part.encoded.x))
            oddities.update(part.encoded.oddities)
            yield _result(part, answer_columns(question, answers))

    return Predicted(opened.run.path, opened.checkpoint, answered(), oddities)


def answer_columns(
    question: Question, answers: NDArray[np.floating[Any]]
) -> dict[str, pl.Series | NDArray[Any]]:
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
            return {
                "label": pl.Series(target.classes).gather(labels),
                **{
                    f"probability_{name}": per_class[:, number]
                    for number, name in enumerate(target.classes)
                },
            }
        case "multilabel":
            labels = question.labels(answers)
            columns: dict[str, pl.Series | NDArray[Any]] = {}
            for number, name in enumerate(target.columns):
                columns[f"label_{name}"] = labels[:, number]
                columns[f"probability_{name}"] = answers[:, number]
            return columns
        case "regression":
            return {
                f"predicted_{name}": answers[:, number]
                for number, name in enumerate(target.columns)
            }


def _result(part: Asked, answers: dict[str, pl.Series | NDArray[Any]]) -> pl.DataFrame:
    height = len(part.encoded.unseen)
    columns: dict[str, Any] = {"row": np.arange(part.first, part.first + height)}
    for series in part.kept:
        place = series.name
        while place in columns or place in answers or place == "unseen":
            place = f"{place}_of_input"
        columns[place] = series
    return pl.DataFrame({**columns, **answers, "unseen": part.encoded.unseen})

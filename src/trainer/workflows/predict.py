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

from trainer.data.label_lists import joined_labels
from trainer.data.names import free_name
from trainer.data.others import Asked, rows_to_ask_about
from trainer.data.preprocessing import Preprocessing, in_words
from trainer.data.sources import is_large
from trainer.data.writing import csv_bytes, write_table
from trainer.engine import devices
from trainer.workflows.engines import beyond_memory
from trainer.workflows.plan import located
from trainer.workflows.question import Question
from trainer.workflows.trained import data_of, open_all, question_of_all


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
        return (*self._reading, *in_words(self._oddities))


def predict(
    path: Path,
    source: Path,
    *,
    keep: tuple[str, ...],
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    reading: Sequence[str] = (),
) -> Predicted:
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
    run, members = open_all(path)
    opened = members[0]
    question = question_of_all(run, members)
    data = data_of(opened, source, reading, "trainer predict")
    # Members of one fold encode alike.
    encoders = distinct([member.preprocessing for member in members])

    def asked() -> Iterator[tuple[Asked, ...]]:
        with located(opened.loaded):
            parts = [
                rows_to_ask_about(data, encoder, keep, in_parts=beyond_memory(data))
                for encoder in encoders
            ]
            yield from zip(*parts, strict=True)

    rows = asked()
    with devices.importing(worthwhile=is_large(data)):
        first = next(rows)
    devices.start(device, devices.usable_cores())
    from trainer.workflows.ensemble import Ensemble

    with located(opened.loaded):
        ensemble = Ensemble(members, allow_custom=allow_custom)
    oddities: Counter[tuple[str, str]] = Counter()

    def answered() -> Iterator[pl.DataFrame]:
        for part in chain([first], rows):
            answers = ensemble.answers(
                [part[encoders.index(member.preprocessing)].encoded.x for member in members]
            )
            oddities.update(part[0].encoded.oddities)
            columns = answer_columns(question, answers.mean)
            if answers.spread is not None:
                columns |= spread_columns(question, answers.spread, columns)
            yield _result(part[0], columns)

    return Predicted(run.path, opened.checkpoint, answered(), oddities, first[0].warnings)


def distinct(encoders: Sequence[Preprocessing]) -> list[Preprocessing]:
    """Those that differ, in their order."""
    found: list[Preprocessing] = []
    for encoder in encoders:
        if encoder not in found:
            found.append(encoder)
    return found


def spread_columns(
    question: Question, spread: NDArray[np.floating[Any]], others: Collection[str]
) -> dict[str, NDArray[Any]]:
    """The spread of each number of an answer, as `<name>_spread`; `others` are the columns before."""
    return {
        free_name(f"{name}_spread", others, "_of_members"): spread[:, at]
        for at, name in enumerate(question.answer_names)
    }


def answer_columns(
    question: Question, answers: NDArray[np.floating[Any]]
) -> dict[str, pl.Series | NDArray[Any]]:
    """The answers as named columns.

    Classes: `label` and `probability_<class>` for each class. Lists of labels: `labels`, joined as in
    the table, and `probability_<label>` for each label. Yes/no columns: `label_<column>` and
    `probability_<column>`. Numbers: `predicted_<column>`, and `predicted_<column>_low` and `_high`,
    between which it lies with the probability `evaluate.prediction_interval`; `…_low_of_interval` where
    a target column is named so that this is the name of its prediction.
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
            if target.listed:
                return {
                    "labels": joined_labels(labels, target.classes, target.separator),
                    **dict(zip(question.answer_names, answers.T, strict=True)),
                }
            for number, name in enumerate(target.columns):
                columns[f"label_{name}"] = labels[:, number]
                columns[f"probability_{name}"] = answers[:, number]
            return columns
        case "regression":
            numbers: dict[str, pl.Series | NDArray[Any]] = {}
            ends = question.intervals(answers) if question.half_widths else None
            for number, name in enumerate(target.columns):
                numbers[f"predicted_{name}"] = answers[:, number]
                if ends is not None:
                    for end, values in zip(("low", "high"), ends, strict=True):
                        wanted = f"predicted_{name}_{end}"
                        place = free_name(wanted, question.answer_names, "_of_interval")
                        numbers[place] = values[:, number]
            return numbers


def _result(part: Asked, answers: dict[str, pl.Series | NDArray[Any]]) -> pl.DataFrame:
    height = len(part.encoded.unseen)
    columns: dict[str, Any] = {"row": np.arange(part.first, part.first + height)}
    for series in part.kept:
        place = free_name(series.name, {*columns, *answers, "unseen"}, "_of_input")
        columns[place] = series
    return pl.DataFrame({**columns, **answers, "unseen": part.encoded.unseen})

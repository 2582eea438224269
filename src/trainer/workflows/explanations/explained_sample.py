"""Explanations of a sample of rows: importance, curves, a surface, and the words of its texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray
from trainer.data.sampling import RowSample
from trainer.explain.dependence import partial_dependence_json, surface_json
from trainer.explain.importance import (
    PermutationSettings,
    importance_json,
    permutation_importance,
)
from trainer.explain.perturbations import EncodedRows, encode_rows
from trainer.explain.words import explain_texts
from trainer.inputs import Inputs
from trainer.metrics.arrays import FloatArray
from trainer.metrics.labels import row_log_losses, squared_errors
from trainer.prediction.predictor import Predictor
from trainer.runs.explanations import TextsFile
from trainer.runs.files import json_bytes
from trainer.runs.records import to_json

_CURVE_ROWS = 1_000
_CURVES = 10
_EXPLAINED_TEXTS = 20


def explain_sample(
    predictor: Predictor,
    sample: RowSample,
    repeats: int,
    columns: Sequence[str],
    validation_rows: BoolArray | None = None,
) -> dict[str, Any]:
    """Write the files about a sample of rows, and return their contents: name → JSON.

    Args:
        predictor: The predictor.
        sample: The rows.
        repeats: The number of permutations of each column.
        columns: The columns with curves; if empty, the most important ones.
        validation_rows: (members, rows) which members predict a row where predictions are compared with
            targets, as they were not trained on it; None for all members.

    Raises:
        StorageError: The files cannot be written.
    """
    importance = _importance(predictor, sample, repeats, validation_rows)
    names = columns or tuple(column["column"] for column in importance["columns"][:_CURVES])
    contents = {"importance.json": importance}
    contents |= dict(_curves_and_surface(predictor, sample, names))
    texts = _explained_texts(predictor, sample, validation_rows)
    if texts.columns:
        contents["texts.json"] = to_json(texts)
    for name, content in contents.items():
        predictor.run.write_explanation(name, json_bytes(content))
    return contents


def _importance(
    predictor: Predictor, sample: RowSample, repeats: int, validation_rows: BoolArray | None
) -> dict[str, Any]:
    started, config = perf_counter(), predictor.members[0].loaded.config
    level = config.evaluate.confidence_level
    importance = permutation_importance(
        predictor.task.name,
        encoded_rows(predictor, sample.frame),
        _targets(sample),
        sample.weight,
        partial(_predict_as_validated, predictor, validation_rows),
        PermutationSettings(repeats, config.seed, level),
    )
    record_json = importance_json(importance, sample.split, sample.split_rows, level)
    return {**record_json, "seconds": round(perf_counter() - started, 3)}


def _predict_as_validated(
    predictor: Predictor, validation_rows: BoolArray | None, inputs: Sequence[Inputs]
) -> FloatArray:
    """Return the mean predictions of those members whose validation rows the rows are.

    Args:
        predictor: The members.
        validation_rows: (members, rows); None for the mean of all members.
        inputs: One or more copies of the rows in each encoding.
    """
    if validation_rows is None:
        return predictor.predict_mean(inputs)
    predictions = np.stack(predictor.predict_each(inputs))
    shares = validation_rows / validation_rows.sum(axis=0)
    copies = predictions.shape[1] // shares.shape[1]
    mean = np.einsum("mr,mrk->rk", np.tile(shares, copies), predictions)
    return predictor.task.point_predictions(mean)


def _curves_and_surface(
    predictor: Predictor, sample: RowSample, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the content of the files with curves and, for two numbers, the surface."""
    task, encoders, predict = predictor.task, predictor.encoders, predictor.predict_mean
    rows = sample.subsample(_CURVE_ROWS, predictor.members[0].loaded.config.seed)
    names = task.prediction_names
    curves = partial_dependence_json(
        columns, encoders, rows.frame, rows.weight, predict, names, sample.split
    )
    yield "partial_dependence.json", curves
    actual = task.json_values(_targets(rows))
    surface = surface_json(encoders, rows.frame, actual, predict, names, sample.split)
    if surface is not None:
        yield "surface.json", surface


def _explained_texts(
    predictor: Predictor, sample: RowSample, validation_rows: BoolArray | None
) -> TextsFile:
    """Explain the texts of the rows with the largest loss, of a sample of the rows."""
    task = predictor.task
    rows = sample.subsample(_CURVE_ROWS, predictor.members[0].loaded.config.seed)
    names = TASK_RULES[task.name].scored_names(task.target.names)
    columns = dict.fromkeys(
        column.name for encoder in predictor.encoders for column in encoder.columns
        if column.kind in ("text", "tokens")
    )  # fmt: skip
    if not columns:
        return TextsFile(rows.split, len(rows.rows), {})

    def predict(frame: pl.DataFrame) -> FloatArray:
        return predictor.predict_mean([rows.inputs for rows in encoded_rows(predictor, frame)])

    if validation_rows is not None:
        validation_rows = validation_rows[:, np.isin(sample.rows, rows.rows)]
    inputs = [encoded.inputs for encoded in encoded_rows(predictor, rows.frame)]
    predictions = _predict_as_validated(predictor, validation_rows, inputs)[:, : len(names)]
    targets = _targets(rows)
    if TASK_RULES[task.name].has_classes:
        losses = row_log_losses(task.name, targets, predictions)
    else:
        losses = squared_errors(targets, predictions).mean(axis=1)
    worst = np.argsort(-losses, kind="stable")[:_EXPLAINED_TEXTS]
    numbers = rows.rows[worst].tolist()
    actual = [_target_text(value) for value in task.json_values(targets[worst])]
    frame = rows.frame[worst]
    return TextsFile(
        rows.split,
        len(rows.rows),
        {name: explain_texts(name, frame, numbers, actual, names, predict) for name in columns},
    )


def _target_text(value: object) -> str:
    return ", ".join(f"{item:g}" for item in value) if isinstance(value, list) else str(value)


def encoded_rows(predictor: Predictor, frame: pl.DataFrame) -> list[EncodedRows]:
    """Return the rows in each encoding."""
    return [encode_rows(encoder, frame) for encoder in predictor.encoders]


def _targets(sample: RowSample) -> FloatArray:
    """Return the targets (n, k) in the form of predictions."""
    return sample.y if sample.values is None else sample.values

"""Explanations of a sample of rows: importance, curves, a surface, and the words of its texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from trainer.config.task_rules import TASK_RULES
from trainer.data.sampling import RowSample
from trainer.explain.dependence import partial_dependence_json, surface_json
from trainer.explain.importance import (
    PermutationSettings,
    importance_json,
    permutation_importance,
)
from trainer.explain.perturbations import EncodedRows, encode_rows
from trainer.explain.words import explain_texts
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
    predictor: Predictor, sample: RowSample, repeats: int, columns: Sequence[str]
) -> dict[str, Any]:
    """Write the files about a sample of rows, and return their contents: name → JSON.

    Args:
        predictor: The predictor.
        sample: The rows.
        repeats: The number of permutations of each column.
        columns: The columns with curves; if empty, the most important ones.

    Raises:
        StorageError: The files cannot be written.
    """
    importance = _importance(predictor, sample, repeats)
    names = columns or tuple(column["column"] for column in importance["columns"][:_CURVES])
    contents = {"importance.json": importance}
    contents |= dict(_curves_and_surface(predictor, sample, names))
    texts = _explained_texts(predictor, sample)
    if texts.columns:
        contents["texts.json"] = to_json(texts)
    for name, content in contents.items():
        predictor.run.write_explanation(name, json_bytes(content))
    return contents


def _importance(predictor: Predictor, sample: RowSample, repeats: int) -> dict[str, Any]:
    started, config = perf_counter(), predictor.members[0].loaded.config
    level = config.evaluate.confidence_level
    importance = permutation_importance(
        predictor.task.name,
        encoded_rows(predictor, sample.frame),
        _targets(sample),
        sample.weight,
        predictor.predict_mean,
        PermutationSettings(repeats, config.seed, level),
    )
    record_json = importance_json(importance, sample.split, sample.split_rows, level)
    return {**record_json, "seconds": round(perf_counter() - started, 3)}


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


def _explained_texts(predictor: Predictor, sample: RowSample) -> TextsFile:
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

    targets, predictions = _targets(rows), predict(rows.frame)[:, : len(names)]
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

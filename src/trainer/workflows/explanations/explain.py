"""Explain a trained network: importance, curves, a surface and SHAP values, and heat maps of images,
written to `explanation/`.

Draws the rows and writes the files; `importance`, `dependence`, `shapley` and, for images,
`workflows.explanations.heat_maps` compute them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import polars as pl

from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.task_rules import TASK_RULES
from trainer.data.sampling import RowSample
from trainer.data.sources import is_large
from trainer.data.values import to_text
from trainer.engine import devices
from trainer.errors import DataError, Problem, RunError, UsageError, did_you_mean
from trainer.explain.dependence import partial_dependence_json, surface_json
from trainer.explain.importance import (
    MAX_ROWS,
    PermutationSettings,
    importance_json,
    permutation_importance,
)
from trainer.explain.perturbations import EncodedRows, encode_rows
from trainer.explain.shapley import load_shap, shap_values
from trainer.explain.words import explain_texts
from trainer.metrics.arrays import FloatArray
from trainer.metrics.labels import row_log_losses, squared_errors
from trainer.prediction.predictor import Predictor
from trainer.prediction.trained_runs import load_run_table
from trainer.runs.explanations import ShapColumn, ShapFile, TextsFile
from trainer.runs.files import json_bytes
from trainer.runs.heat_maps import HeatMapsFile
from trainer.runs.records import to_json
from trainer.workflows.explanations.explained_rows import ExplainedRows, draw_rows, rows_to_explain
from trainer.workflows.explanations.heat_maps import ImageRows, explain_images, images_to_explain

CURVE_ROWS = 1_000
CURVES = 10
_BACKGROUND_ROWS = 100
_EXPLAINED_TEXTS = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a run.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        folder: The folder of the files.
        files: The names of the files.
        importance: The content of `importance.json`; None for images alone.
        shap: The content of `shap.json`; None if it was not requested, or for images alone.
        heat_maps: The content of `heat_maps.json`; None without images.
        warnings: Unexpected values in the rows of a file.
    """

    run: Path
    checkpoint: str
    folder: Path
    files: tuple[str, ...]
    importance: dict[str, Any] | None
    shap: dict[str, Any] | None
    heat_maps: HeatMapsFile | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _DrawnRows:
    """What is explained.

    Attributes:
        rows: The rows that were requested, or None.
        images: The rows whose images are explained; None without images.
        sample: The rows for importance and curves; None for images alone.
        background: Rows that provide the values of missing columns for SHAP values, if requested.
    """

    rows: ExplainedRows | None
    images: ImageRows | None
    sample: RowSample | None
    background: pl.DataFrame | None


def explain(
    predictor: Predictor,
    *,
    split: Literal["validation", "test"] | None,
    repeats: int,
    columns: tuple[str, ...],
    shap_rows: int | Path | None,
    read_options: Sequence[str] = (),
) -> Explanation:
    """Explain a run, a checkpoint, or the ensemble of the members of a run.

    Args:
        predictor: The run or checkpoint.
        split: The split whose rows are used, at most 200,000 of them drawn with the run's seed; None:
            the validation rows, or the test rows of several members, whose validation rows differ.
        repeats: The number of permutations of each column.
        columns: The columns with curves, each entry one column or several separated by commas; if
            empty, the ten most important ones.
        shap_rows: The number of test rows to explain, drawn with the run's seed, or a file with rows.
            For images None explains those that the report shows.
        read_options: Settings for reading the file, as typed, that differ from those of the run.

    Raises:
        ConfigError: A setting for reading is invalid.
        RunError: The run is damaged or has no such rows.
        DataError: The data of the run have changed since training, or the file is invalid.
        UsageError: A column is not a feature, or `shap` is not installed.
        StorageError: The files cannot be written.
    """
    run = predictor.run
    if predictor.task.kind.rules.has_text:
        raise RunError(_text_problem(run.path))
    if shap_rows is not None and _has_columns(predictor):
        load_shap()
    columns = _parse_columns(columns, predictor)
    drawn = _draw(predictor, split, shap_rows, read_options)
    predictor.load_networks()
    importance, shap, heat_maps = None, None, None
    files: list[str] = []
    if drawn.sample is not None:
        contents = _explain_sample(predictor, drawn.sample, repeats, columns)
        importance = contents["importance.json"]
        for name, content in contents.items():
            run.write_explanation(name, json_bytes(content))
        files += contents
    if drawn.rows is not None and drawn.background is not None:
        shap = _write_shap(predictor, drawn.rows, drawn.background)
        files += ["shap.json", "shap.parquet"]
    if drawn.images is not None:
        task, predict = predictor.task, predictor.predict_mean
        activate = predictor.class_activation_maps
        heat_maps, written = explain_images(run, task, drawn.images, predict, activate)
        files += written
    return Explanation(
        run.path,
        predictor.checkpoint,
        run.explanation,
        tuple(files),
        importance,
        shap,
        heat_maps,
        () if drawn.rows is None else drawn.rows.warnings,
    )


def _draw(
    predictor: Predictor,
    requested_split: Literal["validation", "test"] | None,
    shap_rows: int | Path | None,
    read_options: Sequence[str],
) -> _DrawnRows:
    """Read what is explained; see `explain`."""
    first, split = predictor.members[0], _shared_split(predictor, requested_split)
    with (
        devices.tensorflow_import(in_background=is_large(first.loaded.config.data)),
        _locate_without_other_rows(first.loaded),
    ):
        table = load_run_table(first)
        rows, images, sample, background = None, None, None, None
        if shap_rows is not None:
            rows = rows_to_explain(first, table, shap_rows, read_options)
        if first.preprocessing.image is not None:
            images = images_to_explain(predictor, table, rows, requested_split)
        if _has_columns(predictor):
            sample = draw_rows(first, table, split, MAX_ROWS)
            if rows is not None:
                background = draw_rows(first, table, "train", _BACKGROUND_ROWS).frame
    return _DrawnRows(rows, images, sample, background)


def _has_columns(predictor: Predictor) -> bool:
    """Return whether there are features besides images."""
    columns = predictor.members[0].preprocessing.columns
    return any(column.kind != "image" for column in columns)


def _shared_split(
    predictor: Predictor, split: Literal["validation", "test"] | None
) -> Literal["validation", "test"]:
    """Return the split whose rows are used.

    Raises:
        RunError: The members of a run have different rows of this split.
    """
    if split == "validation" and predictor.has_members:
        found, fix = "--split validation", "remove it, or explain one of its members"
        expected = "the test rows, which its members share"
        raise RunError(Problem(str(predictor.run.path), expected, found, fix))
    return split or ("test" if predictor.has_members else "validation")


@contextmanager
def _locate_without_other_rows(loaded: LoadedConfig) -> Iterator[None]:
    """Like `locate_problems`, but does not suggest other rows: importance needs the rows of the run."""
    try:
        with locate_problems(loaded):
            yield
    except DataError as error:
        suggestion = ", or evaluate other rows with --data FILE"
        raise DataError(
            replace(problem, fix=problem.fix.removesuffix(suggestion)) for problem in error.problems
        ) from error


def _parse_columns(entries: Sequence[str], predictor: Predictor) -> tuple[str, ...]:
    """Return the columns of the option; an entry that is not a column is split at commas."""
    encoders = predictor.encoders
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.input_columns))
    if entries and not _has_columns(predictor):
        found = f"a run whose only feature is the image '{known[0]}'"
        fix = "remove it: heat maps need no column"
        raise UsageError(Problem("--columns", "a run with columns besides an image", found, fix))
    names = [name for word in entries for name in ([word] if word in known else word.split(","))]
    problems = [
        Problem(
            "--columns",
            "features of the run",
            f"'{name}'",
            did_you_mean(name, known, f"it has {', '.join(known[:8])}"),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise UsageError(problems)
    return tuple(dict.fromkeys(names))


def _explain_sample(
    predictor: Predictor, sample: RowSample, repeats: int, columns: Sequence[str]
) -> dict[str, Any]:
    """Return the contents of the files about a sample of rows: name → JSON."""
    importance = _importance(predictor, sample, repeats)
    names = columns or tuple(column["column"] for column in importance["columns"][:CURVES])
    contents = {"importance.json": importance}
    contents |= dict(_curves_and_surface(predictor, sample, names))
    texts = _explained_texts(predictor, sample)
    if texts.columns:
        contents["texts.json"] = to_json(texts)
    return contents


def _importance(predictor: Predictor, sample: RowSample, repeats: int) -> dict[str, Any]:
    started, config = perf_counter(), predictor.members[0].loaded.config
    level = config.evaluate.confidence_level
    importance = permutation_importance(
        predictor.task.name,
        _encoded(predictor, sample.frame),
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
    rows = sample.subsample(CURVE_ROWS, predictor.members[0].loaded.config.seed)
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
    rows = sample.subsample(CURVE_ROWS, predictor.members[0].loaded.config.seed)
    names = TASK_RULES[task.name].scored_names(task.target.names)
    columns = dict.fromkeys(
        column.name for encoder in predictor.encoders for column in encoder.columns
        if column.kind in ("text", "tokens")
    )  # fmt: skip
    if not columns:
        return TextsFile(rows.split, len(rows.rows), {})

    def predict(frame: pl.DataFrame) -> FloatArray:
        return predictor.predict_mean([rows.inputs for rows in _encoded(predictor, frame)])

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


def _encoded(predictor: Predictor, frame: pl.DataFrame) -> list[EncodedRows]:
    """Return the rows in each encoding."""
    return [encode_rows(encoder, frame) for encoder in predictor.encoders]


def _targets(sample: RowSample) -> FloatArray:
    """Return the targets (n, k) in the form of predictions."""
    return sample.y if sample.values is None else sample.values


def _write_shap(
    predictor: Predictor, shap_rows: ExplainedRows, background: pl.DataFrame
) -> dict[str, Any]:
    """Write both files and return the content of `shap.json`.

    Args:
        predictor: The predictor.
        shap_rows: The rows to explain.
        background: Rows that provide the values of missing columns.
    """
    run, prediction_names = predictor.run, predictor.task.prediction_names
    shap = shap_values(
        predictor.predict_mean,
        _encoded(predictor, shap_rows.frame),
        [encoder.transform(background).inputs for encoder in predictor.encoders],
        predictor.members[0].loaded.config.seed,
    )
    height, width, numbers = shap.values.shape
    cells = pl.concat([to_text(shap_rows.frame[name]).alias("value") for name in shap.columns])
    # Ordered by column, row and prediction.
    frame = pl.DataFrame(
        {
            "row": pl.Series(shap_rows.numbers, dtype=pl.Int64).gather(
                [row for row in range(height) for _ in range(numbers)] * width
            ),
            "prediction": list(prediction_names) * (height * width),
            "column": [name for name in shap.columns for _ in range(height * numbers)],
            "value": cells.gather(
                [index for index in range(height * width) for _ in range(numbers)]
            ),
            "shap": shap.values.transpose(1, 0, 2).ravel(),
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    sizes = abs(shap.values).mean(axis=0)
    record = ShapFile(
        names=tuple(prediction_names),
        columns=tuple(
            ShapColumn(name, tuple(sizes[index].tolist()))
            for index, name in sorted(
                enumerate(shap.columns), key=lambda item: -sizes[item[0]].sum()
            )
        ),
        source=shap_rows.source,
        rows=tuple(shap_rows.numbers),
        base=tuple(shap.base.tolist()),
        predictions=tuple(map(tuple, shap.predictions.tolist())),
        background_rows=background.height,
        orders=shap.orders,
        largest_gap=shap.largest_gap,
    )
    record_json: dict[str, Any] = to_json(record)
    run.write_explanation("shap.parquet", buffer.getvalue())
    run.write_explanation("shap.json", json_bytes(record_json))
    return record_json


def _text_problem(path: Path) -> Problem:
    """Return the problem of a run that translates."""
    fix = "its report.html shows the attention of its best and worst translations"
    return Problem(str(path), "a run that predicts classes or numbers", "one that translates", fix)

"""Explain a trained network: importance, curves, a surface and SHAP values, written to `explanation/`.

Draws the rows and writes the files; `importance`, `dependence` and `shapley` compute them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import polars as pl

from trainer.config.load import LoadedConfig
from trainer.data.dataset import Dataset
from trainer.data.new_data import prediction_batches
from trainer.data.preprocessing import Preprocessing
from trainer.data.sampling import RowSample, draw_row_sample
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.data.values import to_text
from trainer.engine import devices
from trainer.engine.selection import exceeds_memory
from trainer.errors import DataError, Problem, RunError, UsageError, did_you_mean
from trainer.evaluation.predictions import FloatArray
from trainer.explain.dependence import partial_dependence_json, surface_json
from trainer.explain.importance import MAX_ROWS, importance_json, permutation_importance
from trainer.explain.perturbations import EncodedRows, Float32Array, PredictFn
from trainer.explain.shapley import load_shap, shap_values
from trainer.runs.directory import RunDirectory
from trainer.runs.explanations import ShapColumn, ShapFile
from trainer.runs.files import json_bytes
from trainer.runs.records import to_json
from trainer.workflows.evaluate import load_run_table
from trainer.workflows.plan import locate_problems
from trainer.workflows.predictor import open_predictor
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import TrainedRun, data_settings_for

MAX_SHAP_ROWS = 10_000
CURVE_ROWS = 1_000
CURVES = 10
_BACKGROUND_ROWS = 100


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a run.

    Attributes:
        run: The run directory.
        checkpoint: The name of the checkpoint.
        folder: The folder of the files.
        files: The names of the files.
        importance: The content of `importance.json`.
        shap: The content of `shap.json`; None if it was not requested.
    """

    run: Path
    checkpoint: str
    folder: Path
    files: tuple[str, ...]
    importance: dict[str, Any]
    shap: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _ShapRows:
    """Rows whose predictions are explained, and background rows that provide the values of missing
    columns.
    """

    source: str
    numbers: Sequence[int]
    frame: pl.DataFrame
    background: pl.DataFrame


def explain(
    path: Path,
    *,
    split: Literal["validation", "test"] | None,
    repeats: int,
    columns: tuple[str, ...],
    shap_rows: int | Path | None,
    device: Literal["auto", "cpu", "gpu"],
    allow_custom: bool,
    read_options: Sequence[str] = (),
) -> Explanation:
    """Explain a run, a checkpoint, or the ensemble of the members of a run.

    Args:
        path: A run directory or a checkpoint in it.
        split: The split whose rows are used, at most 200,000 of them drawn with the run's seed; None:
            the validation rows, or the test rows of several members, whose validation rows differ.
        repeats: The number of permutations of each column.
        columns: The columns with curves, each entry one column or several separated by commas; if
            empty, the ten most important ones.
        shap_rows: The number of test rows to explain, drawn with the run's seed, or a file with rows.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether custom layers may be imported.
        read_options: Settings for reading the file, as typed, that differ from those of the run.

    Raises:
        ConfigError: A setting for reading is invalid.
        RunError: The run does not exist, is damaged, or has no such rows.
        DataError: The data of the run have changed since training, or the file is invalid.
        UsageError: A column is not a feature, or `shap` is not installed.
        StorageError: The files cannot be written.
    """
    if shap_rows is not None:
        load_shap()
    predictor = open_predictor(path, device=device, allow_custom=allow_custom)
    run, first, task = predictor.run, predictor.members[0], predictor.task
    encoders = predictor.encoders
    if split is None:
        split = "validation" if run == first.run else "test"
    elif split == "validation" and run != first.run:
        found, fix = "--split validation", "leave it out, or explain one of its members"
        expected = "the test rows, which its members share"
        raise RunError(Problem(str(run.path), expected, found, fix))
    columns = _parse_columns(columns, encoders)
    seed = first.loaded.config.seed
    data = first.loaded.config.data
    with (
        devices.tensorflow_import(in_background=is_large(data)),
        _locate_without_other_rows(first.loaded),
    ):
        table = load_run_table(first)
        sample = _draw_rows(run, table, split, MAX_ROWS, seed)
        rows_to_explain = None
        if shap_rows is not None:
            rows_to_explain = _shap_rows(run, first, table, shap_rows, seed, read_options)
    predictor.load_networks()

    def predict(encoded: Sequence[Float32Array]) -> FloatArray:
        return predictor.predict_numbers(encoded).mean

    confidence_level = first.loaded.config.evaluate.confidence_level
    importance = _importance(encoders, sample, task, predict, repeats, seed, confidence_level)
    run.write_explanation("importance.json", json_bytes(importance))
    files = ["importance.json"]
    names = columns or tuple(column["column"] for column in importance["columns"][:CURVES])
    curve_sample, prediction_names = sample.subsample(CURVE_ROWS, seed), task.prediction_names
    curves = partial_dependence_json(
        names, encoders, curve_sample.frame, curve_sample.weight, predict, prediction_names, split
    )
    run.write_explanation("partial_dependence.json", json_bytes(curves))
    files.append("partial_dependence.json")
    surface = surface_json(
        encoders,
        curve_sample.frame,
        task.json_values(_targets(curve_sample)),
        predict,
        prediction_names,
        split,
    )
    if surface is not None:
        run.write_explanation("surface.json", json_bytes(surface))
        files.append("surface.json")
    shap = None
    if rows_to_explain is not None:
        shap = _write_shap(run, rows_to_explain, encoders, predict, prediction_names, seed)
        files += ["shap.json", "shap.parquet"]
    checkpoint = (
        first.checkpoint if run == first.run else f"best of {len(predictor.members)} members"
    )
    return Explanation(run.path, checkpoint, run.explanation, tuple(files), importance, shap)


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


def _parse_columns(entries: Sequence[str], encoders: Sequence[Preprocessing]) -> tuple[str, ...]:
    """Return the columns of the option; an entry that is not a column is split at commas."""
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.input_ranges))
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


def _draw_rows(
    run: RunDirectory, table: Dataset, split: SplitName, max_rows: int, seed: int
) -> RowSample:
    sample = draw_row_sample(table, split, max_rows, seed)
    if sample is None:
        other: SplitName = "test" if split == "validation" else "validation"
        fix = f"explain it on other rows with --split {other}" if table.rows(other) else ""
        found = "none: the split left it empty"
        raise RunError(Problem(str(run.path), f"{split} rows", found, fix))
    return sample


def _importance(
    encoders: Sequence[Preprocessing],
    sample: RowSample,
    task: Task,
    predict: PredictFn,
    repeats: int,
    seed: int,
    level: float,
) -> dict[str, Any]:
    started = perf_counter()
    encodings = [
        EncodedRows(encoder.transform(sample.frame).x, encoder.input_ranges) for encoder in encoders
    ]
    importance = permutation_importance(
        task.target.task,
        encodings,
        _targets(sample),
        sample.weight,
        predict,
        repeats=repeats,
        seed=seed,
        confidence_level=level,
    )
    record_json = importance_json(importance, sample.split, sample.split_rows, level)
    return {**record_json, "seconds": round(perf_counter() - started, 3)}


def _targets(sample: RowSample) -> FloatArray:
    """Return the targets (n, k) in the form of predictions."""
    return sample.y if sample.values is None else sample.values


def _shap_rows(
    run: RunDirectory,
    opened: TrainedRun,
    table: Dataset,
    count_or_file: int | Path,
    seed: int,
    read_options: Sequence[str],
) -> _ShapRows:
    background = _draw_rows(run, table, "train", _BACKGROUND_ROWS, seed).frame
    if isinstance(count_or_file, int):
        sample = _draw_rows(run, table, "test", count_or_file, seed)
        return _ShapRows("test", sample.rows.tolist(), sample.frame, background)
    data = data_settings_for(opened, count_or_file, read_options, "trainer explain")
    names = tuple(background.columns)
    parts: list[pl.DataFrame] = []
    for part in prediction_batches(
        data, opened.preprocessing, names, streamed=exceeds_memory(data)
    ):
        parts.append(part.kept)
        rows = sum(kept.height for kept in parts)
        if rows > MAX_SHAP_ROWS:
            fix = "use fewer rows: each needs thousands of predictions"
            expected = f"at most {MAX_SHAP_ROWS:,} rows to explain"
            raise DataError(Problem(str(count_or_file), expected, f"{rows:,}", fix))
    return _ShapRows(str(count_or_file), range(rows), pl.concat(parts).select(names), background)


def _write_shap(
    run: RunDirectory,
    shap_rows: _ShapRows,
    encoders: Sequence[Preprocessing],
    predict: PredictFn,
    prediction_names: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Write both files and return the content of `shap.json`."""
    rows = [
        EncodedRows(encoder.transform(shap_rows.frame).x, encoder.input_ranges)
        for encoder in encoders
    ]
    background = [encoder.transform(shap_rows.background).x for encoder in encoders]
    shap = shap_values(predict, rows, background, seed)
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
        background_rows=shap_rows.background.height,
        orders=shap.orders,
        largest_gap=shap.largest_gap,
    )
    record_json: dict[str, Any] = to_json(record)
    run.write_explanation("shap.parquet", buffer.getvalue())
    run.write_explanation("shap.json", json_bytes(record_json))
    return record_json

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
from trainer.config.locations import locate_problems
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
from trainer.explain.dependence import partial_dependence_json, surface_json
from trainer.explain.importance import (
    MAX_ROWS,
    PermutationSettings,
    importance_json,
    permutation_importance,
)
from trainer.explain.perturbations import EncodedRows, encode_rows
from trainer.explain.shapley import load_shap, shap_values
from trainer.metrics.arrays import FloatArray
from trainer.prediction.predictor import Predictor
from trainer.prediction.trained_runs import TrainedRun, data_settings_for, load_run_table
from trainer.runs.explanations import ShapColumn, ShapFile
from trainer.runs.files import json_bytes
from trainer.runs.records import to_json

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
        read_options: Settings for reading the file, as typed, that differ from those of the run.

    Raises:
        ConfigError: A setting for reading is invalid.
        RunError: The run is damaged or has no such rows.
        DataError: The data of the run have changed since training, or the file is invalid.
        UsageError: A column is not a feature, or `shap` is not installed.
        StorageError: The files cannot be written.
    """
    if shap_rows is not None:
        load_shap()
    run, first = predictor.run, predictor.members[0]
    split = _shared_split(predictor, split)
    columns = _parse_columns(columns, predictor.encoders)
    with (
        devices.tensorflow_import(in_background=is_large(first.loaded.config.data)),
        _locate_without_other_rows(first.loaded),
    ):
        table = load_run_table(first)
        sample = _draw_rows(first, table, split, MAX_ROWS)
        rows_to_explain = None
        if shap_rows is not None:
            rows_to_explain = _shap_rows(first, table, shap_rows, read_options)
    predictor.load_networks()
    importance = _importance(predictor, sample, repeats)
    run.write_explanation("importance.json", json_bytes(importance))
    files = ["importance.json"]
    names = columns or tuple(column["column"] for column in importance["columns"][:CURVES])
    for name, content in _curves_and_surface(predictor, sample, names):
        run.write_explanation(name, json_bytes(content))
        files.append(name)
    shap = None
    if rows_to_explain is not None:
        shap = _write_shap(predictor, rows_to_explain)
        files += ["shap.json", "shap.parquet"]
    return Explanation(
        run.path, predictor.checkpoint, run.explanation, tuple(files), importance, shap
    )


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


def _parse_columns(entries: Sequence[str], encoders: Sequence[Preprocessing]) -> tuple[str, ...]:
    """Return the columns of the option; an entry that is not a column is split at commas."""
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.input_columns))
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


def _draw_rows(opened: TrainedRun, table: Dataset, split: SplitName, max_rows: int) -> RowSample:
    sample = draw_row_sample(table, split, max_rows, opened.loaded.config.seed)
    if sample is None:
        other: SplitName = "test" if split == "validation" else "validation"
        fix = f"explain it on other rows with --split {other}" if table.rows(other) else ""
        found = "none: the split assigned no rows to it"
        raise RunError(Problem(str(opened.run.path), f"{split} rows", found, fix))
    return sample


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


def _encoded(predictor: Predictor, frame: pl.DataFrame) -> list[EncodedRows]:
    """Return the rows in each encoding."""
    return [encode_rows(encoder, frame) for encoder in predictor.encoders]


def _targets(sample: RowSample) -> FloatArray:
    """Return the targets (n, k) in the form of predictions."""
    return sample.y if sample.values is None else sample.values


def _shap_rows(
    opened: TrainedRun,
    table: Dataset,
    count_or_file: int | Path,
    read_options: Sequence[str],
) -> _ShapRows:
    background = _draw_rows(opened, table, "train", _BACKGROUND_ROWS).frame
    if isinstance(count_or_file, int):
        sample = _draw_rows(opened, table, "test", count_or_file)
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


def _write_shap(predictor: Predictor, shap_rows: _ShapRows) -> dict[str, Any]:
    """Write both files and return the content of `shap.json`."""
    run, prediction_names = predictor.run, predictor.task.prediction_names
    background = [encoder.transform(shap_rows.background).inputs for encoder in predictor.encoders]
    shap = shap_values(
        predictor.predict_mean,
        _encoded(predictor, shap_rows.frame),
        background,
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
        background_rows=shap_rows.background.height,
        orders=shap.orders,
        largest_gap=shap.largest_gap,
    )
    record_json: dict[str, Any] = to_json(record)
    run.write_explanation("shap.parquet", buffer.getvalue())
    run.write_explanation("shap.json", json_bytes(record_json))
    return record_json

"""Explain a trained network: importance, curves, a surface and SHAP values, and heat maps of images,
written to `explanation/`.

Draws the rows, and writes the SHAP values; `explained_sample` and, for images, `heat_maps` write the
other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.data.arrays import BoolArray
from trainer.data.dataset import Dataset
from trainer.data.sampling import RowSample
from trainer.data.sources import is_large
from trainer.data.splits import SplitName
from trainer.data.values import to_text
from trainer.engine import devices
from trainer.errors import DataError, Problem, RunError, UsageError, command_text, did_you_mean
from trainer.explain.importance import MAX_ROWS
from trainer.explain.shapley import load_shap, shap_values
from trainer.prediction.predictor import Predictor
from trainer.prediction.trained_runs import load_run_table
from trainer.runs.explanations import ShapColumn, ShapFile
from trainer.runs.files import json_bytes
from trainer.runs.heat_maps import HeatMapsFile
from trainer.runs.records import to_json
from trainer.workflows.explanations.explained_rows import (
    ExplainedRows,
    draw_rows,
    draw_validation_rows,
    rows_to_explain,
)
from trainer.workflows.explanations.explained_sample import encoded_rows, explain_sample
from trainer.workflows.explanations.heat_maps import ImageRows, explain_images, images_to_explain

_BACKGROUND_ROWS = 100


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
        validation_rows: (members, rows) which members have these rows for validation; None if the rows
            are of the same split for all members, or images alone.
        background: Rows that provide the values of missing columns for SHAP values, if requested.
    """

    rows: ExplainedRows | None
    images: ImageRows | None
    sample: RowSample | None
    validation_rows: BoolArray | None
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
            the validation rows, or of several members the test rows if there are any. Each of several
            members predicts its own validation rows only: it was trained on those of others.
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
    _check_task(predictor)
    if shap_rows is not None and _has_columns(predictor):
        load_shap()
    columns = _parse_columns(columns, predictor)
    drawn = _draw(predictor, split, shap_rows, read_options)
    predictor.load_networks()
    importance, shap, heat_maps = None, None, None
    files: list[str] = []
    if drawn.sample is not None:
        contents = explain_sample(predictor, drawn.sample, repeats, columns, drawn.validation_rows)
        importance = contents["importance.json"]
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
    first = predictor.members[0]
    has_image = first.preprocessing.image is not None
    if has_image and predictor.has_members and requested_split == "validation":
        raise _unshared_images(predictor)
    with (
        devices.tensorflow_import(in_background=is_large(first.loaded.config.data)),
        _locate_without_other_rows(first.loaded),
    ):
        table = load_run_table(first)
        rows, images, sample, background, are_validation = None, None, None, None, None
        if shap_rows is not None:
            rows = rows_to_explain(first, table, shap_rows, read_options)
        if has_image:
            images = images_to_explain(predictor, table, rows, requested_split)
        if _has_columns(predictor):
            sample, are_validation = _draw_sample(predictor, table, requested_split)
            if rows is not None:
                background = draw_rows(first, table, "train", _BACKGROUND_ROWS).frame
    return _DrawnRows(rows, images, sample, are_validation, background)


def _draw_sample(
    predictor: Predictor, table: Dataset, split: Literal["validation", "test"] | None
) -> tuple[RowSample, BoolArray | None]:
    """Return the rows for importance and curves, and of which members these are validation rows."""
    if split is None:
        split = "test" if predictor.has_members and table.rows("test") else "validation"
    other: SplitName = "test" if split == "validation" else "validation"
    fix = f"explain it on other rows with --split {other}" if table.rows(other) else ""
    if predictor.has_members and split == "validation":
        return draw_validation_rows(predictor.members, table, MAX_ROWS, fix)
    return draw_rows(predictor.members[0], table, split, MAX_ROWS, fix), None


def _has_columns(predictor: Predictor) -> bool:
    """Return whether there are features besides images."""
    columns = predictor.members[0].preprocessing.columns
    return any(column.kind != "image" for column in columns)


def _unshared_images(predictor: Predictor) -> RunError:
    command = command_text("explain", predictor.members[0].run.path)
    fix = f"explain one of its members on its validation rows: {command}"
    expected = "images that its members share"
    return RunError(Problem(str(predictor.run.path), expected, "--split validation", fix))


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
        encoded_rows(predictor, shap_rows.frame),
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


def _check_task(predictor: Predictor) -> None:
    """Check that a run does not translate.

    Raises:
        RunError: It does.
    """
    if predictor.task.text is None:
        return
    expected, found = "a run that predicts classes or numbers", "one that translates"
    fix = "its report.html shows the attention of its best and worst translations"
    raise RunError(Problem(str(predictor.run.path), expected, found, fix))

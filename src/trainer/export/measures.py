"""The size and speed of an export, and its predictions for the rows of a split."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.export.bundle import Bundle
from trainer.export.check import Latency, measure_latency, run_in_batches
from trainer.export.check_rows import CheckRows, rows_of
from trainer.export.formats import ExportFormat, Model
from trainer.export.raw_schema import raw_schema
from trainer.metrics.predictions import Predictions
from trainer.prediction.trained_runs import load_run_table


@dataclass(frozen=True)
class MeasuredExport:
    """An export in a temporary folder.

    Attributes:
        model: It, loaded.
        bytes: The size of its files.
        compressed_bytes: Their size after compression by deflate.
        latency: How fast it answers.
    """

    model: Model
    bytes: int
    compressed_bytes: int
    latency: Latency


def measure_export(
    export: ExportFormat, bundle: Bundle, rows: CheckRows, folder: Path
) -> MeasuredExport:
    """Write an export to an empty folder, and measure it.

    Raises:
        InputError: The format cannot hold the run.
        OSError: The disk is full or fails.
    """
    schema = export.schema(bundle)
    path = folder / export.file_name
    export.write(bundle, schema, path)
    model = export.load(path)
    files = [file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()]
    inputs = export.encode(bundle, schema, rows.frame, rows.images)
    return MeasuredExport(
        model,
        sum(map(len, files)),
        sum(len(zlib.compress(content, 9)) for content in files),
        measure_latency(model, inputs),
    )


def exported_predictions(
    export: ExportFormat, model: Model, bundle: Bundle, predictions: Predictions
) -> Predictions:
    """Return the predictions of an export for the rows of other predictions, in the order of the table.

    Raises:
        DataError: The files are missing or have changed.
        RunError: The record of the splits is damaged.
    """
    predictions = predictions.take(np.argsort(predictions.rows, kind="stable"))
    dataset = load_run_table(bundle.members[0].trained)
    frame = rows_of(dataset, list(bundle.columns), predictions.rows)
    return replace(predictions, p=_outputs(export, model, bundle, frame), quantiles=None)


def _outputs(
    export: ExportFormat, model: Model, bundle: Bundle, frame: pl.DataFrame
) -> NDArray[Any]:
    images = {}
    image = bundle.encoders[0].image
    if image is not None:
        images[image.name] = np.ascontiguousarray(image.load(frame[image.name])[:])
    schema, rules = export.schema(bundle), bundle.task.kind.rules
    inputs = export.encode(bundle, schema, frame, images)
    outputs = export.decode(bundle, schema, run_in_batches(model, inputs))
    role = "probabilities" if rules.has_classes else "predicted"
    name = next(field.name for field in raw_schema(bundle).outputs if field.role == role)
    values = np.asarray(outputs[name], np.float64)
    return values[:, 1:] if rules.has_positive_class else values

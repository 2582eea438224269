"""Compare an export with `predict` on the same rows, and measure how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.in_memory import table_in_memory
from trainer.errors import Problem
from trainer.export.bundle import Bundle
from trainer.export.calibration_rounding import calibration_rounding, rounding_notes
from trainer.export.check_rows import CheckRows, check_rows
from trainer.export.formats import ExportFormat, Model
from trainer.export.raw_schema import raw_schema
from trainer.export.rows import concatenated, count_rows, predictions_frame
from trainer.export.schema import Schema
from trainer.export.translations import accepted_texts, compare_texts, text_problem
from trainer.metrics.arrays import Float64Array
from trainer.prediction.predictor import Predictor, mean_predictions
from trainer.prediction.trained_runs import TrainedRun
from trainer.tasks.task import Task

Array = NDArray[Any]

_BATCH, _IMAGE_BATCH = 1_000, 16
_WARM_UP, _CALLS, _SECONDS = 20, 500, 0.3
ACCEPTED_SHARE = 0.01
"""Fraction of the rows in which a quantized export may have another label; at least one row may."""
QUANTIZED_TOLERANCE = 0.05
"""Largest root mean square of the differences of a quantized export, in units of the spread of the
predictions."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How fast a model answers, with one thread.

    Attributes:
        p50, p99: Microseconds for one row, median and 99th percentile.
        rows_per_second: Of a call with as many rows as `batch`.
        batch: Number of rows of that call.
    """

    p50: float
    p99: float
    rows_per_second: float
    batch: int


@dataclass(frozen=True, slots=True)
class Check:
    """The comparison of an export with `predict`.

    Attributes:
        rows: Number of compared rows.
        source: Which rows these are, in words.
        difference: The greatest difference: of a probability, or of a number in units of the spread.
            Differences that the rounding of uncalibrated probabilities explains are not counted.
        column: The column of the greatest difference.
        tolerance: The largest accepted difference.
        other_labels: Rows with another label or text, or another flag of unseen values.
        accepted_labels: How many of these are accepted.
        latency: How fast the export answers.
        notes: What else the user should know.
    """

    rows: int
    source: str
    difference: float
    column: str
    tolerance: float
    other_labels: int
    latency: Latency
    notes: tuple[str, ...] = ()
    accepted_labels: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether the export agrees with `predict`."""
        return self.difference <= self.tolerance and self.other_labels <= self.accepted_labels


def check_export(
    export: ExportFormat, model: Model, bundle: Bundle, schema: Schema, *, allow_custom: bool
) -> Check:
    """Compare the predictions of a loaded export with those of the run.

    Raises:
        RunError: A checkpoint is damaged.
    """
    rows = check_rows(bundle)
    expected, rounding, notes = _expected(bundle, rows, allow_custom=allow_custom)
    inputs = export.encode(bundle, schema, rows.frame, rows.images)
    outputs = export.decode(bundle, schema, run_in_batches(model, inputs))
    found = predictions_frame(raw_schema(bundle), outputs)
    if export.quantize:
        return _quantized_check(bundle.task, expected, found, rows, measure_latency(model, inputs))
    tolerance, accepted = export.tolerance(bundle), 0
    if bundle.task.kind.rules.has_text:
        difference, column, others = compare_texts(expected, found)
        accepted = accepted_texts(len(rows))
    else:
        difference, column = _greatest_difference(
            bundle.task, expected, found, rows.usual, rounding=rounding
        )
        accepted_differences = np.max([*rounding.values()], axis=0, initial=tolerance)
        others = _other_labels(bundle.task, expected, found, accepted_differences)
        notes += rounding_notes(expected, found, rounding, tolerance)
    return Check(
        rows=len(rows),
        source=f"{rows.source} and {len(rows) - rows.usual:,} rows of extremes, missing and unseen "
        "values",
        difference=difference,
        column=column,
        tolerance=tolerance,
        other_labels=others,
        latency=measure_latency(model, inputs),
        notes=(*([rows.warning] if rows.warning else []), *notes),
        accepted_labels=accepted,
    )


def _quantized_check(
    task: Task, expected: pl.DataFrame, found: pl.DataFrame, rows: CheckRows, latency: Latency
) -> Check:
    """Compare a quantized export on rows of the data alone: it cuts off values far beyond them.

    If a part x of the labels differs, accuracy differs by x at most; the RMSE of numbers differs by the
    root mean square of their differences at most.
    """
    expected, found = expected.head(rows.usual), found.head(rows.usual)
    has_numbers = task.kind.rules.has_numbers
    measure = _root_mean_square if has_numbers else np.max
    difference, column = _greatest_difference(task, expected, found, rows.usual, measure)
    share = int(ACCEPTED_SHARE * rows.usual)
    return Check(
        rows=rows.usual,
        source=rows.source,
        difference=difference,
        column=column,
        tolerance=QUANTIZED_TOLERANCE if has_numbers else 1.0,
        other_labels=_other_labels(task, expected, found, 0.0),
        latency=latency,
        notes=(rows.warning,) if rows.warning else (),
        accepted_labels=0 if has_numbers else max(1, share),
    )


def quantized_problem(where: str, check: Check) -> Problem:
    """Return the problem of a quantized export that differs too much from `predict`."""
    if check.other_labels > check.accepted_labels:
        expected = (
            f"the same label as trainer predict, except in {check.accepted_labels:,} rows at most"
        )
        found = f"other labels or flags in {check.other_labels:,} of {check.rows:,} rows"
    else:
        expected = (
            f"differences from trainer predict with a root mean square of {check.tolerance:g} times the "
            "spread of the predictions at most"
        )
        found = f"{check.difference:.2g} in '{check.column}' ({check.rows:,} rows compared)"
    fix = "nothing was written; first run trainer compress --quantize int8, or export without --quantize"
    return Problem(where, expected, found, fix)


def difference_problem(where: str, check: Check, *, unit: str) -> Problem:
    """Return the problem of an export that does not agree with `predict`."""
    if check.accepted_labels:
        others = f"other ones in {check.other_labels:,} of {check.rows:,} rows"
        return text_problem(where, check.difference, check.tolerance, others)
    found = f"a difference of {check.difference:.2g} in '{check.column}'"
    if check.difference <= check.tolerance:
        found = f"other labels or flags in {check.other_labels:,} rows"
    return Problem(
        where,
        f"predictions within {check.tolerance:g}{unit} of those of trainer predict",
        f"{found} ({check.rows:,} rows compared)",
        "nothing was written; very large inputs have few digits in float32: scale them "
        "(data.numeric.scale), or choose another format",
    )


def measure_latency(model: Model, inputs: Mapping[str, Array]) -> Latency:
    """Measure a model on the first row, and on as many rows as fit into a call."""
    row = {name: np.ascontiguousarray(array[:1]) for name, array in inputs.items()}
    times: list[int] = []
    end = time.perf_counter() + _SECONDS
    for call in range(_WARM_UP + _CALLS):
        start = time.perf_counter_ns()
        model(row)
        if call >= _WARM_UP:
            times.append(time.perf_counter_ns() - start)
        if times and time.perf_counter() > end:
            break
    size = min(count_rows(inputs), _batch_rows(inputs))
    batch = {name: array[:size] for name, array in inputs.items()}
    best, now = float("inf"), time.perf_counter()
    end = now + _SECONDS
    while now < end:
        begin = time.perf_counter()
        model(batch)
        now = time.perf_counter()
        best = min(best, now - begin)
    p50, p99 = np.quantile(np.array(times) / 1e3, (0.5, 0.99))
    return Latency(float(p50), float(p99), size / best, size)


def _batch_rows(inputs: Mapping[str, Array]) -> int:
    return _IMAGE_BATCH if any(array.ndim == 4 for array in inputs.values()) else _BATCH


def run_in_batches(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model on all rows, in batches."""
    size = _batch_rows(inputs)
    return concatenated(
        [
            model({name: array[first : first + size] for name, array in inputs.items()})
            for first in range(0, count_rows(inputs), size)
        ]
    )


def _expected(
    bundle: Bundle, rows: CheckRows, *, allow_custom: bool
) -> tuple[pl.DataFrame, dict[str, Float64Array], list[str]]:
    """Predict with the run, in float32.

    Returns:
        The predictions, differences that rounding explains (see `calibration_rounding`), and notes.
    """
    members = [member.trained for member in bundle.members]
    precisions = {member.loaded.config.runtime.precision for member in members}
    notes = []
    if precisions != {"float32"}:
        notes.append(
            f"the export computes in float32; trainer predict of this run in {precisions.pop()}, "
            "whose probabilities have fewer digits"
        )
        members = [_in_float32(member) for member in members]
    # Only the CPU rounds like the exports: a GPU may multiply matrices in TF32.
    predictor = Predictor(bundle.run, members, device="cpu", allow_custom=allow_custom)
    frame = table_in_memory(rows.frame).frame
    encoded = []
    for encoder in predictor.encoders:
        image = encoder.image
        images = None if image is None else rows.images[image.name]
        encoded.append(encoder.transform(frame, images=images))
    of_members = predictor.predict_each([part.inputs for part in encoded])
    predictions = mean_predictions(of_members)
    columns: dict[str, Any] = predictor.task.prediction_columns(predictions.mean)
    if predictions.std is not None:
        columns |= predictor.task.std_columns(predictions.std, columns)
    frame = pl.DataFrame({**columns, "unseen": encoded[0].unseen})
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    rounding = calibration_rounding([member.task for member in members], of_members, numbers)
    return frame, rounding, notes


def _in_float32(member: TrainedRun) -> TrainedRun:
    config = member.loaded.config
    runtime = config.runtime.model_copy(update={"precision": "float32"})
    loaded = replace(member.loaded, config=config.model_copy(update={"runtime": runtime}))
    return replace(member, loaded=loaded)


def _greatest_difference(
    task: Task,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    usual: int,
    measure: Callable[[Array], Any] = np.max,
    rounding: Mapping[str, Float64Array] = MappingProxyType({}),
) -> tuple[float, str]:
    """Return the greatest difference of a number, or another measure of a column, and its column.

    Differences of numbers that are no probabilities are divided by the standard deviation of the
    predictions for the usual rows, or by how far the prediction is from their mean if that is more. The
    standard deviation between members has the unit of what it belongs to. Differences up to `rounding`
    are not counted.
    """
    greatest, column = 0.0, ""
    for name in expected.columns:
        if not expected.schema[name].is_float():
            continue
        a, b = (frame[name].to_numpy().astype(np.float64) for frame in (expected, found))
        with np.errstate(invalid="ignore"):
            difference = np.abs(a - b)
        difference[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
        difference[np.isnan(difference)] = np.inf
        difference[difference <= rounding.get(name, 0.0)] = 0
        if task.kind.rules.has_numbers:
            described = name.removesuffix("_std")
            if described in expected.columns:
                a = expected[described].to_numpy().astype(np.float64)
            known = a[:usual][np.isfinite(a[:usual])]
            center, spread = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
            unit = np.maximum(spread, np.abs(a - center))
            difference = np.divide(difference, unit, out=difference, where=unit > 0)
        measured = float(measure(difference))
        if not column or measured > greatest:
            greatest, column = measured, name
    return greatest, column


def _root_mean_square(differences: Array) -> float:
    return float(np.sqrt(np.mean(differences**2)))


def _other_labels(
    task: Task, expected: pl.DataFrame, found: pl.DataFrame, tolerance: float | Float64Array
) -> int:
    """Count the rows with other labels or flags, unless probabilities are equal up to the tolerance, one
    for all rows or (rows,).

    A label that depends on the last digit is not an error.
    """
    other = np.zeros(expected.height, np.bool_)
    for name in expected.columns:
        if not expected.schema[name].is_float():
            other |= (expected[name] != found[name]).to_numpy()
    rules = task.kind.rules
    if rules.has_classes:
        p = np.stack(
            [expected[name].to_numpy() for name in expected.columns if name.startswith("probability_")
             and not name.endswith("_std")], axis=1,
        )  # fmt: skip
        if rules.predicts_most_likely:
            ordered = np.sort(p, axis=1)
            margin = ordered[:, -1] - ordered[:, -2]
        else:
            margin = np.abs(p - task.threshold).min(axis=1)
            if rules.has_positive_class:
                margin = np.abs(p[:, 1] - task.threshold)
        flags = (expected["unseen"] != found["unseen"]).to_numpy()
        other &= (margin > 2 * tolerance) | flags
    return int(np.count_nonzero(other))

"""Numbers to be predicted, and yes/no columns: read, checked, put on a curve, scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from trainer.config.layers import HeadKind
from trainer.config.objectives import COUNT_LOSSES, POSITIVE_HEADS
from trainer.config.resolve import ResolvedTargetScale
from trainer.config.schema import Config
from trainer.data.arrays import BoolArray, Float32Array, Float64Array
from trainer.data.number_formats import NumberFormat, parse_number_columns
from trainer.data.target_transforms import TargetTransform, fit_log_transform, fit_power_transform
from trainer.data.values import number_matrix, parse_booleans
from trainer.errors import DataError, Problem

_SHOWN = 3
_ADVISED_ROWS, _ADVISED_SPAN, _ADVISED_SKEW = 20, 100.0, 2.0
Where = Callable[[int], str]
"""The place of a row, for messages."""


def read_target_numbers(
    frame: pl.DataFrame,
    columns: Sequence[str],
    valid: BoolArray,
    where: Where,
    written: Mapping[str, NumberFormat],
) -> Float64Array:
    """The numbers of a target, (n, columns).

    Args:
        frame: The target columns.
        columns: Their names.
        valid: The rows that must have numbers.
        where: The place of a row of the frame, for messages.
        written: How numbers are written as text, of the columns where they are not plain.

    Raises:
        DataError: A row that is valid has none.
    """
    values = np.ascontiguousarray(number_matrix(parse_number_columns(frame, written), columns))
    problems = []
    for index, name in enumerate(columns):
        wrong = np.flatnonzero(valid & ~np.isfinite(values[:, index]))
        problems += [
            Problem(
                where(int(row)),
                f"a finite number in '{name}'",
                f"'{frame[name][int(row)]}'",
                "correct it, or add it to data.csv.null_values to leave the row out",
            )
            for row in wrong[:_SHOWN]
        ]
        if len(wrong) > _SHOWN:
            found = f"{len(wrong) - _SHOWN} more rows with others"
            problems.append(
                Problem(where(int(wrong[_SHOWN])), f"finite numbers in '{name}'", found)
            )
    if problems:
        raise DataError(problems)
    return values


def read_binary_targets(
    frame: pl.DataFrame, columns: Sequence[str], valid: BoolArray, where: Where
) -> Float32Array:
    """Yes/no columns as 1 and 0, (n, columns).

    Raises:
        DataError: A row that is valid has neither.
    """
    y = np.zeros((frame.height, len(columns)), dtype=np.float32)
    problems = []
    for index, name in enumerate(columns):
        labels = parse_booleans(frame[name], marks=True)
        wrong = np.flatnonzero(valid & labels.is_null().to_numpy())
        expected = f"yes or no (true/false, 1/0) in '{name}'"
        problems += [
            Problem(where(int(row)), expected, f"'{frame[name][int(row)]}'", key="data.target")
            for row in wrong[:_SHOWN]
        ]
        y[:, index] = labels.fill_null(value=False).to_numpy()
    if problems:
        raise DataError(problems)
    return y


def apply_transforms(
    values: Float64Array, curves: Sequence[TargetTransform | None]
) -> Float64Array:
    """Numbers (n, k), each column on its curve where it has one."""
    if not curves:
        return values
    return np.stack(
        [
            values[:, index] if curve is None else curve.forward(values[:, index])
            for index, curve in enumerate(curves)
        ],
        axis=1,
    )


def invert_transforms(
    values: Float64Array, curves: Sequence[TargetTransform | None]
) -> Float64Array:
    """The inverse of `apply_transforms`, within the bounds of each curve."""
    if not curves:
        return values
    return np.stack(
        [
            values[:, index] if curve is None else curve.backward(values[:, index])
            for index, curve in enumerate(curves)
        ],
        axis=1,
    )


def fit_transforms(
    values: Float64Array,
    columns: Sequence[str],
    scales: Sequence[ResolvedTargetScale],
    where: Where,
) -> tuple[TargetTransform | None, ...]:
    """The curve of each column of the training values; none at all where no column has one.

    Raises:
        DataError: A number has no logarithm.
    """
    check_log_domain(values, columns, [scale == "log" for scale in scales], where)
    fits = {"log": fit_log_transform, "power": fit_power_transform}
    curves = tuple(
        fits[scale](values[:, index]) if scale in fits else None
        for index, scale in enumerate(scales)
    )
    return curves if any(curve is not None for curve in curves) else ()


def fit_scales(
    values: Float64Array,
    scales: Sequence[ResolvedTargetScale],
    curves: Sequence[TargetTransform | None],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Offset, scale and prior of each column of the training values, on its curve."""
    values = apply_transforms(values, curves)
    means = values.mean(axis=0)
    deviations = _deviations(values - means)
    plain = [scale == "none" for scale in scales]
    offset = np.where(plain, 0.0, means)
    scale = np.where(plain, 1.0, deviations)
    prior = np.where(plain, means, 0.0)
    return tuple(offset.tolist()), tuple(scale.tolist()), tuple(prior.tolist())


def _deviations(apart: Float64Array) -> Float64Array:
    """Root mean square of each column; of numbers such as 1e200, whose squares overflow, too."""
    with np.errstate(over="ignore"):
        found: Float64Array = np.sqrt(np.square(apart).mean(axis=0))
    if not np.all((found > 0) & np.isfinite(found)):
        largest = np.abs(apart).max(axis=0)
        found = largest * np.sqrt(np.square(apart / np.where(largest, largest, 1)).mean(axis=0))
    return found


def check_log_domain(
    values: Float64Array, columns: Sequence[str], logs: Sequence[bool], where: Where
) -> None:
    """Numbers have a logarithm, where one is taken.

    Raises:
        DataError: One is 0 or less.
    """
    problems = []
    for index, name in enumerate(columns):
        wrong = np.flatnonzero(values[:, index] <= 0)
        if not (logs[index] and len(wrong)):
            continue
        more = f" and {len(wrong) - 1:,} more of 0 or less" if len(wrong) > 1 else ""
        problems.append(
            Problem(
                where(int(wrong[0])),
                f"a number above 0 in '{name}', as data.target_scale: log takes its logarithm",
                f"{values[wrong[0], index]:g}{more}",
                "train with data.target_scale: power, which takes any number, or correct the rows",
            )
        )
    if problems:
        raise DataError(problems)


def scale_recommendations(
    values: Float64Array, columns: Sequence[str], scales: Sequence[ResolvedTargetScale]
) -> Iterator[str]:
    """A sentence for each column that is standardised and would better be put on a curve first."""
    for index, name in enumerate(columns):
        column = values[:, index]
        setting = recommend_scale(column) if scales[index] == "standard" else None
        if setting is None:
            continue
        low, high = np.quantile(column[column > 0], (0.01, 0.99))
        settings = f"data.target_scale: {setting}"
        if (column == 0).any() and (column >= 0).all() and (column == np.round(column)).all():
            settings += ", or loss: poisson if these are counts,"
        yield (
            f"the target '{name}' spans orders of magnitude (98% of its positive values are from "
            f"{low:.4g} to {high:.4g}): {settings} would suit it better than its mean and deviation"
        )


def recommend_scale(values: Float64Array) -> Literal["log", "power"] | None:
    """The curve that suits numbers better than their mean and deviation; None where none does.

    That is where positive values span two orders of magnitude or more, the rarest hundredth on either
    side left out, and all are skewed, but not on the curve.
    """
    above = values[values > 0]
    if len(above) < _ADVISED_ROWS:
        return None
    low, high = np.quantile(above, (0.01, 0.99))
    if high < _ADVISED_SPAN * low or _skewness(values) < _ADVISED_SKEW:
        return None
    curve = (fit_log_transform if len(above) == len(values) else fit_power_transform)(values)
    return None if abs(_skewness(curve.forward(values))) > 1 else curve.kind


def _skewness(values: Float64Array) -> float:
    apart = values - values.mean()
    spread = float(_deviations(apart))
    return float(((apart / spread) ** 3).mean()) if spread > 0 else 0.0


def check_target_range(
    frame: pl.DataFrame,
    columns: Sequence[str],
    config: Config,
    head: HeadKind,
    where: Where,
    written: Mapping[str, NumberFormat],
) -> None:
    """Numbers fit the head and the loss: no negative counts, no percentages of 0.

    Args:
        frame: Rows with a target.
        columns: The target columns, all of numbers.
        config: The config.
        head: The resolved head.
        where: The place of a row of the frame, for messages.
        written: As in `read_target_numbers`.

    Raises:
        DataError: They do not.
    """
    loss = config.loss.name
    is_positive = loss in COUNT_LOSSES or head in POSITIVE_HEADS
    if not (head == "sigmoid" or is_positive or loss == "mean_absolute_percentage_error"):
        return
    values = read_target_numbers(
        frame, columns, np.ones(frame.height, dtype=np.bool_), where, written
    )
    if head == "sigmoid":
        wrong = (values < 0) | (values > 1)
        expected = "numbers in [0, 1] in {}, which a sigmoid head predicts"
        fix = "set model.head: auto and loss: auto"
    elif is_positive:
        wrong = values < 0
        setting = f"loss: {loss}" if loss in COUNT_LOSSES else f"model.head: {head}"
        expected = f"no negative numbers in {{}}, as {setting} is for counts and other amounts"
        fix = "set model.head: auto and loss: auto, or correct the rows"
    else:
        wrong = values == 0
        expected = f"no 0 in {{}}, as loss: {loss} divides by it"
        fix = "set loss: mean_absolute_error, or correct the rows"
    problems = []
    for index, name in enumerate(columns):
        at = np.flatnonzero(wrong[:, index])
        if len(at):
            more = f" and {len(at) - 1:,} more such rows" if len(at) > 1 else ""
            found = f"{values[at[0], index]:g}{more}"
            problems.append(Problem(where(int(at[0])), expected.format(f"'{name}'"), found, fix))
    if problems:
        raise DataError(problems)

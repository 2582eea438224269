"""Numeric and yes/no target columns: reading, validation, transforms and scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from trainer.config.model import POSITIVE_HEADS, HeadKind
from trainer.config.resolve import ResolvedTargetScale
from trainer.config.schema import Config
from trainer.data.arrays import BoolArray, Float32Array, Float64Array
from trainer.data.number_formats import NumberFormat, parse_number_columns
from trainer.data.target_transforms import TargetTransform, fit_log_transform, fit_power_transform
from trainer.data.values import number_matrix, parse_booleans
from trainer.errors import DataError, Problem

_SHOWN = 3
_RECOMMEND_MIN_ROWS, _RECOMMEND_MIN_SPAN, _RECOMMEND_MIN_SKEW = 20, 100.0, 2.0
Where = Callable[[int], str]
"""Returns the location of a row, for messages."""


def read_target_numbers(
    frame: pl.DataFrame,
    columns: Sequence[str],
    valid: BoolArray,
    where: Where,
    number_formats: Mapping[str, NumberFormat],
) -> Float64Array:
    """Read numeric target columns, (n, columns).

    Args:
        frame: The target columns.
        columns: Their names.
        valid: The rows that must have numbers.
        where: Returns the location of a row of the frame, for messages.
        number_formats: The number formats of text columns that are not plain numbers.

    Raises:
        DataError: If a valid row has no finite number.
    """
    values = np.ascontiguousarray(
        number_matrix(parse_number_columns(frame, number_formats), columns)
    )
    problems = []
    for index, name in enumerate(columns):
        invalid = np.flatnonzero(valid & ~np.isfinite(values[:, index]))
        problems += [
            Problem(
                where(int(row)),
                f"a finite number in '{name}'",
                f"'{frame[name][int(row)]}'",
                "correct it, or add it to data.csv.null_values to drop the row",
            )
            for row in invalid[:_SHOWN]
        ]
        if len(invalid) > _SHOWN:
            found = f"other values in {len(invalid) - _SHOWN} more rows"
            problems.append(
                Problem(where(int(invalid[_SHOWN])), f"finite numbers in '{name}'", found)
            )
    if problems:
        raise DataError(problems)
    return values


def read_binary_targets(
    frame: pl.DataFrame, columns: Sequence[str], valid: BoolArray, where: Where
) -> Float32Array:
    """Read yes/no target columns as 1 and 0, (n, columns).

    Raises:
        DataError: If a valid row is neither yes nor no.
    """
    y = np.zeros((frame.height, len(columns)), dtype=np.float32)
    problems = []
    for index, name in enumerate(columns):
        labels = parse_booleans(frame[name], accept_marks=True)
        invalid = np.flatnonzero(valid & labels.is_null().to_numpy())
        expected = f"yes or no (true/false, 1/0) in '{name}'"
        problems += [
            Problem(where(int(row)), expected, f"'{frame[name][int(row)]}'", key="data.target")
            for row in invalid[:_SHOWN]
        ]
        y[:, index] = labels.fill_null(value=False).to_numpy()
    if problems:
        raise DataError(problems)
    return y


def apply_transforms(
    values: Float64Array, transforms: Sequence[TargetTransform | None]
) -> Float64Array:
    """Apply each column's transform, if any, to numbers (n, k)."""
    if not transforms:
        return values
    return np.stack(
        [
            values[:, index] if transform is None else transform.transform(values[:, index])
            for index, transform in enumerate(transforms)
        ],
        axis=1,
    )


def invert_transforms(
    values: Float64Array, transforms: Sequence[TargetTransform | None]
) -> Float64Array:
    """Invert `apply_transforms`, within the bounds of each transform."""
    if not transforms:
        return values
    return np.stack(
        [
            values[:, index] if transform is None else transform.inverse_transform(values[:, index])
            for index, transform in enumerate(transforms)
        ],
        axis=1,
    )


def fit_transforms(
    values: Float64Array,
    columns: Sequence[str],
    scales: Sequence[ResolvedTargetScale],
    where: Where,
) -> tuple[TargetTransform | None, ...]:
    """Fit the transform of each column on the training values; empty if no column has one.

    Raises:
        DataError: If a number has no logarithm.
    """
    check_log_domain(values, columns, [scale == "log" for scale in scales], where)
    fits = {"log": fit_log_transform, "power": fit_power_transform}
    transforms = tuple(
        fits[scale](values[:, index]) if scale in fits else None
        for index, scale in enumerate(scales)
    )
    return transforms if any(transform is not None for transform in transforms) else ()


def fit_scales(
    values: Float64Array,
    scales: Sequence[ResolvedTargetScale],
    transforms: Sequence[TargetTransform | None],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return offset, scale and prior of each column of the transformed training values."""
    values = apply_transforms(values, transforms)
    means = values.mean(axis=0)
    unscaled = [scale == "none" for scale in scales]
    offset = np.where(unscaled, 0.0, means)
    scale = np.where(unscaled, 1.0, _root_mean_square(values - means))
    prior = np.where(unscaled, means, 0.0)
    return tuple(offset.tolist()), tuple(scale.tolist()), tuple(prior.tolist())


def _root_mean_square(values: Float64Array) -> Float64Array:
    """Return the root mean square of each column, even if squares overflow (as those of 1e200 do)."""
    with np.errstate(over="ignore"):
        rms: Float64Array = np.sqrt(np.square(values).mean(axis=0))
    if not np.all((rms > 0) & np.isfinite(rms)):
        largest = np.abs(values).max(axis=0)
        rms = largest * np.sqrt(np.square(values / np.where(largest, largest, 1)).mean(axis=0))
    return rms


def check_log_domain(
    values: Float64Array, columns: Sequence[str], logs: Sequence[bool], where: Where
) -> None:
    """Check that the columns whose logarithm is taken are positive.

    Raises:
        DataError: If a number is 0 or less.
    """
    problems = []
    for index, name in enumerate(columns):
        invalid = np.flatnonzero(values[:, index] <= 0)
        if not (logs[index] and len(invalid)):
            continue
        more = f" and {len(invalid) - 1:,} more numbers of 0 or less" if len(invalid) > 1 else ""
        problems.append(
            Problem(
                where(int(invalid[0])),
                f"a positive number in '{name}', as data.target_scale: log takes its logarithm",
                f"{values[invalid[0], index]:g}{more}",
                "set data.target_scale: power, which allows any number, or correct the rows",
            )
        )
    if problems:
        raise DataError(problems)


def scale_recommendations(
    values: Float64Array, columns: Sequence[str], scales: Sequence[ResolvedTargetScale]
) -> Iterator[str]:
    """Yield advice for each standardized column that a log or power transform would suit better."""
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
            f"{low:.4g} to {high:.4g}): {settings} would suit it better than standardization"
        )


def recommend_scale(values: Float64Array) -> Literal["log", "power"] | None:
    """Return the transform that suits numbers better than standardization, or None.

    A transform is recommended if the positive values span two orders of magnitude or more, ignoring 1%
    at either end, and the values are skewed but the transformed ones are not.
    """
    positive = values[values > 0]
    if len(positive) < _RECOMMEND_MIN_ROWS:
        return None
    low, high = np.quantile(positive, (0.01, 0.99))
    if high < _RECOMMEND_MIN_SPAN * low or _skewness(values) < _RECOMMEND_MIN_SKEW:
        return None
    transform = (fit_log_transform if len(positive) == len(values) else fit_power_transform)(values)
    return None if abs(_skewness(transform.transform(values))) > 1 else transform.kind


def _skewness(values: Float64Array) -> float:
    centered = values - values.mean()
    std = float(_root_mean_square(centered))
    return float(((centered / std) ** 3).mean()) if std > 0 else 0.0


def check_target_range(
    frame: pl.DataFrame,
    columns: Sequence[str],
    config: Config,
    head: HeadKind,
    where: Where,
    number_formats: Mapping[str, NumberFormat],
) -> None:
    """Check that the targets are in the range of the head and the loss, such as no negative counts.

    Args:
        frame: Rows with a target.
        columns: The target columns, all numeric.
        config: The config.
        head: The resolved head.
        where: Returns the location of a row of the frame, for messages.
        number_formats: See `read_target_numbers`.

    Raises:
        DataError: If a target is out of range.
    """
    loss = config.loss
    is_positive = loss.kind.is_for_counts or head in POSITIVE_HEADS
    if not (head == "sigmoid" or is_positive or loss.kind.targets == "not zero"):
        return
    values = read_target_numbers(
        frame, columns, np.ones(frame.height, dtype=np.bool_), where, number_formats
    )
    if head == "sigmoid":
        invalid = (values < 0) | (values > 1)
        expected = "numbers in [0, 1] in {}, which a sigmoid head predicts"
        fix = "set model.head: auto and loss: auto"
    elif is_positive:
        invalid = values < 0
        setting = f"loss: {loss.name}" if loss.kind.is_for_counts else f"model.head: {head}"
        expected = f"no negative numbers in {{}}, as {setting} is for counts and other amounts"
        fix = "set model.head: auto and loss: auto, or correct the rows"
    else:
        invalid = values == 0
        expected = f"no zeros in {{}}, as loss: {loss.name} divides by it"
        fix = "set loss: mean_absolute_error, or correct the rows"
    problems = []
    for index, name in enumerate(columns):
        rows = np.flatnonzero(invalid[:, index])
        if len(rows):
            more = f" and {len(rows) - 1:,} more such rows" if len(rows) > 1 else ""
            found = f"{values[rows[0], index]:g}{more}"
            problems.append(Problem(where(int(rows[0])), expected.format(f"'{name}'"), found, fix))
    if problems:
        raise DataError(problems)

"""Fit the target means of categories and dates in one pass over the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.categorical import CategoricalColumn, distinct_codes
from trainer.data.column_settings import categorical_settings, datetime_settings
from trainer.data.datetimes import CalendarDays, DatetimeColumn, calendar_days
from trainer.data.opening import Rows
from trainer.data.preprocessing import Column
from trainer.data.tables import Table
from trainer.data.target_means import (
    MIN_SHARE,
    TargetSums,
    target_folds,
    target_mean_names,
)
from trainer.data.targets import FittedTarget
from trainer.data.values import to_microseconds

_Chosen = CategoricalColumn | DatetimeColumn


def fit_target_means(
    source: Rows,
    columns: Sequence[Column],
    table: Table,
    target: FittedTarget,
    training: BoolArray,
    data: Data,
) -> tuple[tuple[Column, ...], list[str]]:
    """Add target means to the columns whose settings request them.

    Args:
        source: All rows.
        columns: The fitted columns.
        table: All rows of the target columns.
        target: The fitted target.
        training: bool (rows,): the training rows.
        data: The `data` section.

    Returns:
        The columns, without those that have no inputs; and a note on columns without target means.
    """
    chosen = {column.name: column for column in _chosen(columns, data)}
    if not chosen:
        return tuple(columns), []
    targets = TASK_RULES[target.task].scored_names(target.names)
    sums = {name: TargetSums(len(targets)) for name in chosen}
    total, target_sum = int(np.count_nonzero(training)), np.zeros(len(targets))
    cells = table.frame.select(target.columns)
    for start, frame in source.batches(list(chosen)):
        index = np.flatnonzero(training[start : start + frame.height])
        if not len(index):
            continue
        rows = index + start
        y, folds = target.encode(cells[rows])[0], target_folds(rows)
        target_sum += y.sum(axis=0, dtype=np.float64)
        for name, column in chosen.items():
            keys, known = _keys(column, frame[name].gather(index))
            sums[name].add(keys[known], folds[known], y[known])
    prior = target_sum / total
    fitted, rare = dict[str, Column](), dict[str, float]()
    for name, column in chosen.items():
        share = sums[name].share_of_frequent(total)
        if share < MIN_SHARE or len(sums[name].keys) < 2:
            rare[name] = share
        else:
            fitted[name] = _with_means(column, sums[name], prior, total, targets)
    merged = [fitted.get(column.name, column) for column in columns]
    notes = [_note(chosen[name], share) for name, share in rare.items()]
    return tuple(column for column in merged if column.features), notes


def _chosen(columns: Sequence[Column], data: Data) -> Iterator[_Chosen]:
    """Yield the columns that have target means by their settings."""
    for column in columns:
        match column:
            case CategoricalColumn() if categorical_settings(data, column.name).target_mean:
                yield column
            case DatetimeColumn() if "date" in datetime_settings(data, column.name, None).parts:
                yield column


def _keys(column: _Chosen, cells: pl.Series) -> tuple[RowIndex, BoolArray]:
    """Return the level of each row, a code or the days since 1970, and whether it has one."""
    if isinstance(column, CategoricalColumn):
        codes = distinct_codes(column, cells)
        return codes, codes >= 0
    stamps = to_microseconds(cells, column.format)
    return calendar_days(stamps.fill_null(0).to_numpy()), stamps.is_not_null().to_numpy()


def _with_means(
    column: _Chosen,
    sums: TargetSums,
    prior: Float64Array,
    total: int,
    targets: tuple[str, ...],
) -> Column:
    """Return the column with target means."""
    if isinstance(column, CategoricalColumn):
        means = sums.with_levels(column.distinct_levels).fitted(prior, total)
        features = column.features + target_mean_names(column.name, targets)
        return column.model_copy(update={"target_means": means, "features": features})
    days = CalendarDays(days=tuple(sums.keys.tolist()), means=sums.fitted(prior, total))
    features = column.features + target_mean_names(f"{column.name}.date", targets)
    return column.model_copy(update={"dates": days, "features": features})


def _note(column: _Chosen, share: float) -> str:
    """Explain why a column has no target means."""
    key = column_key(column.name)
    what, setting = "category", f"{key}.target_mean: false"
    if isinstance(column, DatetimeColumn):
        what, setting = "day", f"{key}.parts without date"
    return (
        f"'{column.name}' has no mean target by {what}, as {share:.0%} of the training rows share "
        f"their {what} with two or more others; set {setting} to confirm it"
    )

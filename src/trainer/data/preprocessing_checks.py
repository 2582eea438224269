"""Consistency checks of a loaded `preprocessing.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.data.any_column import AnyColumn
from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.target_means import FOLDS, TargetMeans
from trainer.data.targets import FittedTarget
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn


def find_inconsistencies(columns: Sequence[AnyColumn], target: FittedTarget) -> Iterator[str]:
    """Yield the parts that are inconsistent, each with its location, as text."""
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        yield "a duplicate column at columns"
    if len({column.dimension for column in columns if isinstance(column, TextColumn)}) > 1:
        yield "columns of text with different dimensions at columns"
    for index, column in enumerate(columns):
        where = f"columns.{index}"
        yield from _check_column(column, where)
        if len(column.features) != _width(column):
            yield f"{len(column.features)} names at {where}.features"
    yield from _check_target(target)


def _width(column: AnyColumn) -> int:
    """Return the number of encoded columns for a column."""
    match column:
        case NumericColumn():
            bins = 0 if column.piecewise is None else len(column.piecewise.means)
            return 1 + column.indicator + bins
        case CategoricalColumn():
            means = 0 if column.target_means is None else column.target_means.width
            return means + (column.codes if column.encode == "onehot" else 1)
        case BooleanColumn():
            return 1 + column.has_missing_level
        case DatetimeColumn():
            numbers = sum(map(_width, column.numbers))
            calendar = sum(len(item.values) for item in column.calendar)
            dates = 0 if column.dates is None else column.dates.means.width
            return numbers + 2 * len(column.cycles) + calendar + dates
        case ImageColumn() | TextColumn() | TokenColumn():
            return 0
        case _:
            assert_never(column)


def _check_column(column: AnyColumn, where: str) -> Iterator[str]:
    match column:
        case NumericColumn():
            if column.divisor <= 0:
                yield f"{column.divisor:g} at {where}.divisor"
            if column.smooth_clip is not None and column.smooth_clip <= 0:
                yield f"{column.smooth_clip:g} at {where}.smooth_clip"
            grid = column.quantiles
            if grid is not None and not 0 < len(grid.values) == len(grid.scores):
                yield f"{len(grid.values)} values of {len(grid.scores)} at {where}.quantiles"
            bins = column.piecewise
            if bins is not None and len(bins.edges) != len(bins.means) + 1:
                yield f"{len(bins.edges)} edges of {len(bins.means)} bins at {where}.piecewise"
            if bins is not None and np.any(np.diff(bins.edges) <= 0):
                yield f"edges that do not increase at {where}.piecewise"
        case CategoricalColumn():
            if len(column.counts) != len(column.levels):
                yield f"{len(column.counts)} counts of {len(column.levels)} levels at {where}"
            if column.codes < 2:
                yield f"fewer than two levels at {where}"
            if (column.dimension is None) == (column.encode == "embedding"):
                yield f"{column.dimension} at {where}.dimension"
            if column.target_means is not None:
                levels = column.distinct_levels
                yield from _check_means(column.target_means, levels, f"{where}.target_means")
        case DatetimeColumn():
            try:
                np.datetime64(column.origin, "us")
            except ValueError:
                yield f"'{column.origin}' at {where}.origin"
            for part in column.numbers:
                yield from _check_column(part, f"{where}.{part.name.rpartition('.')[2]}")
            if column.dates is not None:
                days = column.dates.days
                yield from _check_means(column.dates.means, len(days), f"{where}.dates.means")
                if np.any(np.diff(days) <= 0):
                    yield f"days that do not increase at {where}.dates"
        case ImageColumn():
            if not len(column.mean) == len(column.std) == column.channels:
                yield f"not {column.channels} numbers at {where}.mean and {where}.std"
        case TextColumn():
            if not column.term_count:
                yield f"no terms at {where}.tables"
            for number, table in enumerate(column.tables):
                if len(table.rows) != len(table.terms):
                    found = f"{len(table.rows)} numbers of {len(table.terms)} terms"
                    yield f"{found} at {where}.tables.{number}.rows"
        case TokenColumn():
            yield from _check_tokens(column, where)
        case BooleanColumn():
            pass
        case _:
            assert_never(column)


def _check_tokens(column: TokenColumn, where: str) -> Iterator[str]:
    if (column.pieces is None) == (column.unit == "pieces"):
        yield f"'{column.unit}' at {where}.unit"
    elif column.pieces is not None:
        yield from column.pieces.problems(f"{where}.pieces")
    elif not column.tokens:
        yield f"no tokens at {where}.tokens"
    if column.room < 1:
        yield f"{column.length} at {where}.length"


def _check_means(means: TargetMeans, levels: int, where: str) -> Iterator[str]:
    targets = len(means.prior)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "rows": (means.rows, (FOLDS, levels)),
        "sums": (means.sums, (targets, FOLDS, levels)),
        "scale": (means.scale, (targets,)),
    }
    for name, (values, expected) in shapes.items():
        if _shape(values) != expected:
            yield f"not {' × '.join(map(str, expected))} numbers at {where}.{name}"


def _shape(values: Any) -> tuple[int, ...] | None:
    """Return the shape of nested tuples; None if they differ in length."""
    try:
        shape: tuple[int, ...] = np.shape(values)
    except ValueError:
        return None
    return shape


def _check_target(target: FittedTarget) -> Iterator[str]:
    width = len(target.columns)
    if not width:
        yield "no columns at target"
    rules = TASK_RULES[target.task]
    if rules.has_text:
        if target.text is None:
            yield "no tokens at target"
        else:
            yield from _check_tokens(target.text.column, "target.text.column")
        return
    if not rules.has_classes:
        lengths = {name: len(getattr(target, name)) for name in ("offset", "scale", "prior")}
        lengths |= {"transforms": len(target.transforms)} if target.transforms else {}
        yield from (
            f"{count} values of {width} columns at target.{name}"
            for name, count in lengths.items()
            if count != width
        )
        if any(scale <= 0 for scale in target.scale):
            yield "a number of 0 or less at target.scale"
        return
    minimum = 2 if rules.is_exclusive else 0
    if len(target.classes) < minimum or (rules.has_positive_class and len(target.classes) > 2):
        yield f"{len(target.classes)} classes at target"
    if len(target.class_counts) != len(target.names):
        yield f"{len(target.class_counts)} numbers at target.class_counts"
    if len(target.prior) != target.width:
        yield f"{len(target.prior)} numbers at target.prior"

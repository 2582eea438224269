"""Categorical and boolean columns: levels, rare ones merged, an own level for unseen values.

A column's codes are 0 … n-1 for its levels, then `(rare)`, then `(missing)`, where there are such, and
-1 for a value not seen in training that has no level to go to. Levels are in the order that the config
states; else ordinal ones in that of `scales`, others in natural order.

    onehot      one 0/1 column a code; all 0 for -1
    ordinal     code / (codes - 1), so levels span [0, 1]; one step below 0 for -1
    embedding   the id code + 1; id 0, which no training row has, for -1

Owns: fitting and coding. Does not own: which rows train, where the columns go in `x`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import numpy as np
import polars as pl
from pydantic import Field

from trainer.config.data import Categorical, CategoricalImpute, Encode
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ordinal_scales import ordered_levels
from trainer.data.values import (
    TRUE_TOKENS,
    canonical_level,
    casefold_level,
    level_text,
    merge_case_variants,
    natural_sort,
    parse_booleans,
    text,
)

RARE, MISSING = "(rare)", "(missing)"
_NOWHERE, _TO_RARE = -1, -2


class CategoricalColumn(FittedBase):
    """A fitted categorical column; counts are of the training rows.

    Attributes:
        name: The column.
        kind: "categorical".
        missing: Training rows without a value.
        impute: How missing values are filled.
        fill: The level they are filled with; null for an own level.
        levels: The levels that are kept, in their order.
        counts: Training rows of each, filled ones among them.
        rare: Training rows of the levels merged into `(rare)`; 0 when there are none.
        merged: Those levels.
        has_missing_level: Whether missing values are a level of their own.
        unknown: Where unseen values go: their own level, or `(rare)` when there is one.
        encode: How codes become columns.
        dimension: Length of an embedding; null for the others.
        features: The columns of `x` made from it.
        ignore_case: Whether values that differ in case only are one level.
    """

    kind: Literal["categorical"] = "categorical"
    name: str
    missing: int
    impute: CategoricalImpute
    fill: str | None
    levels: tuple[str, ...]
    counts: tuple[int, ...]
    rare: int
    merged: tuple[str, ...]
    has_missing_level: bool
    unknown: Literal["separate_level", "rare"]
    encode: Encode
    dimension: int | None
    features: tuple[str, ...]
    ignore_case: bool = Field(default=False, exclude_if=operator.not_)

    @property
    def codes(self) -> int:
        """How many codes there are, without -1."""
        return len(self.levels) + (self.rare > 0) + self.has_missing_level

    @property
    def embedding(self) -> tuple[int, int] | None:
        """(ids, dimension) of an embedding, the id of unseen values among them; else None."""
        return None if self.dimension is None else (self.codes + 1, self.dimension)


class BooleanColumn(FittedBase):
    """A fitted yes/no column: 0 for no, 1 for yes.

    Attributes:
        name: The column.
        kind: "boolean".
        missing: Training rows without a value.
        yes: Training rows with yes.
        no: Training rows with no.
        impute: How missing values are filled.
        fill: What they are filled with; with an own level they are 0 and marked in a second column.
        has_missing_level: Whether there is that second column.
        features: The columns of `x` made from it.
    """

    kind: Literal["boolean"] = "boolean"
    name: str
    missing: int
    yes: int
    no: int
    impute: CategoricalImpute
    fill: bool
    has_missing_level: bool
    features: tuple[str, ...]


def count_levels(series: pl.Series) -> dict[str, int]:
    """Rows of each level, in natural order of the levels."""
    counted = level_text(series).drop_nulls().alias("level").value_counts(sort=False)
    return sort_counts(dict(counted.iter_rows()))


def sort_counts(counts: dict[str, int]) -> dict[str, int]:
    """The counts in natural order of their levels."""
    return {level: counts[level] for level in natural_sort(list(counts))}


def fit_categorical(
    name: str,
    series: pl.Series,
    settings: Categorical,
    stated: Sequence[str] | None = None,
) -> CategoricalColumn | None:
    """Learn one column; None when all training rows have one code.

    Args:
        name: The column.
        series: Its training rows, one known value at least.
        settings: The column's settings.
        stated: All its levels in their order, where the config states them.
    """
    return fit_level_counts(name, count_levels(series), series.null_count(), settings, stated)


def fit_level_counts(
    name: str,
    counts: dict[str, int],
    missing: int,
    settings: Categorical,
    stated: Sequence[str] | None = None,
) -> CategoricalColumn | None:
    """Learn a column from the rows of each level, in natural order, and of those without one."""
    if settings.ignore_case:
        counts = sort_counts(merge_case_variants(counts.items()))
    if stated is not None:
        key = _key(settings.ignore_case)
        rows = {key(level): count for level, count in counts.items()}
        counts = {level: rows.get(key(level), 0) for level in stated}
    counts = dict(counts)
    fill: str | None = None
    match settings.impute:
        case "constant":
            fill = _spelled(settings.constant, counts, settings.ignore_case)
        case "most_frequent" | "drop":
            fill = max(counts, key=lambda level: counts[level])
        case "separate_level":
            pass
        case _:
            assert_never(settings.impute)
    if missing and fill is not None:
        counts[fill] = counts.get(fill, 0) + missing
    levels = tuple(counts) if stated is not None else _kept(counts, settings)
    kept = set(levels)
    rare = sum(count for level, count in counts.items() if level not in kept)
    has_missing_level = missing > 0 and fill is None
    column = CategoricalColumn(
        name=name,
        missing=missing,
        impute=settings.impute,
        fill=fill,
        levels=levels,
        counts=tuple(counts[level] for level in levels),
        rare=rare,
        merged=tuple(level for level in counts if level not in kept),
        has_missing_level=has_missing_level,
        unknown=settings.unknown,
        encode=settings.encode,
        dimension=None,
        features=(),
        ignore_case=settings.ignore_case,
    )
    if column.codes < 2:
        return None
    dimension = None
    if settings.encode == "embedding":
        dimension = settings.dimension or min(50, round(1.6 * column.codes**0.56))
    features = (name,) if settings.encode != "onehot" else _one_hot_names(column)
    return column.model_copy(update={"dimension": dimension, "features": features})


def _kept(counts: dict[str, int], settings: Categorical) -> tuple[str, ...]:
    """The levels that are frequent enough, in their order."""
    often = [level for level, count in counts.items() if count >= settings.min_count]
    often.sort(key=lambda level: -counts[level])
    kept = often[: settings.max_levels]
    if settings.encode == "ordinal":
        return tuple(ordered_levels(kept)[0])
    return tuple(natural_sort(kept))


def _spelled(constant: str, counts: dict[str, int], ignore_case: bool) -> str:
    """The level that a constant names: its spelling in training, else its own."""
    key = _key(ignore_case)
    return next(
        (level for level in counts if key(level) == key(constant)), canonical_level(constant)
    )


def _key(ignore_case: bool) -> Callable[[str], str]:
    """What levels that are one have in common."""
    return casefold_level if ignore_case else canonical_level


def _one_hot_names(column: CategoricalColumn) -> tuple[str, ...]:
    specials = [RARE] * (column.rare > 0) + [MISSING] * column.has_missing_level
    return tuple(f"{column.name}={level}" for level in (*column.levels, *specials))


def level_codes(column: CategoricalColumn, series: pl.Series) -> tuple[RowIndex, BoolArray]:
    """The code of each row, int64 (n,), and whether its value was never seen in training."""
    kept = len(column.levels)
    key = _key(column.ignore_case)
    table: dict[str | None, int] = {key(level): code for code, level in enumerate(column.levels)}
    table |= {key(level): kept for level in column.merged}
    if column.has_missing_level:
        table[None] = column.codes - 1
    elif column.fill is not None and key(column.fill) in table:
        table[None] = table[key(column.fill)]
    elsewhere = _TO_RARE if column.unknown == "rare" and column.rare else _NOWHERE
    cells = text(series)
    values = cells.unique()
    codes = [
        table[level] if level in table else _NOWHERE if level is None else elsewhere
        for level in (None if value is None else key(value) for value in values)
    ]
    found = cells.replace_strict(
        values, pl.Series(codes, dtype=pl.Int64), default=_NOWHERE, return_dtype=pl.Int64
    ).to_numpy()
    return np.where(found == _TO_RARE, kept, found), found < 0


def ordinal_values(column: CategoricalColumn, codes: RowIndex) -> Float64Array:
    """Codes as numbers: 0 to 1 over the codes, one step below 0 for -1."""
    return codes / (column.codes - 1)


def fit_boolean(name: str, series: pl.Series, settings: Categorical) -> BooleanColumn | None:
    """Learn one yes/no column; None when it does not vary in training.

    Args:
        name: The column.
        series: Its training rows, one known value at least.
        settings: `impute` and `constant` count.
    """
    values = parse_booleans(series, marks=True)
    missing = values.null_count()
    yes = int(values.sum())
    return fit_boolean_counts(name, yes, len(values) - missing - yes, missing, settings)


def fit_boolean_counts(
    name: str, yes: int, no: int, missing: int, settings: Categorical
) -> BooleanColumn | None:
    """As `fit_boolean`, from the rows with yes, with no and with neither."""
    has_missing_level = missing > 0 and settings.impute == "separate_level"
    fill = yes > no
    if settings.impute == "constant":
        fill = settings.constant.lower() in TRUE_TOKENS
    varies = (yes > 0 or (missing > 0 and fill)) and (no > 0 or (missing > 0 and not fill))
    if not varies and not has_missing_level:
        return None
    return BooleanColumn(
        name=name,
        missing=missing,
        yes=yes,
        no=no,
        impute=settings.impute,
        fill=fill,
        has_missing_level=has_missing_level,
        features=(name, f"{name}={MISSING}") if has_missing_level else (name,),
    )


def boolean_values(
    column: BooleanColumn, series: pl.Series
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Yes or no of each row, whether it was missing, and whether its value can not be read.

    A value that is neither counts as missing. A missing value of a column that had none in training
    is filled with the more frequent one.
    """
    values = parse_booleans(series, marks=True)
    gaps = values.is_null().to_numpy()
    wrong = gaps & series.is_not_null().to_numpy()
    filled = values.fill_null(value=False if column.has_missing_level else column.fill)
    return np.asarray(filled.to_numpy()), gaps, wrong

"""Categorical and boolean columns: levels, merged rare levels, and codes for unseen values.

The codes of a column are 0 … n-1 for its levels, then `(rare)` and `(missing)` if present, and -1 for a
value that does not occur in training and maps to no level. Levels are in the order that the config
sets; otherwise ordinal levels are in the order of `ordinal_scales`, others in natural order.

    onehot      one 0/1 column per code; all 0 for -1
    ordinal     code / (codes - 1), so that levels span [0, 1]; one step below 0 for -1
    embedding   the id code + 1, an integer; id 0, which no training row has, stands for -1
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, assert_never

import numpy as np
import polars as pl
from pydantic import Field

from trainer.config.data import Categorical, CategoricalImpute, Encode
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ordinal_scales import ordered_levels
from trainer.data.spellings import (
    TRUE_TOKENS,
    canonical_level,
    casefold_level,
    merge_case_variants,
    natural_sort,
)
from trainer.data.target_means import TargetMeans
from trainer.data.values import parse_booleans, to_text

RARE, MISSING = "(rare)", "(missing)"
_UNSEEN, _TO_RARE = -1, -2


class CategoricalColumn(FittedBase):
    """A fitted categorical column, with counts of the training rows.

    Attributes:
        missing: Number of training rows without a value.
        impute: How missing values are imputed.
        fill: The imputed level; null if missing values have a separate level.
        levels: The levels, in order.
        counts: Training rows of each level, including imputed ones.
        rare: Training rows of the levels merged into `(rare)`; 0 if there are none.
        merged: The levels merged into `(rare)`.
        has_missing_level: Whether missing values have a separate level.
        unknown: Whether unseen values are encoded as -1 (`separate_level`) or as `(rare)` if present.
        encode: How codes are encoded as columns.
        dimension: Embedding dimension; null for other encodings.
        features: The encoded columns for this column.
        ignore_case: Whether values that differ only in case are one level.
        target_means: The target by level, for each merged level too, then for `(missing)` if there is
            such a level; omitted without target encoding.
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
    target_means: TargetMeans | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def codes(self) -> int:
        """Number of codes, without -1."""
        return len(self.levels) + (self.rare > 0) + self.has_missing_level

    @property
    def distinct_levels(self) -> int:
        """Number of levels, including each that is merged into `(rare)`, and `(missing)`."""
        return len(self.levels) + len(self.merged) + self.has_missing_level

    @property
    def embedding(self) -> tuple[int, int] | None:
        """(number of ids, dimension) of an embedding, including the id of unseen values, or None."""
        return None if self.dimension is None else (self.codes + 1, self.dimension)


class BooleanColumn(FittedBase):
    """A fitted yes/no column: 0 for no, 1 for yes.

    Attributes:
        missing: Number of training rows without a value.
        yes: Training rows with yes.
        no: Training rows with no.
        impute: How missing values are imputed.
        fill: The imputed value; ignored if missing values have a separate level.
        has_missing_level: Whether missing values are encoded as 0 and marked in a second column.
        features: The encoded columns for this column.
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


def sort_counts(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts in natural order of their levels."""
    return {level: counts[level] for level in natural_sort(list(counts))}


def fit_categorical(
    name: str,
    counts: dict[str, int],
    missing: int,
    settings: Categorical,
    explicit_levels: Sequence[str] | None = None,
) -> CategoricalColumn | None:
    """Fit one column; None if all training rows have the same code.

    Args:
        name: The column.
        counts: The training rows of each level, in natural order; not empty.
        missing: The number of training rows without a value.
        settings: The column's settings.
        explicit_levels: All levels in order, if the config sets them.
    """
    if settings.ignore_case:
        counts = sort_counts(merge_case_variants(counts.items()))
    if explicit_levels is not None:
        key = _level_key(settings.ignore_case)
        rows = {key(level): count for level, count in counts.items()}
        counts = {level: rows.get(key(level), 0) for level in explicit_levels}
    counts = dict(counts)
    fill = _fill_level(counts, settings)
    if missing and fill is not None:
        counts[fill] = counts.get(fill, 0) + missing
    levels = tuple(counts) if explicit_levels is not None else _frequent_levels(counts, settings)
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


def _fill_level(counts: dict[str, int], settings: Categorical) -> str | None:
    """Return the imputed level, or None if missing values have a separate level."""
    match settings.impute:
        case "constant":
            return _level_of_constant(settings.constant, counts, settings.ignore_case)
        case "most_frequent" | "drop":
            return max(counts, key=lambda level: counts[level])
        case "separate_level":
            return None
        case _:
            assert_never(settings.impute)


def _frequent_levels(counts: dict[str, int], settings: Categorical) -> tuple[str, ...]:
    """Return the levels that are frequent enough, in order."""
    frequent = [level for level, count in counts.items() if count >= settings.min_count]
    frequent.sort(key=lambda level: -counts[level])
    kept = frequent[: settings.max_levels]
    if settings.encode == "ordinal":
        return tuple(ordered_levels(kept)[0])
    return tuple(natural_sort(kept))


def _level_of_constant(constant: str, counts: dict[str, int], ignore_case: bool) -> str:
    """Return the level of a constant, spelled as in the training rows if it occurs there."""
    key = _level_key(ignore_case)
    return next(
        (level for level in counts if key(level) == key(constant)), canonical_level(constant)
    )


def _level_key(ignore_case: bool) -> Callable[[str], str]:
    """Return the function that maps all spellings of a level to the same key."""
    return casefold_level if ignore_case else canonical_level


def _one_hot_names(column: CategoricalColumn) -> tuple[str, ...]:
    specials = [RARE] * (column.rare > 0) + [MISSING] * column.has_missing_level
    return tuple(f"{column.name}={level}" for level in (*column.levels, *specials))


def level_codes(column: CategoricalColumn, series: pl.Series) -> tuple[RowIndex, BoolArray]:
    """Return the code of each row, int64 (n,), and the mask of values unseen in training."""
    rare_code = len(column.levels)
    key = _level_key(column.ignore_case)
    table: dict[str | None, int] = {key(level): code for code, level in enumerate(column.levels)}
    table |= {key(level): rare_code for level in column.merged}
    if column.has_missing_level:
        table[None] = column.codes - 1
    elif column.fill is not None and key(column.fill) in table:
        table[None] = table[key(column.fill)]
    unseen_code = _TO_RARE if column.unknown == "rare" and column.rare else _UNSEEN
    row_codes = _row_codes(to_text(series), key, table, unseen_code)
    return np.where(row_codes == _TO_RARE, rare_code, row_codes), row_codes < 0


def distinct_codes(column: CategoricalColumn, series: pl.Series) -> RowIndex:
    """Return a code for each row, int64 (n,), in which the levels merged into `(rare)` differ.

    Codes are 0 … n-1 for the levels, then those of merged levels and of `(missing)` if present, and -1
    for a value that does not occur in training.
    """
    key = _level_key(column.ignore_case)
    levels = (*column.levels, *column.merged)
    table: dict[str | None, int] = {key(level): code for code, level in enumerate(levels)}
    if column.has_missing_level:
        table[None] = column.distinct_levels - 1
    elif column.fill is not None and key(column.fill) in table:
        table[None] = table[key(column.fill)]
    return _row_codes(to_text(series), key, table, _UNSEEN)


def _row_codes(
    cells: pl.Series, key: Callable[[str], str], table: Mapping[str | None, int], unseen_code: int
) -> RowIndex:
    """Return the code of each cell by its key; -1 for missing cells that are not in the table."""
    values = cells.unique()
    codes = [
        table[level] if level in table else _UNSEEN if level is None else unseen_code
        for level in (None if value is None else key(value) for value in values)
    ]
    row_codes: RowIndex = cells.replace_strict(
        values, pl.Series(codes, dtype=pl.Int64), default=_UNSEEN, return_dtype=pl.Int64
    ).to_numpy()
    return row_codes


def ordinal_values(column: CategoricalColumn, codes: RowIndex) -> Float64Array:
    """Return codes scaled to [0, 1]; one step below 0 for -1."""
    return codes / (column.codes - 1)


def fit_boolean(
    name: str, yes: int, no: int, missing: int, settings: Categorical
) -> BooleanColumn | None:
    """Fit one yes/no column; None if it is constant in training.

    Args:
        name: The column.
        yes: Training rows with yes.
        no: Training rows with no.
        missing: Training rows without a value.
        settings: The column's settings; only `impute` and `constant` are used.
    """
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
    """Return the value of each row, the mask of missing ones and the mask of invalid ones.

    Invalid values count as missing. Missing values are imputed with the more frequent value if there
    were none in training.
    """
    values = parse_booleans(series, accept_marks=True)
    missing = values.is_null().to_numpy()
    invalid = missing & series.is_not_null().to_numpy()
    filled = values.fill_null(value=False if column.has_missing_level else column.fill)
    return np.asarray(filled.to_numpy()), missing, invalid

"""The settings of one column: its own over those of its kind, and what does not fit the kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never, get_args

from trainer.config.data import (
    Categorical,
    CategoricalImpute,
    ColumnKind,
    ColumnSettings,
    Data,
    DatePart,
    Numeric,
    NumericImpute,
    class_text,
)
from trainer.config.nodes import column_key
from trainer.data.values import canonical_level
from trainer.errors import Problem

_FITTING: Mapping[ColumnKind, tuple[str, ...]] = {
    "numeric": ("impute", "constant", "indicator", "scale", "smooth_clip", "decimal"),
    "categorical": (
        "impute", "constant", "encode", "dimension", "min_count", "max_levels", "unknown", "levels",
        "ignore_case",
    ),
    "boolean": ("impute", "constant"),
    "datetime": ("impute", "constant", "indicator", "scale", "smooth_clip", "parts", "format"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatetimeSettings:
    """Of a date column: its parts, how dates are written, and how `elapsed` is filled and scaled."""

    parts: tuple[DatePart, ...]
    format: str | None
    elapsed: Numeric


def numeric_settings(data: Data, name: str) -> Numeric:
    """`data.numeric` with what `data.columns` says of this column."""
    own = _stated(data, name)
    changes = {key: own[key] for key in _FITTING["numeric"] if key in own and key != "decimal"}
    if "constant" in changes:
        changes["constant"] = float(changes["constant"])  # type: ignore[arg-type]
    return data.numeric.model_copy(update=changes)


def categorical_settings(data: Data, name: str) -> Categorical:
    """`data.categorical` with what `data.columns` says of this column."""
    own = _stated(data, name)
    known = Categorical.model_fields
    changes = {key: own[key] for key in _FITTING["categorical"] if key in own and key in known}
    if "constant" in changes:
        changes["constant"] = str(changes["constant"])
    return data.categorical.model_copy(update=changes)


def explicit_kind(data: Data, name: str) -> ColumnKind | None:
    """The kind of a column where the config says it, or implies it by levels, decimal mark or format."""
    own = data.columns.get(name)
    if own is None or own.kind is not None:
        return None if own is None else own.kind
    if own.levels is not None:
        return "categorical"
    if own.decimal is not None:
        return "numeric"
    return "datetime" if own.format is not None else None


def explicit_levels(data: Data, name: str) -> tuple[str, ...] | None:
    """The levels that the config states for a column, as text."""
    own = data.columns.get(name)
    if own is None or own.levels is None:
        return None
    return tuple(canonical_level(class_text(level)) for level in own.levels)


def folds_target_case(data: Data) -> bool:
    """Whether classes of the target that differ in case only are one."""
    return isinstance(data.target, str) and bool(
        data.target in data.columns and data.columns[data.target].ignore_case
    )


def datetime_settings(data: Data, name: str, date_format: str | None) -> DatetimeSettings:
    """`data.datetime` and, for elapsed days, `data.numeric`, with what `data.columns` says.

    Args:
        data: The `data` section.
        name: The column.
        date_format: How its dates are written as text; None for ISO 8601.
    """
    own = data.columns[name].parts if name in data.columns else None
    parts = data.datetime.parts if own is None else own
    return DatetimeSettings(tuple(parts), date_format, numeric_settings(data, name))


def settings_problems(data: Data, kinds: Mapping[str, ColumnKind]) -> list[Problem]:
    """Settings of columns that mean nothing for the column's kind.

    Args:
        data: The `data` section.
        kinds: Kind of each feature column.
    """
    problems = []
    for name in data.columns:
        if name in kinds:
            problems += _misfits(data.columns[name], kinds[name], column_key(name))
    return problems


def _misfits(own: ColumnSettings, kind: ColumnKind, key: str) -> list[Problem]:
    stated = own.model_dump(exclude_none=True, exclude={"kind"})
    problems = [
        Problem(
            "",
            f"a setting of a {kind} column ({', '.join(_FITTING[kind])})",
            f"'{setting}'",
            f"remove it, or set {key}.kind",
            f"{key}.{setting}",
        )
        for setting in stated
        if setting not in _FITTING[kind]
    ]
    if "impute" in stated and stated["impute"] not in impute_methods(kind):
        problems.append(
            Problem(
                "",
                f"one of {', '.join(impute_methods(kind))} for a {kind} column",
                f"'{stated['impute']}'",
                f"choose another, or set {key}.kind",
                f"{key}.impute",
            )
        )
    if kind in ("numeric", "datetime") and isinstance(stated.get("constant"), str):
        problems.append(Problem("", "a number", f"'{stated['constant']}'", "", f"{key}.constant"))
    return problems


def impute_methods(kind: ColumnKind) -> tuple[str, ...]:
    """The ways to fill a missing value in a column of this kind."""
    match kind:
        case "numeric" | "datetime":
            return get_args(NumericImpute)
        case "categorical" | "boolean":
            return get_args(CategoricalImpute)
        case _:
            assert_never(kind)


def _stated(data: Data, name: str) -> dict[str, object]:
    return data.columns[name].model_dump(exclude_none=True) if name in data.columns else {}

"""Effective settings of a column, and problems with settings that do not apply to its kind."""

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
from trainer.config.text import TEXT_SETTINGS, Text
from trainer.config.translation import translates
from trainer.data.spellings import canonical_level
from trainer.errors import Problem

_NUMERIC = ("impute", "constant", "indicator", "scale", "smooth_clip", "piecewise_bins")
_APPLICABLE: Mapping[ColumnKind, tuple[str, ...]] = {
    "numeric": (*_NUMERIC, "decimal"),
    "categorical": (
        "impute", "constant", "encode", "dimension", "min_count", "max_levels", "unknown", "levels",
        "ignore_case", "target_mean",
    ),
    "boolean": ("impute", "constant"),
    "datetime": (*_NUMERIC, "parts", "format"),
    "image": (),
    "text": TEXT_SETTINGS,
    "tokens": (),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatetimeSettings:
    """Settings of a date column: its parts, its format, and how numeric parts are imputed and scaled."""

    parts: tuple[DatePart, ...]
    format: str | None
    numbers: Numeric


def numeric_settings(data: Data, name: str) -> Numeric:
    """Return `data.numeric` updated with the settings of this column in `data.columns`."""
    overrides = _explicit_settings(data, name)
    changes = {
        key: overrides[key]
        for key in _APPLICABLE["numeric"]
        if key in overrides and key != "decimal"
    }
    if "constant" in changes:
        changes["constant"] = float(changes["constant"])  # type: ignore[arg-type]
    return data.numeric.model_copy(update=changes)


def categorical_settings(data: Data, name: str) -> Categorical:
    """Return `data.categorical` updated with the settings of this column in `data.columns`."""
    overrides = _explicit_settings(data, name)
    fields = Categorical.model_fields
    changes = {
        key: overrides[key]
        for key in _APPLICABLE["categorical"]
        if key in overrides and key in fields
    }
    if "constant" in changes:
        changes["constant"] = str(changes["constant"])
    return data.categorical.model_copy(update=changes)


def text_settings(data: Data, name: str) -> Text:
    """Return `data.text` updated with the settings of this column in `data.columns`."""
    overrides = _explicit_settings(data, name)
    changes = {key: overrides[key] for key in TEXT_SETTINGS if key in overrides}
    return data.text.model_copy(update=changes)


def explicit_kind(data: Data, name: str) -> ColumnKind | None:
    """Return the kind that the config sets for a column, or implies by levels, decimal or format."""
    if translates(data):
        return "tokens"
    settings = data.columns.get(name)
    if settings is None or settings.kind is not None:
        return None if settings is None else settings.kind
    if settings.levels is not None:
        return "categorical"
    if settings.decimal is not None:
        return "numeric"
    return "datetime" if settings.format is not None else None


def explicit_levels(data: Data, name: str) -> tuple[str, ...] | None:
    """Return the levels that the config sets for a column, as text."""
    settings = data.columns.get(name)
    if settings is None or settings.levels is None:
        return None
    return tuple(canonical_level(class_text(level)) for level in settings.levels)


def ignores_target_case(data: Data) -> bool:
    """Return whether classes of the target that differ only in case are merged."""
    return isinstance(data.target, str) and bool(
        data.target in data.columns and data.columns[data.target].ignore_case
    )


def datetime_settings(data: Data, name: str, date_format: str | None) -> DatetimeSettings:
    """Return the settings of a date column: `data.datetime` and `data.numeric`, then `data.columns`.

    Args:
        data: The `data` section.
        name: The column.
        date_format: The format of its dates as text; None for ISO 8601.
    """
    column_parts = data.columns[name].parts if name in data.columns else None
    parts = data.datetime.parts if column_parts is None else column_parts
    return DatetimeSettings(tuple(parts), date_format, numeric_settings(data, name))


def settings_problems(data: Data, kinds: Mapping[str, ColumnKind]) -> list[Problem]:
    """Return the problems with column settings that do not apply to the column's kind.

    Args:
        data: The `data` section.
        kinds: The kind of each feature column.
    """
    problems = []
    for name in data.columns:
        if name in kinds:
            problems += _kind_problems(data.columns[name], kinds[name], column_key(name))
    return problems


def _kind_problems(column: ColumnSettings, kind: ColumnKind, key: str) -> list[Problem]:
    settings = column.model_dump(exclude_none=True, exclude={"kind"})
    problems = [
        Problem(
            "",
            f"a setting of a {kind} column ({', '.join(_APPLICABLE[kind])})",
            f"'{setting}'",
            f"remove it, or set {key}.kind",
            f"{key}.{setting}",
        )
        for setting in settings
        if setting not in _APPLICABLE[kind]
    ]
    if "impute" in settings and settings["impute"] not in impute_methods(kind):
        problems.append(
            Problem(
                "",
                f"one of {', '.join(impute_methods(kind))} for a {kind} column",
                f"'{settings['impute']}'",
                f"choose another, or set {key}.kind",
                f"{key}.impute",
            )
        )
    if kind in ("numeric", "datetime") and isinstance(settings.get("constant"), str):
        found, fix = f"'{settings['constant']}'", f"write a number, or set {key}.kind: categorical"
        problems.append(Problem("", "a number", found, fix, f"{key}.constant"))
    return problems


def impute_methods(kind: ColumnKind) -> tuple[str, ...]:
    """Return the impute methods for a column of this kind."""
    match kind:
        case "numeric" | "datetime":
            return get_args(NumericImpute)
        case "categorical" | "boolean":
            return get_args(CategoricalImpute)
        case "image" | "text" | "tokens":
            return ()
        case _:
            assert_never(kind)


def _explicit_settings(data: Data, name: str) -> dict[str, object]:
    return data.columns[name].model_dump(exclude_none=True) if name in data.columns else {}

"""Conflicts in the imputation, scaling and encoding of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import CategoricalImpute, ColumnSettings, Data, NumericImpute, class_text
from trainer.config.nodes import column_key
from trainer.config.task_rules import TASK_RULES
from trainer.config.text import TEXT_SETTINGS

_NUMERIC = ("scale", "smooth_clip", "piecewise_bins", "indicator")
_CATEGORICAL = (
    "encode", "dimension", "min_count", "max_levels", "unknown", "levels", "ignore_case", "target_mean",
)  # fmt: skip
_DATETIME = ("parts", "format")
_TEXT = tuple(name for name in TEXT_SETTINGS if name not in _CATEGORICAL)
_NO_SETTINGS = (*_NUMERIC, *_CATEGORICAL, *_DATETIME, *_TEXT, "decimal", "impute", "constant")
_NOT_APPLICABLE = {
    "numeric": (*_CATEGORICAL, *_DATETIME, *_TEXT),
    "categorical": (*_NUMERIC, *_DATETIME, *_TEXT, "decimal"),
    "boolean": (*_NUMERIC, *_CATEGORICAL, *_DATETIME, *_TEXT, "decimal"),
    "datetime": (*_CATEGORICAL, *_TEXT, "decimal"),
    "image": _NO_SETTINGS,
    "tokens": _NO_SETTINGS,
    "text": (
        *_NUMERIC, *(name for name in _CATEGORICAL if name not in TEXT_SETTINGS), *_DATETIME, "decimal",
        "impute", "constant",
    ),
}  # fmt: skip
"""Kind of column → settings that do not apply to it."""


def column_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield column settings that conflict with the column's kind or with each other."""
    yield from _kind_default_conflicts(data)
    targets = [data.target] if isinstance(data.target, str) else data.target
    for name, column in data.columns.items():
        key = column_key(name)
        if name in targets:
            yield from _target_column_conflicts(key, column)
            has_no_classes = data.task != "auto" and not TASK_RULES[data.task].has_classes
            if column.ignore_case and (has_no_classes or len(targets) > 1):
                expected = "ignore_case only for a single target with classes"
                found = "several targets" if len(targets) > 1 else f"task: {data.task}"
                others = ("data.target", "data.task")
                yield conflict(f"{key}.ignore_case", expected, found, "remove it", *others)
            continue
        yield from _kind_conflicts(key, column)
        yield from _level_conflicts(key, column, data)
        yield from _constant_conflicts(key, column, data)
        yield from _target_mean_conflicts(key, column, data)
        encode = column.encode or data.categorical.encode
        if column.dimension is not None and encode != "embedding":
            yield conflict(
                f"{key}.dimension",
                "a dimension only with encode: embedding",
                f"encode: {encode}",
                "set encode: embedding, or remove dimension",
                f"{key}.encode",
                "data.categorical.encode",
            )


def _target_mean_conflicts(key: str, column: ColumnSettings, data: Data) -> Iterator[Conflict]:
    encode = column.encode or data.categorical.encode
    target_mean = data.categorical.target_mean
    if column.target_mean is not None:
        target_mean = column.target_mean
    if target_mean and encode == "embedding" and (column.encode or column.target_mean):
        yield conflict(
            f"{key}.{'target_mean' if column.target_mean else 'encode'}",
            "target_mean only with encode: onehot or ordinal",
            "encode: embedding",
            "change encode, or set target_mean: false",
            "data.categorical.encode",
            "data.categorical.target_mean",
        )


def _kind_default_conflicts(data: Data) -> Iterator[Conflict]:
    columns = data.columns.values()
    numeric, categorical = data.numeric, data.categorical
    embeds = any(column.encode == "embedding" for column in columns)
    if categorical.dimension is not None and categorical.encode != "embedding" and not embeds:
        yield conflict(
            "data.categorical.dimension",
            "a dimension only with encode: embedding",
            f"encode: {categorical.encode}",
            "set encode: embedding, or remove dimension",
            "data.categorical.encode",
            "data.columns",
        )
    if categorical.target_mean and categorical.encode == "embedding":
        yield conflict(
            "data.categorical.target_mean",
            "target_mean only with encode: onehot or ordinal",
            "encode: embedding",
            "change encode, or remove target_mean",
            "data.categorical.encode",
        )
    constant_columns = any(column.impute == "constant" for column in columns)
    for kind, section, impute in (
        ("numeric", numeric, numeric.impute),
        ("categorical", categorical, categorical.impute),
    ):
        if (
            differs_from_default(section, "constant")
            and impute != "constant"
            and not constant_columns
        ):
            yield conflict(
                f"data.{kind}.constant",
                "a constant only with impute: constant",
                f"impute: {impute}",
                "set impute: constant, or remove the constant",
                f"data.{kind}.impute",
                "data.columns",
            )


def _target_column_conflicts(key: str, column: ColumnSettings) -> Iterator[Conflict]:
    for name in ColumnSettings.model_fields:
        if name not in ("kind", "format", "ignore_case", "decimal") and (
            getattr(column, name) is not None
        ):
            fix = "use data.target_scale" if name == "scale" else "remove it"
            expected = "no feature settings for the target"
            yield conflict(f"{key}.{name}", expected, name, fix, "data.target")


def _kind_conflicts(key: str, column: ColumnSettings) -> Iterator[Conflict]:
    present = [name for name in ColumnSettings.model_fields if getattr(column, name) is not None]
    if column.kind is not None:
        for name in present:
            if name in _NOT_APPLICABLE[column.kind]:
                yield conflict(
                    f"{key}.{name}",
                    f"settings of {'an' if column.kind == 'image' else 'a'} {column.kind} column",
                    name,
                    "remove it, or change the kind",
                    f"{key}.kind",
                )
    else:
        dated = [name for name in present if name in _DATETIME]
        if column.decimal is not None and dated:
            yield conflict(
                f"{key}.decimal",
                "settings of one kind of column",
                f"decimal (numeric) and {dated[0]} (datetime)",
                "remove the setting that does not apply to the column",
                f"{key}.{dated[0]}",
            )
        for name in present:
            if name in _TEXT:
                fix = "set kind: text, or remove it"
                yield conflict(f"{key}.{name}", f"{name} only with kind: text", "no kind", fix)
        numeric = [name for name in present if name in (*_NUMERIC, *_DATETIME, "decimal")]
        categorical = [name for name in present if name in _CATEGORICAL]
        if numeric and categorical:
            kind = "datetime" if numeric[0] in _DATETIME else "numeric"
            yield conflict(
                f"{key}.{categorical[0]}",
                "settings of one kind of column",
                f"{numeric[0]} ({kind}) and {categorical[0]} (categorical)",
                "set the kind, and remove what does not apply to it",
            )
    for kind, known in (("numeric", NumericImpute), ("categorical", CategoricalImpute)):
        if column.kind == kind and column.impute not in (None, *get_args(known)):
            expected = f"one of {', '.join(get_args(known))} for a {kind} column"
            fix = "change it, or the kind"
            yield conflict(f"{key}.impute", expected, str(column.impute), fix, f"{key}.kind")


def _level_conflicts(key: str, column: ColumnSettings, data: Data) -> Iterator[Conflict]:
    if column.levels is None:
        return
    levels = [" ".join(class_text(level).split()) for level in column.levels]
    ignores = data.categorical.ignore_case if column.ignore_case is None else column.ignore_case
    keys = [level.casefold() if ignores else level for level in levels]
    for index, level in enumerate(levels):
        if keys[index] in keys[:index]:
            found = f"'{level}' twice" + (" with ignore_case" if ignores else "")
            yield conflict(f"{key}.levels", "unique categories", found, "remove one of the two")
    for name in ("min_count", "max_levels"):
        if getattr(column, name) is not None:
            expected = "either levels or a limit on their number"
            fix = "remove it, or remove levels"
            yield conflict(
                f"{key}.{name}", expected, f"both levels and {name}", fix, f"{key}.levels"
            )
    if column.unknown == "rare":
        expected = "another value, as a column with explicit levels has no (rare) category"
        fix = "remove it, or remove levels"
        yield conflict(f"{key}.unknown", expected, "unknown: rare", fix, f"{key}.levels")
    impute = column.impute or data.categorical.impute
    constant = data.categorical.constant if column.constant is None else column.constant
    constant = " ".join(class_text(constant).split())
    if impute == "constant" and (constant.casefold() if ignores else constant) not in keys:
        yield conflict(
            f"{key}.levels",
            "levels that include the fill value of missing values",
            f"no '{constant}'",
            "add it, or set impute: separate_level",
            f"{key}.constant",
            f"{key}.impute",
            "data.categorical.constant",
            "data.categorical.impute",
        )


def _constant_conflicts(key: str, column: ColumnSettings, data: Data) -> Iterator[Conflict]:
    if column.constant is None:
        return
    if column.kind == "numeric" and isinstance(column.constant, str):
        expected = "a number for a numeric column"
        found, fix = f"'{column.constant}'", f"write a number, or set {key}.kind: categorical"
        yield conflict(f"{key}.constant", expected, found, fix, f"{key}.kind")
    if column.kind == "categorical" and not isinstance(column.constant, str):
        expected = "text for a categorical column"
        fix = f'put it in quotes: "{column.constant:g}"'
        yield conflict(f"{key}.constant", expected, f"{column.constant:g}", fix, f"{key}.kind")
    imputes = (column.impute, data.numeric.impute, data.categorical.impute)
    used = column.impute == "constant" or (column.impute is None and "constant" in imputes)
    if not used:
        yield conflict(
            f"{key}.constant",
            "a constant only with impute: constant",
            f"impute: {column.impute}" if column.impute else "no impute",
            "set impute: constant, or remove the constant",
            f"{key}.impute",
            "data.numeric.impute",
            "data.categorical.impute",
        )

"""Checks of cells: infinite values, mixed types, placeholders, and categories unseen in training."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, FindingKind, exclusion_setting, join_first, join_names
from trainer.config.nodes import column_key
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.column_settings import categorical_settings
from trainer.data.fitting import MAX_LEVEL_RATIO
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from trainer.data.values import to_text
from trainer.errors import pluralize

_PLACEHOLDER = re.compile(r"-?(?:9{2,}|8{3,})(?:\.0*)?|-9(?:\.0*)?")
_MIN_PLACEHOLDERS, _PLACEHOLDER_FRACTION = 3, 0.005
_UNSEEN_FRACTION, _MIN_UNSEEN = 0.05, 5
_RARE_ROWS = 10
_MANY_LEVELS = 20


def find_infinite(audited: AuditedTable) -> list[Finding]:
    """Find infinite values, which fit rejects in training rows and reads as missing in others."""
    infinite = np.isinf(audited.matrix)
    columns = [audited.numeric[index] for index in np.flatnonzero(infinite.any(axis=0))]
    if not columns:
        return []
    rows: RowIndex = np.flatnonzero(infinite.any(axis=1))
    in_training = bool((audited.split[rows] == TRAIN).any())
    return [
        Finding(
            "infinite_values", "error" if in_training else "warning",
            audited.affected_rows(rows, columns),
            "finite numbers", f"infinity in {pluralize(len(rows), 'row')}, in {join_names(columns)}",
            "fit rejects them" if in_training else "they are read as missing",
            "correct them, leave the cells empty, or add the text found to data.csv.null_values",
        )
    ]  # fmt: skip


def find_mixed_types(audited: AuditedTable) -> list[Finding]:
    """Find text among numbers, and other values that do not match the kind of their column."""
    findings = []
    for name, is_wrong in audited.unparsable.items():
        rows: RowIndex = np.flatnonzero(is_wrong)
        in_training = bool((audited.split[rows] == TRAIN).any())
        kind_names = {"numeric": "numbers", "datetime": "dates", "boolean": "yes or no"}
        kind = audited.kinds[name]
        values = _distinct_values(audited.frame[name], is_wrong)
        findings.append(
            Finding(
                "mixed_types", "error" if in_training else "warning",
                audited.affected_rows(rows, [name]),
                f"{kind_names.get(kind, kind)} in every row of '{name}'",
                f"{join_first([repr(value) for value in values])} in {pluralize(len(rows), 'row')}",
                "fit rejects them" if in_training else "they are read as missing",
                f"correct them, add them to data.csv.null_values, "
                f"or set {column_key(name)}.kind: categorical",
            )
        )  # fmt: skip
    return findings


def find_values_as_text(audited: AuditedTable) -> list[Finding]:
    """Find numbers and dates written as text; report how `fit` reads them."""
    findings = []
    for name, spec in audited.parse_specs.items():
        note = spec.note
        if note is None:
            continue
        kind: FindingKind = "dates_as_text"
        expected = f"ISO 8601 dates in '{name}', or {column_key(name)}.format"
        if note.about == "numbers":
            kind = "numbers_as_text"
            expected = f"plain numbers in '{name}', or {column_key(name)}.decimal"
        effect = "the values are wrong if this is not the intended format"
        if spec.kind == "categorical":
            if note.about == "numbers":
                kind, expected = "mixed_types", f"only numbers or only text in '{name}'"
            effect = "every value becomes a separate category"
        findings.append(
            Finding(
                kind, "warning", audited.affected_columns([name]),
                expected, note.what, effect, note.fix,
            )
        )  # fmt: skip
    return findings


def find_placeholders(audited: AuditedTable) -> list[Finding]:
    """Find values such as -999 and 9999 that are frequent and far from all other values."""
    columns, descriptions = [], []
    is_affected = np.zeros(len(audited.rows), dtype=np.bool_)
    for index, name in enumerate(audited.numeric):
        values = audited.matrix[:, index]
        for extreme in _isolated_extremes(values):
            is_extreme = values == extreme
            cell = to_text(audited.frame[name].gather(np.flatnonzero(is_extreme)[:1]))[0]
            if _PLACEHOLDER.fullmatch(cell.strip().removeprefix("+")):
                columns.append(name)
                rows = pluralize(int(is_extreme.sum()), "row")
                descriptions.append(f"{cell} in {rows} of '{name}'")
                is_affected |= is_extreme
    if not columns:
        return []
    affected = audited.affected_rows(np.flatnonzero(is_affected), list(dict.fromkeys(columns)))
    return [
        Finding(
            "placeholder_values", "warning", affected,
            "measured values", join_first(descriptions),
            "a placeholder for missing values is treated as a number",
            "add them to data.csv.null_values, or leave the cells empty",
        )
    ]  # fmt: skip


def _isolated_extremes(values: Float64Array) -> list[float]:
    """Return the minimum and maximum, each if it is frequent and isolated.

    An extreme is isolated if its distance to the next value exceeds half the range of the others (up to
    their 99% quantile).
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return []
    extremes = []
    for ordered in (values, -values[::-1]):
        count = int(np.searchsorted(ordered, ordered[0], side="right"))
        rest = ordered[count:]
        min_count = max(_MIN_PLACEHOLDERS, _PLACEHOLDER_FRACTION * len(ordered))
        if count < min_count or len(rest) < count:
            continue
        rest_range = float(np.quantile(rest, 0.99) - rest[0])
        if rest[0] - ordered[0] > 0.5 * rest_range:
            extremes.append(float(ordered[0] if ordered is values else -ordered[0]))
    return extremes


def find_category_problems(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find columns with almost as many categories as rows, and rows with unseen categories.

    Args:
        audited: The audited table.
        ignored: Columns that identify rows or groups, or contain numbers.
    """
    many, many_counts, unseen, unseen_counts = [], [], [], []
    is_affected = np.zeros(len(audited.rows), dtype=np.bool_)
    can_merge = True
    for name in audited.discrete:
        if name in ignored or audited.kinds[name] != "categorical":
            continue
        codes = audited.codes(name)
        train_codes = codes[audited.train][codes[audited.train] >= 0]
        settings = categorical_settings(audited.data, name)
        levels, sizes = np.unique(train_codes, return_counts=True)
        is_merged = sizes < settings.min_count
        if np.count_nonzero(~is_merged) > max(_MANY_LEVELS, MAX_LEVEL_RATIO * len(train_codes)):
            many.append(name)
            many_counts.append(
                f"{len(levels):,} categories of '{name}' in {len(train_codes):,} rows"
            )
            continue
        if is_merged.any() and settings.unknown == "rare":
            continue
        is_new = (codes >= 0) & ~np.isin(codes, levels)
        count_of_rows = _unseen_rows_text(audited, is_new)
        if count_of_rows:
            unseen.append(name)
            can_merge = can_merge and bool((sizes < _RARE_ROWS).any())
            unseen_counts.append(f"{count_of_rows} of '{name}'")
            is_affected |= is_new
    findings = []
    if many:
        findings.append(
            Finding(
                "many_categories", "warning", audited.affected_columns(many),
                "several rows for each category of a categorical column", join_first(many_counts),
                "nothing can be learned from categories with a single row",
                f"set data.categorical.min_count: {_RARE_ROWS}, or {exclusion_setting(many)}",
            )
        )  # fmt: skip
    if unseen:
        findings.append(
            Finding(
                "unseen_categories", "warning",
                audited.affected_rows(np.flatnonzero(is_affected), unseen),
                "categories that occur in the training rows", join_first(unseen_counts),
                "the network has not seen them in training",
                "split so that the training rows contain them"
                + (
                    f", or set data.categorical.min_count: {_RARE_ROWS} and "
                    "data.categorical.unknown: rare"
                    if can_merge  # otherwise there are no rare categories to merge them with
                    else ""
                ),
            )
        )  # fmt: skip
    return findings


def _unseen_rows_text(audited: AuditedTable, is_new: BoolArray) -> str:
    """Return how many rows of a split have unseen categories, as text; empty if they are few."""
    for split in (TEST, VALIDATION):
        in_split = audited.split == split
        count, rows = int(is_new[in_split].sum()), int(in_split.sum())
        if count >= max(_MIN_UNSEEN, _UNSEEN_FRACTION * rows) and rows:
            return f"{count:,} of {rows:,} {SPLIT_NAMES[split]} rows with unseen categories"
    return ""


def _distinct_values(series: pl.Series, mask: BoolArray) -> list[str]:
    """Return the distinct values of the selected cells as text."""
    cells = series.gather(np.flatnonzero(mask)).cast(pl.String)
    return [str(value) for value in cells.unique(maintain_order=True).to_list()]

"""Checks of whole columns: empty, constant, row identifiers, redundant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, exclusion_setting, join_first, join_names
from trainer.audit.groups import is_key_name, looks_like_hashes
from trainer.audit.statistics import correlation
from trainer.data.arrays import RowIndex
from trainer.data.hashing import mix64
from trainer.data.table_inspection import IDENTIFIER_ROWS

_NEARLY_CONSTANT = 0.999
_MIN_ROWS = 100
_UNIQUE, _HASHED_UNIQUE = 0.99, 0.5
_DENSE = 2
_CORRELATED = 0.9999
_MIN_VARYING = 10
_CORRELATED_ROWS, _CORRELATED_COLUMNS = 20_000, 1_000


def find_empty(audited: AuditedTable) -> list[Finding]:
    """Find features without a value in the training rows."""
    if not audited.empty:
        return []
    return [
        Finding(
            "empty_column", "warning", audited.affected_columns(audited.empty),
            "features with values in the training rows", f"none in {join_names(audited.empty)}",
            "fit ignores them", f"give them values, or set {exclusion_setting(audited.empty)}",
        )
    ]  # fmt: skip


def find_constant(audited: AuditedTable) -> list[Finding]:
    """Find features with the same value in all training rows, or in all but one in a thousand."""
    constant: list[str] = []
    nearly_numeric: list[str] = []
    nearly_categorical: list[str] = []
    train = audited.train
    for name in audited.kinds:
        if audited.kinds[name] == "datetime":
            continue
        counts = np.bincount(audited.codes(name)[train] + 1)
        minority = len(train) - int(counts.max())
        if minority == 0 and (audited.kinds[name] == "numeric" or _is_constant(audited, name)):
            constant.append(name)
        elif len(train) >= _MIN_ROWS and minority <= max(1, (1 - _NEARLY_CONSTANT) * len(train)):
            is_numeric = audited.kinds[name] == "numeric"
            (nearly_numeric if is_numeric else nearly_categorical).append(name)
    findings = []
    if constant:
        findings.append(
            Finding(
                "constant_column", "warning", audited.affected_columns(constant),
                "features that vary in the training rows", f"one value in {join_names(constant)}",
                "fit ignores them", f"set {exclusion_setting(constant)}",
            )
        )  # fmt: skip
    expected = "features that vary in more than one in a thousand training rows"
    if nearly_numeric:
        findings.append(
            Finding(
                "nearly_constant_column", "warning", audited.affected_columns(nearly_numeric), expected,
                f"almost always the same value in {join_names(nearly_numeric)}",
                "the few other values are very large after scaling",
                f"set {exclusion_setting(nearly_numeric)}",
            )
        )  # fmt: skip
    if nearly_categorical:
        findings.append(
            Finding(
                "nearly_constant_column", "note", audited.affected_columns(nearly_categorical), expected,
                f"almost always the same category in {join_names(nearly_categorical)}",
                "the other categories have too few rows to learn from",
                f"consider {exclusion_setting(nearly_categorical)}",
            )
        )  # fmt: skip
    return findings


def _is_constant(audited: AuditedTable, name: str) -> bool:
    """Return whether there is only one value in all splits; training may lack a rare one by chance."""
    codes = audited.codes(name)
    return bool((codes == codes[0]).all())


def find_identifiers(audited: AuditedTable, groups: Sequence[str]) -> list[Finding]:
    """Find features that identify the row.

    Args:
        audited: The audited table.
        groups: Features that identify groups, which are reported separately.
    """
    columns: list[str] = []
    descriptions: list[str] = []
    for name in audited.kinds:
        reason = "" if name in groups else _identifier_reason(audited, name)
        if reason:
            columns.append(name)
            descriptions.append(f"'{name}' ({reason})")
    if not columns:
        return []
    return [
        Finding(
            "row_identifier", "warning", audited.affected_columns(columns),
            "features that generalize to new rows", join_first(descriptions),
            "a network can memorize training rows by their identifiers",
            f"set {exclusion_setting(columns)}",
        )
    ]  # fmt: skip


def _identifier_reason(audited: AuditedTable, name: str) -> str:
    """Return why a feature identifies the row; empty if it does not."""
    levels = audited.levels(name)
    known = int(levels.sum())
    if known < IDENTIFIER_ROWS:
        return ""
    unique = np.count_nonzero(levels) / known
    match audited.kinds[name]:
        case "categorical":
            if unique >= _UNIQUE:
                return "a different value in every row"
            if unique >= _HASHED_UNIQUE and looks_like_hashes(audited.frame[name]):
                return "UUIDs or hashes"
        case "numeric" if unique >= _UNIQUE:
            return _numeric_identifier_reason(audited, name)
        case _:
            pass
    return ""


def _numeric_identifier_reason(audited: AuditedTable, name: str) -> str:
    values = audited.numbers(name)
    is_known = np.isfinite(values)
    values, rows = values[is_known], audited.rows[is_known]
    is_integer = bool(np.all(values == np.round(values)))
    slopes = np.diff(values) / np.diff(rows)
    median = float(np.median(slopes))
    is_median = np.abs(slopes - median) <= 1e-6 * abs(median)
    if median != 0 and float(is_median.mean()) >= _UNIQUE:
        return "a row counter"
    if not is_integer:
        return ""
    if float((slopes > 0).mean()) >= _UNIQUE or float((slopes < 0).mean()) >= _UNIQUE:
        return "integers sorted by row"
    total = sum(file.rows for file in audited.table.files)
    if float(values.max() - values.min()) < _DENSE * total:
        return "distinct integers, about as many as rows"
    return "distinct integers in a column whose name looks like an ID" if is_key_name(name) else ""


def find_redundant(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find features that duplicate another one under other names or in another unit.

    Args:
        audited: The audited table.
        ignored: Features of other findings.
    """
    pairs = [*_correlated(audited, ignored), *_renamed(audited, ignored)]
    if not pairs:
        return []
    # The first column in the table is kept; each of the others is listed once.
    redundant = list(dict.fromkeys(other for _, other, _ in pairs))
    descriptions = [f"'{other}' {relation} '{first}'" for first, other, relation in pairs]
    return [
        Finding(
            "redundant_column", "warning", audited.affected_columns(redundant),
            "features that each add information", join_first(descriptions),
            "duplicate information counts twice in regularization and explanations",
            f"set {exclusion_setting(redundant)}",
        )
    ]  # fmt: skip


def _correlated(audited: AuditedTable, ignored: Sequence[str]) -> list[tuple[str, str, str]]:
    rows = audited.train[:: -(-len(audited.train) // _CORRELATED_ROWS) or 1]
    usable = [
        name for name in audited.numeric if name not in ignored and _varies(audited, name, rows)
    ][:_CORRELATED_COLUMNS]
    if len(usable) < 2:
        return []
    indices = [audited.numeric.index(name) for name in usable]
    values = audited.matrix[rows][:, indices]
    values[~np.isfinite(values)] = np.nan
    values /= np.nanmax(np.abs(values), axis=0)  # squares of large numbers would overflow
    values -= np.nanmean(values, axis=0)
    values[np.isnan(values)] = 0
    norms = np.sqrt((values**2).sum(axis=0))
    values /= np.where(norms > 0, norms, 1)
    correlations = values.T @ values
    pairs = []
    for i, j in np.argwhere(np.triu(np.abs(correlations) > _CORRELATED, 1)):
        r = correlation(values[:, i], values[:, j])
        if abs(r) > _CORRELATED:
            pairs.append((usable[i], usable[j], f"is correlated (r = {r:.5f}) with"))
    return pairs


def _varies(audited: AuditedTable, name: str, rows: RowIndex) -> bool:
    """Return whether enough rows differ from the most frequent value for a meaningful correlation."""
    counts = np.bincount(audited.codes(name)[rows] + 1)
    return len(rows) - int(counts.max()) >= _MIN_VARYING


def _renamed(audited: AuditedTable, ignored: Sequence[str]) -> list[tuple[str, str, str]]:
    """Find columns whose values correspond one to one, including numeric with categorical columns."""
    rows = audited.train
    first_with: dict[tuple[int, int], str] = {}
    pairs = []
    for name in audited.kinds:
        if name in ignored or audited.kinds[name] == "datetime" or not _varies(audited, name, rows):
            continue
        codes = audited.codes(name)[rows]
        pattern = (int(codes.max()), _pattern_hash(codes))
        if pattern not in first_with:
            first_with[pattern] = name
        elif {name, first_with[pattern]} & set(audited.discrete):
            pairs.append((first_with[pattern], name, "corresponds one to one to"))
    return pairs


def _pattern_hash(codes: RowIndex) -> int:
    """Hash which rows share a value, regardless of the values; missing counts as a value."""
    _, start, level = np.unique(codes, return_index=True, return_inverse=True)
    first = start[level].astype(np.int64)
    first = np.where(codes < 0, -1, first)
    index = np.arange(len(first), dtype=np.uint64)
    return int(mix64(mix64(first.astype(np.uint64)) + index).sum(dtype=np.uint64))

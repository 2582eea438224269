"""Check for group leakage: groups of rows (a patient, a household) that are in more than one split.

A group column is recognized by its name or by a target that is nearly constant within groups.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, exclusion_setting
from trainer.audit.statistics import correlation
from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.data.values import is_date_type
from trainer.errors import pluralize

_IDS = frozenset({"id", "ids", "uuid", "guid", "key"})
_SUFFIXES = frozenset({*_IDS, "no", "nr", "num", "number", "name", "code", "hash"})
_ENTITIES = frozenset({
    "patient", "subject", "user", "customer", "client", "household", "family", "person", "member",
    "participant", "donor", "session", "device", "account", "individual", "animal", "respondent",
    "student", "employee", "speaker", "writer", "author",
})  # fmt: skip
_GROUPS = frozenset({"group", "groups", "cluster", "batch"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_HASHED = r"^(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{16,128})$"

_MIN_GROUPS, _MIN_UNNAMED_GROUPS = 10, 20
_MIN_DEGREES_OF_FREEDOM = 20
_MIN_EXPLAINED_VARIANCE = 0.95
_MAX_AUTOCORRELATION = 0.5


def is_key_name(name: str) -> bool:
    """Return whether a name looks like the key of a row or a group: `patient`, `user_id`, `orderId`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if len(words) == 1 and words[0] in _GROUPS:
        return True
    if words[-1] in _IDS or words[-1] in _ENTITIES:
        return True
    if len(words) > 1 and words[-1] in _SUFFIXES and words[-2] in _ENTITIES:
        return True
    return any(
        words[-1] == entity + suffix for entity in _ENTITIES for suffix in ("id", "no", "nr")
    )


def looks_like_hashes(series: pl.Series) -> bool:
    """Return whether almost all values are UUIDs or long hexadecimal strings."""
    if series.dtype != pl.String:
        return False
    known = series.drop_nulls().head(1000)
    return len(known) > 0 and float(known.str.contains(_HASHED).mean() or 0) >= 0.95  # type: ignore[arg-type]


def find_group_leaks(audited: AuditedTable) -> list[Finding]:
    """Find groups with rows in more than one split; those that determine the target come first."""
    by = audited.data.split.by
    has_file_per_split = audited.table.source_splits is not None
    if not has_file_per_split and (
        by in ("group", "time") or (by == "hash" and audited.data.split.column is not None)
    ):
        return []
    findings = []
    for name in (*audited.kinds, *audited.other_columns):
        finding = _group_leak(audited, name, can_split=not has_file_per_split and by != "column")
        if finding is not None:
            findings.append(finding)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _group_leak(audited: AuditedTable, name: str, *, can_split: bool) -> Finding | None:
    codes = _group_codes(audited, name)
    if codes is None:
        return None
    is_known = codes >= 0
    groups = len(np.unique(codes[is_known]))
    is_key = is_key_name(name) or looks_like_hashes(audited.frame[name])
    min_groups = _MIN_GROUPS if is_key else _MIN_UNNAMED_GROUPS
    if not is_key and name in audited.other_columns:
        # A column that is neither a feature nor a key does not define groups.
        return None
    if groups < min_groups or 2 * groups > int(is_known.sum()):
        return None
    train = codes[is_known & (audited.split == TRAIN)]
    held_out = np.flatnonzero(is_known & ((audited.split == VALIDATION) | (audited.split == TEST)))
    leaked = held_out[np.isin(codes[held_out], train)]
    if not len(leaked):
        return None
    explained_variance = _explained_variance(audited, codes)
    numeric = audited.is_numeric(name)
    if not is_key and (
        explained_variance < _MIN_EXPLAINED_VARIANCE
        or (numeric and _autocorrelation(audited, codes) > _MAX_AUTOCORRELATION)
    ):
        return None
    determines_target = explained_variance >= _MIN_EXPLAINED_VARIANCE
    target = (
        f"and the target is nearly constant within groups ({explained_variance:.0%} of its variance is "
        "between them)"
        if determines_target
        else "and the column name looks like an ID"
    )
    split = f"data.split: {{by: group, column: {name}}}"
    fix = f"set {split}" if can_split else "split so that no group is in two files or splits"
    if not is_key and name in audited.kinds:
        fix += f", or {exclusion_setting([name])}"
    return Finding(
        kind="group_leak",
        severity="error" if determines_target else "warning",
        affected=audited.affected_rows(leaked, [name]),
        expected=f"each of the {groups:,} groups of '{name}' in one split",
        found=f"{len(leaked):,} of {pluralize(len(held_out), 'validation or test row')} whose group is "
        f"also in training, {target}",
        effect="metrics reflect known groups, not new ones",
        fix=fix,
    )


def _group_codes(audited: AuditedTable, name: str) -> RowIndex | None:
    """Return the group number of each row; None if the values cannot be groups (dates, fractions)."""
    series = audited.frame[name]
    if is_date_type(series.dtype) or audited.kinds.get(name) in ("datetime", "boolean"):
        return None
    if audited.is_numeric(name):
        values = audited.numbers(name)
        values = values[~np.isnan(values)]
        if not np.all(values == np.round(values)):
            return None
    return audited.codes(name)


def _explained_variance(audited: AuditedTable, codes: RowIndex) -> float:
    """Return the adjusted R² of the group means of the target (one-way ANOVA), over the training rows.

    1 - (within / (n - groups)) / (total / (n - 1)); 0 if too few rows share a group.
    """
    rows = audited.train[codes[audited.train] >= 0]
    group = np.unique(codes[rows], return_inverse=True)[1]
    sizes = np.bincount(group)
    rows, group = rows[sizes[group] > 1], group[sizes[group] > 1]
    if not len(rows):
        return 0.0
    group = np.unique(group, return_inverse=True)[1]
    degrees_of_freedom = len(rows) - int(group.max()) - 1
    if degrees_of_freedom < _MIN_DEGREES_OF_FREEDOM:
        return 0.0
    y = audited.y[rows].astype(np.float64)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    within = ((y - _means(y, group)[group]) ** 2).sum(axis=0)
    if not (total > 0).any():
        return 0.0
    varies = total > 0
    ratios = (within / degrees_of_freedom)[varies] / (total / (len(rows) - 1))[varies]
    return float(1 - ratios.mean())


def _autocorrelation(audited: AuditedTable, codes: RowIndex) -> float:
    """Return the lag-1 autocorrelation of the mean target by value; the largest of several targets.

    It is high for numeric measurements and low for numeric group identifiers.
    """
    rows = audited.train[codes[audited.train] >= 0]
    group = np.unique(codes[rows], return_inverse=True)[1]
    means = _means(audited.y[rows].astype(np.float64), group)
    if len(means) < 3:
        return 0.0
    return max(correlation(column[:-1], column[1:]) for column in means.T)


def _means(y: Float64Array, group: RowIndex) -> Float64Array:
    sizes = np.bincount(group)
    columns = [np.bincount(group, weights=column) / sizes for column in y.T]
    return np.stack(columns, axis=1)

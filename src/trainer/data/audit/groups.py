"""Columns that say which rows belong together (a patient, a household), and splits that part them.

Owns: telling a group from other columns, by its name or by its target, and whether splits part it.
Does not own: splitting by group (`data.split.by: group`).
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, counted, exclude
from trainer.data.audit.statistics import correlation
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.data.values import is_date_type

_IDS = frozenset({"id", "ids", "uuid", "guid", "key"})
_MARKS = frozenset({*_IDS, "no", "nr", "num", "number", "name", "code", "hash"})
_THINGS = frozenset({
    "patient", "subject", "user", "customer", "client", "household", "family", "person", "member",
    "participant", "donor", "session", "device", "account", "individual", "animal", "respondent",
    "student", "employee", "speaker", "writer", "author",
})  # fmt: skip
_GROUPS = frozenset({"group", "groups", "cluster", "batch"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_HASHED = r"^(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{16,128})$"

_LEAST_GROUPS, _LEAST_UNNAMED_GROUPS = 10, 20
_LEAST_PAIRED_ROWS = 20
_CONSTANT = 0.95
_SMOOTH = 0.5


def is_key_name(name: str) -> bool:
    """Whether a column is called like the key of a row or a group: `patient`, `user_id`, `orderId`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if len(words) == 1 and words[0] in _GROUPS:
        return True
    if words[-1] in _IDS or words[-1] in _THINGS:
        return True
    if len(words) > 1 and words[-1] in _MARKS and words[-2] in _THINGS:
        return True
    return any(words[-1] == thing + mark for thing in _THINGS for mark in ("id", "no", "nr"))


def looks_like_hashes(series: pl.Series) -> bool:
    """Whether almost all cells are UUIDs or long hexadecimal words."""
    if series.dtype != pl.String:
        return False
    known = series.drop_nulls().head(1000)
    return len(known) > 0 and float(known.str.contains(_HASHED).mean() or 0) >= 0.95  # type: ignore[arg-type]


def find_group_leaks(audited: AuditedTable) -> list[Finding]:
    """Groups with rows in more than one split, the ones that give the target away first."""
    by = audited.data.split.by
    named_files = audited.table.named_split is not None
    if not named_files and (
        by in ("group", "time") or (by == "hash" and audited.data.split.column is not None)
    ):
        return []
    found = []
    for name in (*audited.kinds, *audited.others):
        finding = _group_leak(audited, name, can_split=not named_files and by != "column")
        if finding is not None:
            found.append(finding)
    return sorted(found, key=lambda one: one.severity != "fault")


def _group_leak(audited: AuditedTable, name: str, *, can_split: bool) -> Finding | None:
    codes = _group_codes(audited, name)
    if codes is None:
        return None
    known = codes >= 0
    groups = len(np.unique(codes[known]))
    called = is_key_name(name) or looks_like_hashes(audited.frame[name])
    least = _LEAST_GROUPS if called else _LEAST_UNNAMED_GROUPS
    if not called and name in audited.others:
        # A name of something that is no feature says nothing of the others.
        return None
    if groups < least or 2 * groups > int(known.sum()):
        return None
    train = codes[known & (audited.split == TRAIN)]
    held = np.flatnonzero(known & ((audited.split == VALIDATION) | (audited.split == TEST)))
    parted = held[np.isin(codes[held], train)]
    if not len(parted):
        return None
    constant = _constancy(audited, codes)
    numeric = audited.is_numeric(name)
    if not called and (constant < _CONSTANT or (numeric and _smoothness(audited, codes) > _SMOOTH)):
        return None
    fixed = constant >= _CONSTANT
    places = audited.places(parted)
    target = (
        f"and their target is nearly constant within them ({constant:.0%} of what varies)"
        if fixed
        else "and the column is called like a key"
    )
    split = f"data.split: {{by: group, column: {name}}}"
    fix = f"set {split}" if can_split else "split so that no group is in two files or parts"
    if not called and name in audited.kinds:
        fix += f", or {exclude([name])}"
    return Finding(
        kind="group_leak",
        severity="fault" if fixed else "warning",
        where=places[0],
        columns=(name,),
        rows=places,
        count=len(parted),
        expected=f"each of the {groups:,} groups of '{name}' in one split",
        found=f"{len(parted):,} of {counted(len(held), 'validation or test row')} whose group is in "
        f"training too, {target}",
        meaning="figures say how well known groups are known again, not new ones",
        fix=fix,
    )


def _group_codes(audited: AuditedTable, name: str) -> RowIndex | None:
    """The groups of a column as numbers; None where its cells name no groups: dates, fractions."""
    series = audited.frame[name]
    if is_date_type(series.dtype) or audited.kinds.get(name) in ("datetime", "boolean"):
        return None
    if audited.is_numeric(name):
        values = audited.numbers(name)
        known = values[~np.isnan(values)]
        if not np.all(known == np.round(known)):
            return None
    return audited.codes(name)


def _constancy(audited: AuditedTable, codes: RowIndex) -> float:
    """How much of the target's variance lies between groups of training rows, without what chance gives:
    1 - (within / (n - groups)) / (total / (n - 1)); 0 where too few rows share a group.
    """
    rows = audited.train[codes[audited.train] >= 0]
    group = np.unique(codes[rows], return_inverse=True)[1]
    sizes = np.bincount(group)
    rows, group = rows[sizes[group] > 1], group[sizes[group] > 1]
    if not len(rows):
        return 0.0
    group = np.unique(group, return_inverse=True)[1]
    freedom = len(rows) - int(group.max()) - 1
    if freedom < _LEAST_PAIRED_ROWS:
        return 0.0
    y = audited.y[rows].astype(np.float64)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    within = ((y - _means(y, group)[group]) ** 2).sum(axis=0)
    if not (total > 0).any():
        return 0.0
    shares = (within / freedom)[total > 0] / (total / (len(rows) - 1))[total > 0]
    return float(1 - shares.mean())


def _smoothness(audited: AuditedTable, codes: RowIndex) -> float:
    """How much the targets of neighbouring values are alike: their correlation, the largest of all
    columns of the target. Numbers that measure something have it, numbers that name groups do not.
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

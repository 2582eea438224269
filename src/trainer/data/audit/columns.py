"""Whole columns that teach nothing or name the row: empty, constant, identifiers, copies of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, Kind, Severity, exclude, listed, names
from trainer.data.audit.groups import is_key_name, looks_like_hashes
from trainer.data.audit.statistics import correlation
from trainer.data.hashing import mix64
from trainer.data.table_inspection import IDENTIFIER_ROWS

_NEARLY_CONSTANT = 0.999
_LEAST_ROWS = 100
_UNIQUE, _HASHED_UNIQUE = 0.99, 0.5
_DENSE = 2
_CORRELATED = 0.9999
_LEAST_VARYING = 10
_CORRELATED_ROWS, _CORRELATED_COLUMNS = 20_000, 1_000


def find_empty(audited: AuditedTable) -> list[Finding]:
    """Features without a value in the training rows."""
    if not audited.empty:
        return []
    return [
        _columns_finding(
            audited, "empty_column", "warning", audited.empty,
            "features with values in the training rows", f"none in {names(audited.empty)}",
            "fit leaves them out", f"give them values, or set {exclude(audited.empty)}",
        )
    ]  # fmt: skip


def find_constant(audited: AuditedTable) -> list[Finding]:
    """Features with one value in all training rows, or in all but one in a thousand."""
    constant: list[str] = []
    numbers: list[str] = []
    words: list[str] = []
    train = audited.train
    for name in audited.kinds:
        if audited.kinds[name] == "datetime":
            continue
        counts = np.bincount(audited.codes(name)[train] + 1)
        others = len(train) - int(counts.max())
        if others == 0 and (audited.kinds[name] == "numeric" or _is_constant(audited, name)):
            constant.append(name)
        elif len(train) >= _LEAST_ROWS and others <= max(1, (1 - _NEARLY_CONSTANT) * len(train)):
            (numbers if audited.kinds[name] == "numeric" else words).append(name)
    found = []
    if constant:
        found.append(
            _columns_finding(
                audited, "constant_column", "warning", constant,
                "features that vary in the training rows", f"one value in {names(constant)}",
                "fit leaves them out", f"set {exclude(constant)}",
            )
        )  # fmt: skip
    expected = "features that vary in more than one of a thousand training rows"
    if numbers:
        found.append(
            _columns_finding(
                audited, "nearly_constant_column", "warning", numbers, expected,
                f"almost always one value in {names(numbers)}",
                "scaled, the few other values are very large", f"set {exclude(numbers)}",
            )
        )  # fmt: skip
    if words:
        found.append(
            _columns_finding(
                audited, "nearly_constant_column", "note", words, expected,
                f"almost always one level in {names(words)}",
                "the other levels have too few rows to be learnt", f"see {exclude(words)}",
            )
        )  # fmt: skip
    return found


def _is_constant(audited: AuditedTable, name: str) -> bool:
    """Whether rows of other splits have no other level either: a rare one may train or not by chance."""
    codes = audited.codes(name)
    return bool((codes == codes[0]).all())


def find_identifiers(audited: AuditedTable, groups: Sequence[str]) -> list[Finding]:
    """Features that name the row.

    Args:
        audited: The table.
        groups: Features that are known to name groups, which are told as such.
    """
    found: list[str] = []
    reasons: list[str] = []
    for name in audited.kinds:
        reason = "" if name in groups else _identifies(audited, name)
        if reason:
            found.append(name)
            reasons.append(f"'{name}' ({reason})")
    if not found:
        return []
    return [
        _columns_finding(
            audited, "row_identifier", "warning", found,
            "features that say something of rows not seen yet", listed(reasons),
            "the names of rows teach nothing, and a network can learn rows by them",
            f"set {exclude(found)}",
        )
    ]  # fmt: skip


def _identifies(audited: AuditedTable, name: str) -> str:
    """Why a feature names the row; empty if it does not."""
    levels = audited.levels(name)
    known = int(levels.sum())
    if known < IDENTIFIER_ROWS:
        return ""
    unique = np.count_nonzero(levels) / known
    match audited.kinds[name]:
        case "categorical":
            if unique >= _UNIQUE:
                return "another word in every row"
            if unique >= _HASHED_UNIQUE and looks_like_hashes(audited.frame[name]):
                return "UUIDs or hashes"
        case "numeric" if unique >= _UNIQUE:
            return _numbers_rows(audited, name)
        case _:
            pass
    return ""


def _numbers_rows(audited: AuditedTable, name: str) -> str:
    values = audited.numbers(name)
    known = np.isfinite(values)
    values, rows = values[known], audited.rows[known]
    whole = bool(np.all(values == np.round(values)))
    slopes = np.diff(values) / np.diff(rows)
    typical = float(np.median(slopes))
    steady = np.abs(slopes - typical) <= 1e-6 * abs(typical)
    if typical != 0 and float(steady.mean()) >= _UNIQUE:
        return "counts the rows"
    if not whole:
        return ""
    if float((slopes > 0).mean()) >= _UNIQUE or float((slopes < 0).mean()) >= _UNIQUE:
        return "goes up or down with the rows"
    total = sum(file.rows for file in audited.table.files)
    if float(values.max() - values.min()) < _DENSE * total:
        return "whole numbers that all differ, about as many as rows"
    return "whole numbers that all differ, called like a key" if is_key_name(name) else ""


def find_redundant(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Features that are another one in other words or another unit.

    Args:
        audited: The table.
        ignored: Features that other findings are about.
    """
    pairs = [*_correlated(audited, ignored), *_renamed(audited, ignored)]
    if not pairs:
        return []
    # The first column of the table is kept, each other one told once.
    told = dict.fromkeys(other for _, other, _ in pairs)
    words = [f"'{other}' {how} '{one}'" for one, other, how in pairs]
    return [
        _columns_finding(
            audited, "redundant_column", "warning", list(told),
            "features that each say something of their own", listed(words),
            "what is said twice counts twice in penalties and in explanations",
            f"set {exclude(list(told))}",
        )
    ]  # fmt: skip


def _correlated(audited: AuditedTable, ignored: Sequence[str]) -> list[tuple[str, str, str]]:
    rows = audited.train[:: -(-len(audited.train) // _CORRELATED_ROWS) or 1]
    usable = [
        name for name in audited.numeric if name not in ignored and _varies(audited, name, rows)
    ][:_CORRELATED_COLUMNS]
    if len(usable) < 2:
        return []
    places = [audited.numeric.index(name) for name in usable]
    values = audited.matrix[rows][:, places]
    values[~np.isfinite(values)] = np.nan
    values /= np.nanmax(np.abs(values), axis=0)  # squares of large numbers would overflow
    values -= np.nanmean(values, axis=0)
    values[np.isnan(values)] = 0
    sizes = np.sqrt((values**2).sum(axis=0))
    values /= np.where(sizes > 0, sizes, 1)
    r = values.T @ values
    found = []
    for one, other in np.argwhere(np.triu(np.abs(r) > _CORRELATED, 1)):
        exactly = correlation(values[:, one], values[:, other])
        if abs(exactly) > _CORRELATED:
            found.append((usable[one], usable[other], f"goes with (r = {exactly:.5f})"))
    return found


def _varies(audited: AuditedTable, name: str, rows: RowIndex) -> bool:
    """Whether enough rows differ from the most frequent value for a correlation to mean something."""
    counts = np.bincount(audited.codes(name)[rows] + 1)
    return len(rows) - int(counts.max()) >= _LEAST_VARYING


def _renamed(audited: AuditedTable, ignored: Sequence[str]) -> list[tuple[str, str, str]]:
    """Levels that go together one to one, columns of two levels and numbers with words included."""
    rows = audited.train
    seen: dict[tuple[int, int], str] = {}
    found = []
    for name in audited.kinds:
        if name in ignored or audited.kinds[name] == "datetime" or not _varies(audited, name, rows):
            continue
        codes = audited.codes(name)[rows]
        pattern = (int(codes.max()), _pattern(codes))
        if pattern not in seen:
            seen[pattern] = name
        elif {name, seen[pattern]} & set(audited.discrete):
            found.append((seen[pattern], name, "has the levels of"))
    return found


def _pattern(codes: RowIndex) -> int:
    """A word for which rows share a level, whatever the levels are called; missing is one of its own."""
    _, start, level = np.unique(codes, return_index=True, return_inverse=True)
    first = start[level].astype(np.int64)
    first = np.where(codes < 0, -1, first)
    place = np.arange(len(first), dtype=np.uint64)
    return int(mix64(mix64(first.astype(np.uint64)) + place).sum(dtype=np.uint64))


def _columns_finding(
    audited: AuditedTable, kind: Kind, severity: Severity, columns: Sequence[str], expected: str,
    found: str, meaning: str, fix: str,
) -> Finding:  # fmt: skip
    return Finding(
        kind, severity, audited.table.name, tuple(columns), (), len(columns), expected, found,
        meaning, fix,
    )  # fmt: skip

"""Training rows and the others: are they of one kind, and which are later?

Owns: the population stability index, the linear separation, the order of time. Does not own: splitting
by time (`data.split.by: time`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, listed
from trainer.data.audit.split_classifier import split_auc
from trainer.data.audit.statistics import auc, chi_square_critical_value, rank_correlation
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION, SplitName
from trainer.data.text_formats import explicit_date_format
from trainer.data.values import is_date_type, looks_like_date, to_microseconds

STABILITY_LIMIT = 0.25
SEPARATION_LIMIT = 0.6
_BINS = 10
_CHANCE = 1e-3
_LEAST_ROWS = 20
_LATER = 0.75
_TIME_CORRELATION, _TIME_ERRORS = 0.2, 5.0


def find_drift(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Splits whose features differ from those of the training rows more than chance lets them.

    A column differs by its population stability index, over 10 bins of the training rows' quantiles (or
    levels), above 0.25 and above what chance gives (1 in 1,000 for all columns together: without drift
    it is about chi-square over the harmonic rows). All columns together do if a linear separation of
    held-out rows has an AUC above 0.6 whose 99.9% interval excludes 0.5.

    Args:
        audited: The table.
        ignored: Columns that name rows or groups, or have levels that training does not know.
    """
    found = []
    compared = [name for name in audited.kinds if name not in ignored]
    compared = [name for name in compared if audited.kinds[name] != "datetime"]
    for split in (TEST, VALIDATION):
        other: RowIndex = np.flatnonzero(audited.split == split)
        if len(other) < _LEAST_ROWS or len(audited.train) < _LEAST_ROWS or not compared:
            continue
        finding = _split_drift(audited, compared, other, SPLIT_NAMES[split])
        if finding is not None:
            found.append(finding)
    return found


def _split_drift(
    audited: AuditedTable, compared: Sequence[str], other: RowIndex, split: SplitName
) -> Finding | None:
    drifted: list[tuple[float, str]] = []
    chance = _CHANCE / len(compared)
    unit = 1 / len(audited.train) + 1 / len(other)
    for name in compared:
        index, bins = _stability(audited, name, other)
        limit = chi_square_critical_value(chance, bins - 1) * unit if bins > 1 else np.inf
        if index > max(STABILITY_LIMIT, limit):
            drifted.append((index, name))
    drifted.sort(reverse=True)
    area, error = split_auc(audited, compared, other)
    apart = area > SEPARATION_LIMIT and area - 3.29 * error > 0.5
    if not drifted and not apart:
        return None
    words = [f"'{name}' has a stability index of {index:.2f}" for index, name in drifted]
    together = f"a line through all features tells them apart with AUC {area:.2f}"
    found = listed(words) + (f"; {together}" if words and apart else "")
    columns = tuple(name for _, name in drifted)
    return Finding(
        kind="drift",
        severity="warning",
        where=audited.table.name,
        columns=columns,
        rows=(),
        count=len(columns),
        expected=f"{split} rows of the same kind as the training rows",
        found=found or together,
        meaning="what holds for the training rows may not hold there",
        fix="see how the rows were split; where new rows will be like these, gather training rows "
        "like them",
    )


def _stability(audited: AuditedTable, name: str, other: RowIndex) -> tuple[float, int]:
    """The population stability index of a column, Σ (q - p) · ln(q / p), and its bins; missing values
    are a bin of their own.
    """
    train, values = audited.train, audited.codes(name)
    levels = audited.levels(name)
    if audited.kinds[name] == "numeric" and np.count_nonzero(levels) > _BINS:
        # Codes keep the order of the numbers: their quantiles are those of the numbers.
        inner = np.arange(1, _BINS) / _BINS
        sums = np.cumsum(levels)
        edges = np.unique(np.searchsorted(sums, inner * sums[-1]))
        bins = np.where(values < 0, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    else:
        counts = np.bincount(values[train] + 1)
        largest = np.argsort(-counts, kind="stable")[: _BINS - 1]
        places = np.full(int(values.max()) + 2, len(largest))
        places[largest] = np.arange(len(largest))
        bins = places[values + 1]
    size = int(bins.max()) + 1
    before, after = (
        np.bincount(bins[train], minlength=size),
        np.bincount(bins[other], minlength=size),
    )
    used = before + after > 0
    p, q = _shares(before[used]), _shares(after[used])
    return float(((q - p) * np.log(q / p)).sum()), int(used.sum())


def _shares(counts: RowIndex) -> Float64Array:
    """Shares of bins, half a row more in each, so that none is 0."""
    shares: Float64Array = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def find_time_order(audited: AuditedTable) -> list[Finding]:
    """Dates of a table that is not split by time: training rows later than the others, or a target that
    goes with time.
    """
    if audited.data.split.by == "time" and audited.table.named_split is None:
        return []
    found = []
    for name in (*audited.kinds, *audited.others):
        stamps = _stamps(audited, name)
        if stamps is None:
            continue
        finding = _later(audited, name, stamps) or _with_time(audited, name, stamps)
        if finding is not None:
            found.append(finding)
    return found[:1]


def _stamps(audited: AuditedTable, name: str) -> Float64Array | None:
    """The times of a column of dates, NaN where there is none; None for another column."""
    series = audited.frame[name]
    if name in audited.kinds:
        if audited.kinds[name] != "datetime":
            return None
    elif not is_date_type(series.dtype) and not all(
        looks_like_date(str(word)) for word in series.drop_nulls().head(3).to_list()
    ):
        return None
    written = audited.readings[name].date if name in audited.kinds else None
    if name not in audited.kinds:
        written = explicit_date_format(audited.data, name)
    times = to_microseconds(series, written)
    if times.null_count() > len(times) // 2:
        return None
    return np.asarray(times.cast(float).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _later(audited: AuditedTable, name: str, stamps: Float64Array) -> Finding | None:
    known = ~np.isnan(stamps)
    for split in (TEST, VALIDATION):
        both = known & ((audited.split == TRAIN) | (audited.split == split))
        area = auc(stamps[both], audited.split[both] == TRAIN)
        if not area >= _LATER:
            continue
        earliest = np.median(stamps[known & (audited.split == split)])
        late = np.flatnonzero(known & (audited.split == TRAIN) & (stamps > earliest))
        places = audited.places(late)
        return Finding(
            "time_order", "warning", places[0], (name,), places, len(late),
            f"training rows that are earlier than {SPLIT_NAMES[split]} rows, by '{name}'",
            f"{area:.0%} of the pairs of a training and a {SPLIT_NAMES[split]} row the other way round",
            "the network learns from what comes after the rows it is judged by",
            f"set data.split: {{by: time, column: {name}}}",
        )  # fmt: skip
    return None


def _with_time(audited: AuditedTable, name: str, stamps: Float64Array) -> Finding | None:
    rows = audited.train[~np.isnan(stamps[audited.train])]
    if len(rows) < _LEAST_ROWS or not _mixed_in_time(audited, stamps):
        return None
    y = audited.y[rows].astype(np.float64)
    strength = max((abs(rank_correlation(stamps[rows], column)) for column in y.T), default=0.0)
    if strength < max(_TIME_CORRELATION, _TIME_ERRORS / np.sqrt(len(rows))):
        return None
    return Finding(
        "time_ignored", "warning", audited.table.name, (name,), (), 1,
        "a split by time where the target changes with time",
        f"a target that goes with '{name}' (rank correlation {strength:.2f}), and splits that do not "
        "look at it",
        "training rows from the time of the test rows make the figures too good for the time to come",
        f"set data.split: {{by: time, column: {name}}}",
    )  # fmt: skip


def _mixed_in_time(audited: AuditedTable, stamps: Float64Array) -> BoolArray | bool:
    """Whether training and other rows are from the same time: files may be split by time already."""
    known = ~np.isnan(stamps)
    held = known & (audited.split != TRAIN)
    training = known & (audited.split == TRAIN)
    if not held.any():
        return False
    return bool(np.median(stamps[held]) < np.quantile(stamps[training], 0.9))

"""Check for drift between training rows and other splits, and for splits that ignore time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, join_first
from trainer.audit.split_classifier import split_auc
from trainer.audit.stability import BINS, MIN_ROWS, stability_index, stability_limit
from trainer.audit.statistics import rank_correlation
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.spellings import looks_like_date
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION, SplitName
from trainer.data.text_formats import explicit_date_format
from trainer.data.values import is_date_type, to_microseconds
from trainer.metrics.ranking import roc_auc

SEPARATION_LIMIT = 0.6

_LATER = 0.75
_TIME_CORRELATION, _TIME_ERRORS = 0.2, 5.0


def find_drift(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find splits whose features differ from those of the training rows more than by chance.

    A column has drifted if its population stability index over 10 quantile bins of the training rows
    (or over levels) exceeds 0.25 and the critical value at p = 0.001 over all columns; without drift it
    is approximately chi-square divided by the harmonic number of rows. All columns together have
    drifted if a linear classifier separates held-out training rows from them with an AUC above 0.6
    whose 99.9% interval excludes 0.5.

    Args:
        audited: The audited table.
        ignored: Columns that identify rows or groups, or have unseen categories.
    """
    findings = []
    compared = [name for name in audited.kinds if name not in ignored]
    compared = [name for name in compared if audited.kinds[name] != "datetime"]
    for split in (TEST, VALIDATION):
        other: RowIndex = np.flatnonzero(audited.split == split)
        if len(other) < MIN_ROWS or len(audited.train) < MIN_ROWS or not compared:
            continue
        finding = _split_drift(audited, compared, other, SPLIT_NAMES[split])
        if finding is not None:
            findings.append(finding)
    return findings


def _split_drift(
    audited: AuditedTable, compared: Sequence[str], other: RowIndex, split: SplitName
) -> Finding | None:
    drifted: list[tuple[float, str]] = []
    for name in compared:
        index, bins = _stability_index(audited, name, other)
        if index > stability_limit(bins, len(compared), len(audited.train), len(other)):
            drifted.append((index, name))
    drifted.sort(reverse=True)
    area, error = split_auc(audited, compared, other)
    is_separable = area > SEPARATION_LIMIT and area - 3.29 * error > 0.5
    if not drifted and not is_separable:
        return None
    descriptions = [f"'{name}' has a stability index of {index:.2f}" for index, name in drifted]
    separable = f"a linear classifier on all features separates them with AUC {area:.2f}"
    found = join_first(descriptions) + (f"; {separable}" if descriptions and is_separable else "")
    columns = tuple(name for _, name in drifted)
    return Finding(
        kind="drift",
        severity="warning",
        affected=audited.affected_columns(columns),
        expected=f"{split} rows from the same distribution as the training rows",
        found=found or separable,
        effect="the network may not generalize to these rows",
        fix="check how the rows were split; if new data will resemble these rows, collect training rows "
        "like them",
    )


def _stability_index(audited: AuditedTable, name: str, other: RowIndex) -> tuple[float, int]:
    """Return the population stability index of a column, Σ (q - p) · ln(q / p), and its number of bins.

    Missing values are a separate bin.
    """
    train, values = audited.train, audited.codes(name)
    levels = audited.levels(name)
    if audited.kinds[name] == "numeric" and np.count_nonzero(levels) > BINS:
        # Codes keep the order of the numbers, so quantiles of codes are quantiles of the numbers.
        quantiles = np.arange(1, BINS) / BINS
        cumulative = np.cumsum(levels)
        edges = np.unique(np.searchsorted(cumulative, quantiles * cumulative[-1]))
        bins = np.where(values < 0, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    else:
        counts = np.bincount(values[train] + 1)
        largest = np.argsort(-counts, kind="stable")[: BINS - 1]
        bin_of = np.full(int(values.max()) + 2, len(largest))
        bin_of[largest] = np.arange(len(largest))
        bins = bin_of[values + 1]
    size = int(bins.max()) + 1
    train_counts, other_counts = (
        np.bincount(bins[train], minlength=size),
        np.bincount(bins[other], minlength=size),
    )
    return stability_index(train_counts, other_counts)


def find_time_order(audited: AuditedTable) -> list[Finding]:
    """Find training rows that are later than the others, and targets that change over time.

    Only tables with a date column that are not split by time are checked.
    """
    if audited.data.split.by == "time" and audited.table.source_splits is None:
        return []
    findings = []
    for name in (*audited.kinds, *audited.other_columns):
        times = _times(audited, name)
        if times is None:
            continue
        finding = _find_late_training(audited, name, times) or _find_trend(audited, name, times)
        if finding is not None:
            findings.append(finding)
    return findings[:1]


def _times(audited: AuditedTable, name: str) -> Float64Array | None:
    """Return the times of a date column, NaN where missing; None for other columns."""
    series = audited.frame[name]
    if name in audited.kinds:
        if audited.kinds[name] != "datetime":
            return None
    elif not is_date_type(series.dtype) and not all(
        looks_like_date(str(value)) for value in series.drop_nulls().head(3).to_list()
    ):
        return None
    date_format = audited.parse_specs[name].date_format if name in audited.kinds else None
    if name not in audited.kinds:
        date_format = explicit_date_format(audited.data, name)
    times = to_microseconds(series, date_format)
    if times.null_count() > len(times) // 2:
        return None
    return np.asarray(times.cast(float).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _find_late_training(audited: AuditedTable, name: str, times: Float64Array) -> Finding | None:
    is_known = ~np.isnan(times)
    for split in (TEST, VALIDATION):
        both = is_known & ((audited.split == TRAIN) | (audited.split == split))
        area = roc_auc(audited.split[both] == TRAIN, times[both])
        if not area >= _LATER:
            continue
        median = np.median(times[is_known & (audited.split == split)])
        late = np.flatnonzero(is_known & (audited.split == TRAIN) & (times > median))
        return Finding(
            "time_order", "warning", audited.affected_rows(late, [name]),
            f"training rows that are earlier than {SPLIT_NAMES[split]} rows, by '{name}'",
            f"{area:.0%} of the pairs of a training and a {SPLIT_NAMES[split]} row in the reverse order",
            "the network is trained on data that is later than the rows it is evaluated on",
            f"set data.split: {{by: time, column: {name}}}",
        )  # fmt: skip
    return None


def _find_trend(audited: AuditedTable, name: str, times: Float64Array) -> Finding | None:
    rows = audited.train[~np.isnan(times[audited.train])]
    if len(rows) < MIN_ROWS or not _overlap_in_time(audited, times):
        return None
    y = audited.y[rows].astype(np.float64)
    strength = max((abs(rank_correlation(times[rows], column)) for column in y.T), default=0.0)
    if strength < max(_TIME_CORRELATION, _TIME_ERRORS / np.sqrt(len(rows))):
        return None
    return Finding(
        "time_ignored", "warning", audited.affected_columns([name]),
        "a split by time, as the target changes over time",
        f"a target that is correlated with '{name}' (rank correlation {strength:.2f}), and splits that "
        "ignore it",
        "training rows from the same period as the test rows make the metrics too optimistic for the "
        "future",
        f"set data.split: {{by: time, column: {name}}}",
    )  # fmt: skip


def _overlap_in_time(audited: AuditedTable, times: Float64Array) -> BoolArray | bool:
    """Return whether training and other rows overlap in time; files may already be split by time."""
    is_known = ~np.isnan(times)
    held_out = is_known & (audited.split != TRAIN)
    training = is_known & (audited.split == TRAIN)
    if not held_out.any():
        return False
    return bool(np.median(times[held_out]) < np.quantile(times[training], 0.9))

"""Training rows and the others: are they of one kind, and which are later?

Owns: the population stability index, the linear separation, the order of time. Does not own: splitting
by time (`data.split.by: time`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import Bools, Floats, Rows
from trainer.data.audit.findings import Finding, listed
from trainer.data.audit.separation import separation
from trainer.data.audit.statistics import auc, chi_square_limit, rank_correlation
from trainer.data.audit.subject import Subject
from trainer.data.readings import stated_format
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION, SplitName
from trainer.data.values import is_dated, looks_dated, microseconds

STABILITY_LIMIT = 0.25
SEPARATION_LIMIT = 0.6
_BINS = 10
_CHANCE = 1e-3
_LEAST_ROWS = 20
_LATER = 0.75
_TIME_CORRELATION, _TIME_ERRORS = 0.2, 5.0


def find_drift(subject: Subject, ignored: Sequence[str]) -> list[Finding]:
    """Splits whose features differ from those of the training rows more than chance lets them.

    A column differs by its population stability index, over 10 bins of the training rows' quantiles (or
    levels), above 0.25 and above what chance gives (1 in 1,000 for all columns together: without drift
    it is about chi-square over the harmonic rows). All columns together do if a linear separation of
    held-out rows has an AUC above 0.6 whose 99.9% interval excludes 0.5.

    Args:
        subject: The table.
        ignored: Columns that name rows or groups, or have levels that training does not know.
    """
    found = []
    compared = [name for name in subject.kinds if name not in ignored]
    compared = [name for name in compared if subject.kinds[name] != "datetime"]
    for split in (TEST, VALIDATION):
        other: Rows = np.flatnonzero(subject.split == split)
        if len(other) < _LEAST_ROWS or len(subject.train) < _LEAST_ROWS or not compared:
            continue
        finding = _split_drift(subject, compared, other, SPLIT_NAMES[split])
        if finding is not None:
            found.append(finding)
    return found


def _split_drift(
    subject: Subject, compared: Sequence[str], other: Rows, split: SplitName
) -> Finding | None:
    drifted: list[tuple[float, str]] = []
    chance = _CHANCE / len(compared)
    unit = 1 / len(subject.train) + 1 / len(other)
    for name in compared:
        index, bins = _stability(subject, name, other)
        limit = chi_square_limit(chance, bins - 1) * unit if bins > 1 else np.inf
        if index > max(STABILITY_LIMIT, limit):
            drifted.append((index, name))
    drifted.sort(reverse=True)
    area, error = separation(subject, compared, other)
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
        where=subject.table.name,
        columns=columns,
        rows=(),
        count=len(columns),
        expected=f"{split} rows of the same kind as the training rows",
        found=found or together,
        meaning="what holds for the training rows may not hold there",
        fix="see how the rows were split; where new rows will be like these, gather training rows "
        "like them",
    )


def _stability(subject: Subject, name: str, other: Rows) -> tuple[float, int]:
    """The population stability index of a column, Σ (q - p) · ln(q / p), and its bins; missing values
    are a bin of their own.
    """
    train, values = subject.train, subject.codes(name)
    levels = subject.levels(name)
    if subject.kinds[name] == "numeric" and np.count_nonzero(levels) > _BINS:
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


def _shares(counts: Rows) -> Floats:
    """Shares of bins, half a row more in each, so that none is 0."""
    shares: Floats = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def find_time(subject: Subject) -> list[Finding]:
    """Dates of a table that is not split by time: training rows later than the others, or a target that
    goes with time.
    """
    if subject.data.split.by == "time" and subject.table.named_split is None:
        return []
    found = []
    for name in (*subject.kinds, *subject.others):
        stamps = _stamps(subject, name)
        if stamps is None:
            continue
        finding = _later(subject, name, stamps) or _with_time(subject, name, stamps)
        if finding is not None:
            found.append(finding)
    return found[:1]


def _stamps(subject: Subject, name: str) -> Floats | None:
    """The times of a column of dates, NaN where there is none; None for another column."""
    series = subject.frame[name]
    if name in subject.kinds:
        if subject.kinds[name] != "datetime":
            return None
    elif not is_dated(series.dtype) and not all(
        looks_dated(str(word)) for word in series.drop_nulls().head(3).to_list()
    ):
        return None
    written = subject.readings[name].date if name in subject.kinds else None
    if name not in subject.kinds:
        written = stated_format(subject.data, name)
    times = microseconds(series, written)
    if times.null_count() > len(times) // 2:
        return None
    return np.asarray(times.cast(float).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _later(subject: Subject, name: str, stamps: Floats) -> Finding | None:
    known = ~np.isnan(stamps)
    for split in (TEST, VALIDATION):
        both = known & ((subject.split == TRAIN) | (subject.split == split))
        area = auc(stamps[both], subject.split[both] == TRAIN)
        if not area >= _LATER:
            continue
        earliest = np.median(stamps[known & (subject.split == split)])
        late = np.flatnonzero(known & (subject.split == TRAIN) & (stamps > earliest))
        places = subject.places(late)
        return Finding(
            "time_order", "warning", places[0], (name,), places, len(late),
            f"training rows that are earlier than {SPLIT_NAMES[split]} rows, by '{name}'",
            f"{area:.0%} of the pairs of a training and a {SPLIT_NAMES[split]} row the other way round",
            "the network learns from what comes after the rows it is judged by",
            f"set data.split: {{by: time, column: {name}}}",
        )  # fmt: skip
    return None


def _with_time(subject: Subject, name: str, stamps: Floats) -> Finding | None:
    rows = subject.train[~np.isnan(stamps[subject.train])]
    if len(rows) < _LEAST_ROWS or not _mixed_in_time(subject, stamps):
        return None
    y = subject.y[rows].astype(np.float64)
    strength = max((abs(rank_correlation(stamps[rows], column)) for column in y.T), default=0.0)
    if strength < max(_TIME_CORRELATION, _TIME_ERRORS / np.sqrt(len(rows))):
        return None
    return Finding(
        "time_ignored", "warning", subject.table.name, (name,), (), 1,
        "a split by time where the target changes with time",
        f"a target that goes with '{name}' (rank correlation {strength:.2f}), and splits that do not "
        "look at it",
        "training rows from the time of the test rows make the figures too good for the time to come",
        f"set data.split: {{by: time, column: {name}}}",
    )  # fmt: skip


def _mixed_in_time(subject: Subject, stamps: Floats) -> Bools | bool:
    """Whether training and other rows are from the same time: files may be split by time already."""
    known = ~np.isnan(stamps)
    held = known & (subject.split != TRAIN)
    training = known & (subject.split == TRAIN)
    if not held.any():
        return False
    return bool(np.median(stamps[held]) < np.quantile(stamps[training], 0.9))

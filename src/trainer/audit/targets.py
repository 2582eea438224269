"""Checks of the target: rare or imbalanced classes, outliers, missing values that depend on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, exclusion_setting, join_first
from trainer.audit.statistics import chi_square_critical_value
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.column_settings import numeric_settings
from trainer.errors import pluralize

_MIN_CLASS_ROWS = 5
_IMBALANCE = 100
_MAX_DEVIATIONS = 10
_QUANTILE, _BEYOND = 0.975, 3
_MISSING_P_VALUE, _MISSING_DIFFERENCE, _MISSING_ROWS = 1e-6, 0.1, 20


def find_rare_classes(audited: AuditedTable) -> list[Finding]:
    """Find classes with too few training rows to learn from, or without rows in another split."""
    train = audited.classes["train"]
    rare = [name for name, count in train.items() if count < _MIN_CLASS_ROWS]
    descriptions = [f"{pluralize(train[name], 'training row')} of '{name}'" for name in rare]
    for split, counts in audited.classes.items():
        absent = [name for name, count in counts.items() if not count and split != "train"]
        descriptions += [f"no {split} row of '{name}'" for name in absent]
        rare += [name for name in absent if name not in rare]
    # A truth table such as XOR has only four rows.
    if not rare or len(audited.rows) < _MIN_CLASS_ROWS * max(2, len(train)):
        return []
    by = audited.data.split.by
    stratify = ", or set data.split.by: stratified" if by in ("random", "hash") else ""
    return [
        Finding(
            "rare_class", "warning", audited.affected_columns(audited.targets, len(rare)),
            f"at least {_MIN_CLASS_ROWS} training rows of each class, and one in each other split",
            join_first(descriptions), "such a class cannot be learned or evaluated",
            "merge it with another, or collect more rows" + stratify,
        )
    ]  # fmt: skip


def find_imbalance(audited: AuditedTable, *, weighted: bool) -> list[Finding]:
    """Check whether the most frequent class has more than a hundred times the rows of the rarest.

    Classes that are reported as too rare are ignored.

    Args:
        audited: The audited table.
        weighted: Whether the config already sets class weights.
    """
    counts = {
        name: count for name, count in audited.classes["train"].items() if count >= _MIN_CLASS_ROWS
    }
    if weighted or not counts or TASK_RULES[audited.target.task].has_several_labels:
        return []
    rarest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[largest] <= _IMBALANCE * counts[rarest]:
        return []
    return [
        Finding(
            "class_imbalance", "warning", audited.affected_columns(audited.targets, counts[rarest]),
            f"at most {_IMBALANCE} rows of the most frequent class per row of the rarest",
            f"{counts[largest]:,} training rows of '{largest}' and {counts[rarest]:,} of '{rarest}'",
            "a network that never predicts the rarest class is nearly always right",
            "set fit.class_weight: balanced, and evaluate by average_precision or balanced_accuracy",
        )
    ]  # fmt: skip


def find_outliers(audited: AuditedTable) -> list[Finding]:
    """Find outliers of a regression target in the training rows.

    An outlier is more than 10 median absolute deviations (scaled by 1.4826 to a standard deviation)
    from the median, and more than four times as far as the 2.5% or 97.5% quantile on the same side, so
    that a long tail is not reported.
    """
    if TASK_RULES[audited.target.task].has_classes:
        return []
    findings = []
    for index, name in enumerate(audited.targets):
        y = audited.target.inverse_transform(audited.y[audited.train])[:, index]
        outliers, median, scale = _outliers(y)
        if not len(outliers):
            continue
        findings.append(
            Finding(
                "target_outliers", "warning", audited.affected_rows(audited.train[outliers], [name]),
                f"values of '{name}' within {_MAX_DEVIATIONS} deviations of their median {median:.4g}",
                f"{pluralize(len(outliers), 'training row')} beyond, such as {y[outliers[0]]:.6g} "
                f"(one deviation is {scale:.4g})",
                "a few such rows dominate a squared error",
                "correct them, or set loss: huber or loss: mean_absolute_error",
            )
        )  # fmt: skip
    return findings


def _outliers(y: Float64Array) -> tuple[RowIndex, float, float]:
    """Return the indices of the outliers, the median and the robust scale."""
    median = float(np.median(y))
    scale = 1.4826 * float(np.median(np.abs(y - median)))
    if scale == 0:
        scale = float(y.std())
    low, high = np.quantile(y, [1 - _QUANTILE, _QUANTILE])
    is_outlier = np.abs(y - median) > _MAX_DEVIATIONS * scale
    is_outlier &= (y > high + _BEYOND * (high - median)) | (y < low - _BEYOND * (median - low))
    indices: RowIndex = np.flatnonzero(is_outlier)
    return indices, median, scale


def find_missing_by_class(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find features that are missing more often in one class than in another, in the training rows.

    Reported if a chi-square test is significant at 1e-6 divided by the number of features, and the
    missing rates differ by at least 10 percentage points.

    Args:
        audited: The audited table.
        ignored: Columns that are reported for target leakage.
    """
    if not TASK_RULES[audited.target.task].is_exclusive:
        return []
    y = audited.y[audited.train]
    labels = y[:, 0].astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1)
    sizes = np.bincount(labels, minlength=len(audited.target.classes)).astype(np.float64)
    enough = sizes >= _MISSING_ROWS
    if enough.sum() < 2:
        return []
    p_value = _MISSING_P_VALUE / max(1, len(audited.kinds))
    limit = chi_square_critical_value(p_value, int(enough.sum()) - 1)
    affected: list[tuple[float, str, str]] = []
    for name in audited.kinds:
        missing = audited.codes(name)[audited.train] < 0
        if name in ignored or not missing.any():
            continue
        if audited.kinds[name] == "numeric" and numeric_settings(audited.data, name).indicator:
            continue
        counts = np.bincount(labels[missing], minlength=len(sizes))[enough]
        rows = sizes[enough]
        overall = counts.sum() / rows.sum()
        if overall in (0.0, 1.0):
            continue
        variance = overall * (1 - overall) * rows
        chi_square = float(((counts - overall * rows) ** 2 / variance).sum())
        rates = counts / rows
        difference = float(rates.max() - rates.min())
        if chi_square > limit and difference >= _MISSING_DIFFERENCE:
            classes = np.array(audited.target.classes)[enough]
            most, least = classes[rates.argmax()], classes[rates.argmin()]
            text = f"'{name}' ({rates.max():.0%} of '{most}', {rates.min():.0%} of '{least}')"
            affected.append((difference, name, text))
    if not affected:
        return []
    affected.sort(reverse=True)
    columns = tuple(name for _, name, _ in affected)
    condition = (
        "if it is known before the target whether a value is missing, "
        "set data.numeric.indicator: true, else "
        if all(audited.kinds[name] == "numeric" for name in columns)
        else "if values are missing as a consequence of the target, "
    )
    return [
        Finding(
            "missing_by_class", "warning", audited.affected_columns(columns),
            "the same rate of missing values in every class",
            join_first([text for *_, text in affected]),
            "if values are missing as a consequence of the class, they leak the target",
            f"find out why; {condition}set {exclusion_setting(columns)}",
        )
    ]  # fmt: skip

"""Check for target leakage: single columns that are copies, codes or consequences of the target.

Each feature alone predicts the target, as the mean target of the rows with the same value or with the
nearest values. Predictions are made for each half of the training rows from the other
half. A column that predicts the target nearly perfectly was recorded after the target was known, or is
the target in another form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding, exclusion_setting, join_first
from trainer.audit.statistics import auc_standard_error, rank_correlation
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.hashing import mix64
from trainer.metrics.ranking import roc_auc
from trainer.task_names import TaskName

LIMIT = 0.99
_NEIGHBORS = 3
_MAX_ROWS = 50_000
_MIN_ROWS, _MIN_CLASS_ROWS = 30, 10
_MIN_KNOWN = 0.1
_SALT = 0x51


def find_target_leakage(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find features that predict the target nearly perfectly on their own.

    The score is the AUC for two classes, the accuracy of several classes rescaled so that always
    predicting the most frequent one scores 0, and R² or the rank correlation for numbers. The limit is
    0.99.

    Args:
        audited: The audited table.
        ignored: Columns that identify groups, which are reported separately.
    """
    rows = audited.train
    if len(rows) > _MAX_ROWS:
        rows = rows[np.sort(np.argsort(_random_keys(rows))[:_MAX_ROWS])]
    leaking: list[tuple[float, str, str]] = []
    for name in audited.kinds:
        if name not in ignored:
            score, metric = _score(audited, name, rows)
            if score >= LIMIT:
                leaking.append((score, name, metric))
    if not leaking:
        return []
    leaking.sort(reverse=True)
    columns = [name for _, name, _ in leaking]
    return [
        Finding(
            "target_leakage", "error", audited.affected_columns(columns),
            "features that were known before the target",
            join_first([f"'{name}', which alone predicts it with {metric} {score:.3f}"
                    for score, name, metric in leaking]),
            "such a column is usually the target in another form, or was recorded after it was known",
            f"if so, set {exclusion_setting(columns)}",
        )
    ]  # fmt: skip


def _random_keys(rows: RowIndex) -> RowIndex:
    keys: RowIndex = (mix64(rows.astype(np.uint64) + np.uint64(_SALT)) >> np.uint64(1)).astype(
        np.int64
    )
    return keys


def _score(audited: AuditedTable, name: str, rows: RowIndex) -> tuple[float, str]:
    """Return how well a feature alone predicts the best of the target columns, and the metric's name."""
    y = audited.y[rows].astype(np.float64)
    half: BoolArray = (_random_keys(audited.rows[rows]) & 1).astype(np.bool_)
    numeric = audited.kinds[name] == "numeric"
    values = (
        audited.numbers(name)[rows] if numeric else audited.codes(name)[rows].astype(np.float64)
    )
    is_known = np.isfinite(values) if numeric else values >= 0
    predictions = np.empty_like(y)
    for fit_mask in (half, ~half):
        if not fit_mask.any() or fit_mask.all():
            return 0.0, ""
        predictions[~fit_mask] = _predict(values, is_known, y, fit_mask, numeric=numeric)
    masks = [np.ones(len(rows), dtype=np.bool_)]
    if not is_known.all() and is_known.mean() >= _MIN_KNOWN:
        masks.append(is_known)
    best = (0.0, "")
    for mask in masks:
        if mask.sum() >= _MIN_ROWS:
            x = values[mask] if numeric and is_known[mask].all() else None
            best = max(best, _task_score(audited.target.task, y[mask], predictions[mask], x))
    return best


def _predict(
    values: Float64Array,
    is_known: BoolArray,
    y: Float64Array,
    fit_mask: BoolArray,
    *,
    numeric: bool,
) -> Float64Array:
    """Return (n, width) predictions for the rows outside `fit_mask`, fitted on the rows inside."""
    predict_mask = ~fit_mask
    prior = y[fit_mask].mean(axis=0)
    predictions = np.tile(prior, (int(predict_mask.sum()), 1))
    missing = fit_mask & ~is_known
    if missing.any():
        predictions[~is_known[predict_mask]] = y[missing].mean(axis=0)
    fitted = fit_mask & is_known
    order = np.argsort(values[fitted], kind="stable")
    x, targets = values[fitted][order], y[fitted][order]
    sums = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(targets, axis=0)])
    x_new = values[predict_mask & is_known]
    low = np.searchsorted(x, x_new, side="left")
    high = np.searchsorted(x, x_new, side="right")
    counts = (high - low)[:, None]
    means = np.where(counts > 0, (sums[high] - sums[low]) / np.maximum(counts, 1), prior)
    few = np.flatnonzero(high - low < _NEIGHBORS)
    if numeric and len(few) and len(x) >= 2 * _NEIGHBORS:
        means[few] = _nearest_means(x, targets, x_new[few], low[few])
    predictions[is_known[predict_mask]] = means
    return predictions


def _nearest_means(
    x: Float64Array, targets: Float64Array, x_new: Float64Array, position: RowIndex
) -> Float64Array:
    """Return the (n, width) mean targets of the nearest values; x_new has the given positions in x."""
    neighbors = position[:, None] + np.arange(-_NEIGHBORS, _NEIGHBORS)
    is_valid = (neighbors >= 0) & (neighbors < len(x))
    neighbors = np.clip(neighbors, 0, len(x) - 1)
    with np.errstate(invalid="ignore"):  # infinity - infinity
        distance = np.where(is_valid, np.abs(x[neighbors] - x_new[:, None]), np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :_NEIGHBORS]
    means: Float64Array = targets[np.take_along_axis(neighbors, nearest, axis=1)].mean(axis=1)
    return means


def _task_score(
    task: TaskName, y: Float64Array, predictions: Float64Array, x: Float64Array | None
) -> tuple[float, str]:
    rules = TASK_RULES[task]
    if rules.predicts_most_likely:
        actual = y.argmax(axis=1)
        prior = float(y.mean(axis=0).max())
        accuracy = float((predictions.argmax(axis=1) == actual).mean())
        score = (accuracy - prior) / (1 - prior) if prior < 1 else 0.0
        return score, "chance-corrected accuracy"
    column_score = _class_score if rules.has_classes else _regression_score
    return max(column_score(y[:, k], predictions[:, k], x) for k in range(y.shape[1]))


def _regression_score(
    y: Float64Array, predictions: Float64Array, x: Float64Array | None
) -> tuple[float, str]:
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return 0.0, ""
    r2 = (1 - float(((y - predictions) ** 2).sum()) / total, "R²")
    if x is None:
        return r2
    return max(r2, (abs(rank_correlation(x, y)), "rank correlation"))


def _class_score(
    y: Float64Array, predictions: Float64Array, x: Float64Array | None
) -> tuple[float, str]:
    positive = y > 0.5
    count = int(positive.sum())
    if min(count, len(y) - count) < _MIN_CLASS_ROWS:
        return 0.0, ""
    area = roc_auc(positive, predictions)
    if x is not None:
        direct = roc_auc(positive, x)
        area = max(area, direct, 1 - direct)
    # With few rows, 0.99 is not significant.
    is_significant = area - auc_standard_error(area, count, len(y) - count) >= 2 * LIMIT - 1
    return (area if is_significant else 0.0), "AUC"

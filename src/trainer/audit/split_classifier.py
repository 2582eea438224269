"""Measure how well a linear classifier distinguishes training rows from other rows.

Fisher's linear discriminant with ridge regularization: least squares on the split, with standardized
features, one-hot levels and missing-value indicators. Only the ranking of its scores matters, so a
logistic regression would give about the same result, but it needs several iterations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.hashing import mix64
from trainer.metrics.ranking import roc_auc

_MAX_ROWS = 20_000
_MAX_CELLS = 4_000_000
_MAX_FEATURES = 1_000
_MAX_LEVELS = 10
_RIDGE = 0.01
_CLIP = 5.0


def split_auc(
    audited: AuditedTable, columns: Sequence[str], other: RowIndex
) -> tuple[float, float]:
    """Return the AUC over held-out halves, and its standard error if there is no difference.

    Args:
        audited: The audited table.
        columns: Features.
        other: Rows to distinguish from the training rows.
    """
    columns = columns[:_MAX_FEATURES]
    max_rows = min(_MAX_ROWS, max(1_000, _MAX_CELLS // len(columns)))
    train, other = _subsample(audited.train, max_rows // 2), _subsample(other, max_rows // 2)
    rows = np.concatenate([train, other])
    x = _encoded(audited, columns, rows)
    is_other = np.arange(len(rows)) >= len(train)
    half = (mix64(audited.rows[rows].astype(np.uint64)) & np.uint64(1)).astype(np.bool_)
    areas = []
    for fit_mask in (half, ~half):
        held_out = ~fit_mask
        if len(set(is_other[fit_mask])) < 2 or len(set(is_other[held_out])) < 2:
            return 0.5, 1.0
        scores = _scores(x[fit_mask], is_other[fit_mask].astype(np.float64), x[held_out])
        areas.append((roc_auc(is_other[held_out], scores), int(held_out.sum())))
    area = sum(value * count for value, count in areas) / len(rows)
    error = np.sqrt((len(rows) + 1) / (12 * len(train) * len(other)))
    return float(area), float(error)


def _scores(x: Float64Array, y: Float64Array, x_new: Float64Array) -> Float64Array:
    """Fit the discriminant with balanced class weights and return its scores for new rows."""
    weight = np.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    center = weight @ x
    x, x_new = x - center, x_new - center
    target = np.where(y > 0, 1.0, -1.0)
    weighted = x * weight[:, None]
    gram = weighted.T @ x
    gram[np.diag_indices_from(gram)] += _RIDGE + x.shape[1] / len(x)
    scores: Float64Array = x_new @ np.linalg.solve(gram, weighted.T @ target)
    return scores


def _encoded(audited: AuditedTable, columns: Sequence[str], rows: RowIndex) -> Float64Array:
    parts = []
    for name in columns:
        codes = audited.codes(name)[rows]
        if audited.kinds[name] == "numeric":
            values = audited.numbers(name)[rows]
            values[~np.isfinite(values)] = np.nan
            is_known = ~np.isnan(values)
            if not is_known.any():
                continue
            values /= (
                np.abs(values[is_known]).max() or 1.0
            )  # squares of large numbers would overflow
            std = float(np.std(values[is_known]))
            scaled = (values - np.mean(values[is_known])) / (std or 1.0)
            parts.append(np.clip(np.where(is_known, scaled, 0.0), -_CLIP, _CLIP))
            if not is_known.all():
                parts.append((~is_known).astype(np.float64))
        else:
            counts = np.bincount(codes + 1)
            levels = np.argsort(-counts, kind="stable")[:_MAX_LEVELS]
            parts += [(codes + 1 == level).astype(np.float64) for level in levels]
    return np.stack(parts, axis=1) if parts else np.zeros((len(rows), 1))


def _subsample(rows: RowIndex, max_rows: int) -> RowIndex:
    return rows if len(rows) <= max_rows else rows[:: -(-len(rows) // max_rows)]

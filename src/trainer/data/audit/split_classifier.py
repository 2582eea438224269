"""How well a linear function tells training rows from other rows.

Fisher's linear discriminant with a ridge: least squares on the split, standardised features, one-hot
levels, 1 where a value is missing. Only its order counts, which is all that a logistic regression would
be asked for too; it needs one solution where that needs many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.statistics import auc
from trainer.data.hashing import mix64

_MOST_ROWS = 20_000
_MOST_CELLS = 4_000_000
_MOST_FEATURES = 1_000
_MOST_LEVELS = 10
_RIDGE = 0.01
_FAR = 5.0


def split_auc(
    audited: AuditedTable, columns: Sequence[str], other: RowIndex
) -> tuple[float, float]:
    """The AUC of held-out halves, and its standard error without any difference.

    Args:
        audited: The table.
        columns: Features.
        other: The rows that are told from the training rows.
    """
    columns = columns[:_MOST_FEATURES]
    most = min(_MOST_ROWS, max(1_000, _MOST_CELLS // len(columns)))
    train, other = _thinned(audited.train, most // 2), _thinned(other, most // 2)
    rows = np.concatenate([train, other])
    x = _encoded(audited, columns, rows)
    is_other = np.arange(len(rows)) >= len(train)
    half = (mix64(audited.rows[rows].astype(np.uint64)) & np.uint64(1)).astype(np.bool_)
    areas = []
    for fitted in (half, ~half):
        held = ~fitted
        if len(set(is_other[fitted])) < 2 or len(set(is_other[held])) < 2:
            return 0.5, 1.0
        scores = _scores(x[fitted], is_other[fitted].astype(np.float64), x[held])
        areas.append((auc(scores, is_other[held]), int(held.sum())))
    area = sum(value * count for value, count in areas) / len(rows)
    error = np.sqrt((len(rows) + 1) / (12 * len(train) * len(other)))
    return float(area), float(error)


def _scores(x: Float64Array, y: Float64Array, asked: Float64Array) -> Float64Array:
    """What the discriminant of some rows says of others; both classes weigh the same."""
    weight = np.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    centre = weight @ x
    x, asked = x - centre, asked - centre
    target = np.where(y > 0, 1.0, -1.0)
    weighted = x * weight[:, None]
    gram = weighted.T @ x
    gram[np.diag_indices_from(gram)] += _RIDGE + x.shape[1] / len(x)
    found: Float64Array = asked @ np.linalg.solve(gram, weighted.T @ target)
    return found


def _encoded(audited: AuditedTable, columns: Sequence[str], rows: RowIndex) -> Float64Array:
    parts = []
    for name in columns:
        codes = audited.codes(name)[rows]
        if audited.kinds[name] == "numeric":
            values = audited.numbers(name)[rows]
            values[~np.isfinite(values)] = np.nan
            known = ~np.isnan(values)
            if not known.any():
                continue
            values /= np.abs(values[known]).max() or 1.0  # squares of large numbers would overflow
            spread = float(np.std(values[known]))
            scaled = (values - np.mean(values[known])) / (spread or 1.0)
            parts.append(np.clip(np.where(known, scaled, 0.0), -_FAR, _FAR))
            if not known.all():
                parts.append((~known).astype(np.float64))
        else:
            counts = np.bincount(codes + 1)
            levels = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
            parts += [(codes + 1 == level).astype(np.float64) for level in levels]
    return np.stack(parts, axis=1) if parts else np.zeros((len(rows), 1))


def _thinned(rows: RowIndex, most: int) -> RowIndex:
    return rows if len(rows) <= most else rows[:: -(-len(rows) // most)]

"""Confusion matrices as text tables: counts, and the most frequent confusions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.metrics.confusion import confused_pairs
from trainer.report.text import Table, cell, format_count, truncate

_MAX_HEAD_LENGTH = 32
Float64Array = npt.NDArray[np.float64]


def confusion_table(
    matrix: Float64Array, names: Sequence[str], what: str = "number of rows"
) -> Table:
    """Format counts, each with its fraction of the actual class.

    Args:
        matrix: (classes, classes), actual class by predicted class.
        names: The classes.
        what: What is counted.
    """
    rows = tuple(
        (cell(f"actual {name}"), *map(_with_share, counts.tolist(), shares.tolist()))
        for name, counts, shares in zip(names, matrix, actual_shares(matrix), strict=True)
    )
    headers = ("", *(truncate(cell(f"predicted {name}"), _MAX_HEAD_LENGTH) for name in names))
    title = f"confusion matrix: {what} (fraction of the actual class)"
    return Table(title, headers, rows, frozenset(range(1, len(headers))))


def frequent_confusions(
    matrix: Float64Array, names: Sequence[str], what: str = "number of rows", *, limit: int = 20
) -> Table:
    """List the pairs of classes that are confused, the most frequent first.

    Args:
        matrix: (classes, classes), actual class by predicted class.
        names: The classes.
        what: What is counted.
        limit: Maximum number of pairs.
    """
    pairs, shares = confused_pairs(matrix), actual_shares(matrix)
    rows = tuple(
        (
            cell(names[actual]),
            cell(names[predicted]),
            format_count(float(matrix[actual, predicted])),
            _percent(float(shares[actual, predicted])),
        )
        for actual, predicted in pairs[:limit]
    )
    title = f"most frequent confusions, {what}"
    if len(pairs) > limit:
        title += f" ({limit} of {len(pairs):,} pairs)"
    headers = ("actual", "predicted", "count", "fraction of actual")
    return Table(title, headers, rows, frozenset({2, 3}))


def actual_shares(matrix: Float64Array) -> Float64Array:
    """Normalize each row of the matrix to sum 1; 0 for a class without rows."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares: Float64Array = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    return shares


def _with_share(count: float, share: float) -> str:
    return f"{format_count(count)} ({_percent(share)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"

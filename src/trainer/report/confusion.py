"""A confusion matrix as a table of text.

Owns: the words. Does not own: the counts (`trainer.evaluation.curves`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.report.text import Table, cell, count_text


def confusion_table(
    matrix: npt.NDArray[np.float64], names: Sequence[str], what: str = "number of rows"
) -> Table:
    """Counts, and each count's share of its actual class.

    Args:
        matrix: (classes, classes), actual class by predicted class.
        names: The classes.
        what: What is counted.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    rows = tuple(
        (cell(f"actual {name}"), *map(_counted, counts.tolist(), of_class.tolist()))
        for name, counts, of_class in zip(names, matrix, shares, strict=True)
    )
    heads = ("", *(cell(f"predicted {name}") for name in names))
    title = f"confusion matrix: {what} (share of the actual class)"
    return Table(title, heads, rows, frozenset(range(1, len(heads))))


def _counted(count: float, share: float) -> str:
    return f"{count_text(count)} ({100 * share:.1f}%)"

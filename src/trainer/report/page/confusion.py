"""The confusion matrix: a table for few classes, a heat map for many, the most frequent confusions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.assessment.image_examples import MATRIX_CLASSES
from trainer.metrics.confusion import confused_pairs
from trainer.metrics.predictions import Predictions
from trainer.report.confusion import actual_shares, confusion_table, frequent_confusions
from trainer.report.page.content import Block, Picture, Plot, TableBlock, table_block
from trainer.report.page.figures import COLORS, INK, LINE, rectangles
from trainer.report.text import Table, format_count, number, short_name

_FOLDED_CLASSES = 40
"""Maximum number of classes for a collapsed table in addition to the heat map."""
_HEAT_MAP_CLASSES = 100
_LABELED_CLASSES = 25
_MAX_ERRORS = 60
_LEVELS = 16
_MAX_ALPHA = 0.62
"""Text on this shade is readable in light and dark mode."""
_SIDE = 4.7
_NAME_LENGTH = 20
Float64Array = npt.NDArray[np.float64]


def confusion_blocks(
    matrix: Float64Array,
    predictions: Predictions,
    split: str,
    pictures: Mapping[tuple[int, int], tuple[Picture, ...]],
) -> Iterator[Block]:
    """Yield the confusion matrix of two or more classes.

    Args:
        matrix: (classes, classes), actual class by predicted class.
        predictions: The predictions; used for the class names and whether there are weights.
        split: The name of the split.
        pictures: (actual class, predicted class) → examples.
    """
    names = predictions.names
    what = f"{'number' if predictions.weight is None else 'total weight'} of {split} rows"
    if len(names) > MATRIX_CLASSES:
        yield _heat_map(matrix, names, what)
        frequent = _titled(frequent_confusions(matrix, names, what))
        pairs = confused_pairs(matrix)[: len(frequent.rows)]
        examples = {(row, 1): pictures.get(pair, ()) for row, pair in enumerate(pairs)}
        yield TableBlock(frequent, pictures=examples)
    if len(names) <= _FOLDED_CLASSES:
        shares = tuple(tuple(map(float, row)) for row in actual_shares(matrix))
        table = _titled(confusion_table(matrix, names, what))
        is_large = len(names) > MATRIX_CLASSES
        cells = {(row, column + 1): shown for (row, column), shown in pictures.items()}
        yield TableBlock(
            table, shares=shares, is_collapsed=is_large, pictures={} if is_large else cells
        )


def column_counts(matrices: Float64Array, predictions: Predictions, split: str) -> TableBlock:
    """Make a table of the four confusion counts of each column of a multilabel target."""
    rows = [
        (name, *(format_count(float(matrix[index])) for index in ((1, 1), (0, 1), (1, 0), (0, 0))))
        for name, matrix in zip(predictions.names, matrices, strict=True)
    ]
    headers = ("column", "true positives", "false positives", "false negatives", "true negatives")
    return table_block(
        f"Confusion counts by column, {split} rows", headers, rows, right=range(1, 5)
    )


def _titled(table: Table) -> Table:
    return replace(table, title=table.title[:1].upper() + table.title[1:])


def _heat_map(matrix: Float64Array, names: tuple[str, ...], what: str) -> Plot:
    kept = np.arange(len(names))
    selection = ""
    if len(names) > _HEAT_MAP_CLASSES:
        errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
        kept = np.sort(np.argsort(-errors, kind="stable")[:_MAX_ERRORS])
        selection = f", the {_MAX_ERRORS} of {len(names):,} classes with the most errors"
    shares, counts = actual_shares(matrix)[np.ix_(kept, kept)], matrix[np.ix_(kept, kept)]
    labels = [short_name(names[index], _NAME_LENGTH) for index in kept]

    def draw(axes: Any) -> None:
        _draw_cells(axes, shares)
        if len(kept) <= _LABELED_CLASSES:
            _draw_counts(axes, counts)
        _label_axes(axes, labels)

    margin = 0.35 + 0.062 * min(_NAME_LENGTH, max(map(len, labels)))
    title = f"Confusion matrix (shade: fraction of the actual class){selection}"
    return Plot(
        "confusion",
        title,
        _description(matrix, names, what),
        draw,
        width=margin + _SIDE + 0.15,
        height=margin + _SIDE + 0.15,
        left=margin,
        bottom=margin,
        is_wide=True,
    )


def _draw_cells(axes: Any, shares: Float64Array) -> None:
    """Draw one path per shade, so that the file stays small with thousands of cells."""
    levels = np.ceil(shares * _LEVELS - 0.25).astype(int)
    for level in np.unique(levels[levels > 0]):
        actual, predicted = np.nonzero(levels == level)
        rectangles(axes, predicted, actual, COLORS[0], _MAX_ALPHA * int(level) / _LEVELS)
    count = len(shares)
    axes.grid(visible=False)
    axes.plot((-0.5, count - 0.5), (-0.5, count - 0.5), color=LINE, linewidth=0.6)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")


def _draw_counts(axes: Any, counts: Float64Array) -> None:
    size = min(8.5, 0.42 * _SIDE * 72 / len(counts))
    style = {"ha": "center", "va": "center", "color": INK, "fontsize": size}
    for actual, predicted in zip(*np.nonzero(counts), strict=True):
        text = format_count(float(counts[actual, predicted]))
        axes.text(int(predicted), int(actual), text, **style)


def _label_axes(axes: Any, labels: list[str]) -> None:
    """Label both axes with the class names; only every n-th if there is not enough space."""
    step = math.ceil(len(labels) * 6.5 / (_SIDE * 72))
    ticks = range(0, len(labels), step)
    size = max(5.5, min(8.5, 0.75 * step * _SIDE * 72 / len(labels)))
    shown = [labels[index] for index in ticks]
    axes.set_xticks(ticks, shown, rotation=90, fontsize=size)
    axes.set_yticks(ticks, shown, fontsize=size)


def _description(matrix: Float64Array, names: tuple[str, ...], what: str) -> str:
    total, correct = float(matrix.sum()), float(np.diag(matrix).sum())
    text = f"Heat map of the {what} by actual and predicted class, {len(names):,} classes."
    if total:
        text += f" {format_count(correct)} of {format_count(total)} are on the diagonal"
        text += f", a fraction of {number(correct / total)}."
    pairs = frequent_confusions(matrix, names, what, limit=3).rows
    if pairs:
        listed = "; ".join(f"{actual} as {other} {count}" for actual, other, count, _ in pairs)
        text += f" The most frequent confusions: {listed}."
    return text

"""The confusion matrix: a table of few classes, a heat map of many, the most frequent confusions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.predictions import Predictions
from trainer.report.confusion import actual_shares, confusion_table, frequent_confusions
from trainer.report.page.content import Block, Grid, Plot, Shares, grid
from trainer.report.page.figures import COLOURS, INK, LINE, rectangles
from trainer.report.text import Table, format_count, number, short_name

TABLE_CLASSES = 12
"""The most classes whose matrix is a table; with more it is a heat map."""
_FOLDED_CLASSES = 40
"""The most classes whose matrix is a folded table beside the heat map."""
_DRAWN_CLASSES = 100
_COUNTED_CLASSES = 25
_MOST_ERRORS = 60
_LEVELS = 16
_STRONGEST = 0.62
"""Of full colour: text on it stays readable in light and dark."""
_SIDE = 4.7
_NAME = 20
Float64Array = npt.NDArray[np.float64]


def confusion_blocks(matrix: Float64Array, answers: Predictions, split: str) -> Iterator[Block]:
    """The matrix of two or more classes.

    Args:
        matrix: (classes, classes), actual class by predicted class.
        answers: Their names, and whether rows have weights.
        split: The split's name.
    """
    names = answers.names
    what = f"{'number' if answers.weight is None else 'total weight'} of {split} rows"
    if len(names) > TABLE_CLASSES:
        yield _heat_map(matrix, names, what)
        yield Grid(_titled(frequent_confusions(matrix, names, what)))
    if len(names) <= _FOLDED_CLASSES:
        shares = _shares(matrix)
        table = _titled(confusion_table(matrix, names, what))
        yield Grid(table, shares=shares, is_folded=len(names) > TABLE_CLASSES)


def column_counts(matrices: Float64Array, answers: Predictions, split: str) -> Grid:
    """The four counts of each column of a multilabel target."""
    rows = [
        (name, *(format_count(float(matrix[place])) for place in ((1, 1), (0, 1), (1, 0), (0, 0))))
        for name, matrix in zip(answers.names, matrices, strict=True)
    ]
    heads = ("column", "true positives", "false positives", "false negatives", "true negatives")
    return grid(f"Confusion counts by column, {split} rows", heads, rows, right=range(1, 5))


def _titled(table: Table) -> Table:
    return replace(table, title=table.title[:1].upper() + table.title[1:])


def _shares(matrix: Float64Array) -> Shares:
    return tuple(tuple(map(float, row)) for row in actual_shares(matrix))


def _heat_map(matrix: Float64Array, names: tuple[str, ...], what: str) -> Plot:
    kept = np.arange(len(names))
    of = ""
    if len(names) > _DRAWN_CLASSES:
        wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
        kept = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_ERRORS])
        of = f", the {_MOST_ERRORS} of {len(names):,} classes with the most errors"
    shares, counts = actual_shares(matrix)[np.ix_(kept, kept)], matrix[np.ix_(kept, kept)]
    labels = [short_name(names[place], _NAME) for place in kept]

    def draw(axes: Any) -> None:
        _draw_cells(axes, shares)
        if len(kept) <= _COUNTED_CLASSES:
            _write_counts(axes, counts)
        _label_axes(axes, labels)

    margin = 0.35 + 0.062 * min(_NAME, max(map(len, labels)))
    title = f"Confusion matrix (shade: share of the actual class){of}"
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
    """A path for each level of shade, so that thousands of cells stay small."""
    levels = np.ceil(shares * _LEVELS - 0.25).astype(int)
    for level in np.unique(levels[levels > 0]):
        down, across = np.nonzero(levels == level)
        rectangles(axes, across, down, COLOURS[0], _STRONGEST * int(level) / _LEVELS)
    count = len(shares)
    axes.grid(visible=False)
    axes.plot((-0.5, count - 0.5), (-0.5, count - 0.5), color=LINE, linewidth=0.6)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")


def _write_counts(axes: Any, counts: Float64Array) -> None:
    size = min(8.5, 0.42 * _SIDE * 72 / len(counts))
    for down, across in zip(*np.nonzero(counts), strict=True):
        text = format_count(float(counts[down, across]))
        look = {"ha": "center", "va": "center", "color": INK, "fontsize": size}
        axes.text(int(across), int(down), text, **look)


def _label_axes(axes: Any, labels: list[str]) -> None:
    """The names along both axes; every n-th where there is no room for all."""
    step = math.ceil(len(labels) * 6.5 / (_SIDE * 72))
    places = range(0, len(labels), step)
    size = max(5.5, min(8.5, 0.75 * step * _SIDE * 72 / len(labels)))
    shown = [labels[place] for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize=size)
    axes.set_yticks(places, shown, fontsize=size)


def _description(matrix: Float64Array, names: tuple[str, ...], what: str) -> str:
    total, right = float(matrix.sum()), float(np.diag(matrix).sum())
    text = f"Heat map of the {what} by actual and predicted class, {len(names):,} classes."
    if total:
        text += f" {format_count(right)} of {format_count(total)} are on the diagonal"
        text += f", a share of {number(right / total)}."
    pairs = frequent_confusions(matrix, names, what, most=3).rows
    if pairs:
        listed = "; ".join(f"{actual} as {other} {count}" for actual, other, count, _ in pairs)
        text += f" The most frequent confusions: {listed}."
    return text

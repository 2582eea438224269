"""Occlusion: how much a score falls when a part of the image is covered (Zeiler and Fergus 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainer.explain.perturbations import PredictFn
from trainer.inputs import IMAGE, Inputs, count_rows
from trainer.metrics.arrays import Float64Array, FloatArray, Int64Array

_CELLS = 8
_ROWS = 64


def occlusion_maps(
    predict: PredictFn,
    encodings: Sequence[Inputs],
    score: Callable[[FloatArray, slice], Float64Array],
) -> Float64Array:
    """Return the mean fall of a score over the patches that cover each cell, (n, rows, columns).

    An image is divided into at most 8 × 8 cells. Patches of 2 × 2 cells, one cell apart, are filled with
    the mean color of the image.

    Args:
        predict: The predict function.
        encodings: The inputs of n rows, with an image, in each encoding.
        score: Returns the score of each row for predictions (m, k) of a part of the rows.
    """
    parts = []
    for first in range(0, count_rows(encodings[0]), _ROWS):
        part = slice(first, first + _ROWS)
        rows = [{name: array[part] for name, array in inputs.items()} for inputs in encodings]
        parts.append(_of_part(predict, rows, part, score))
    return np.concatenate(parts)


def _of_part(
    predict: PredictFn,
    encodings: Sequence[Inputs],
    part: slice,
    score: Callable[[FloatArray, slice], Float64Array],
) -> Float64Array:
    images = np.asarray(encodings[0][IMAGE][:])
    fill = np.rint(images.mean(axis=(1, 2), keepdims=True)).astype(images.dtype)
    heights, widths = _edges(images.shape[1]), _edges(images.shape[2])
    cells = (len(images), len(heights) - 1, len(widths) - 1)
    falls, patches = np.zeros(cells), np.zeros(cells[1:])
    whole = score(predict(encodings), part)
    for row in range(max(1, cells[1] - 1)):
        for column in range(max(1, cells[2] - 1)):
            covered = images.copy()
            rows = slice(heights[row], heights[min(row + 2, cells[1])])
            columns = slice(widths[column], widths[min(column + 2, cells[2])])
            covered[:, rows, columns] = fill
            inputs = [{**encoded, IMAGE: covered} for encoded in encodings]
            fall = whole - score(predict(inputs), part)
            falls[:, row : row + 2, column : column + 2] += fall[:, None, None]
            patches[row : row + 2, column : column + 2] += 1
    return falls / patches


def _edges(size: int) -> Int64Array:
    """Return the edges of the cells of a side."""
    return np.linspace(0, size, min(_CELLS, size) + 1).astype(np.int64)

"""The classes that probabilities predict, and the losses of single rows."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import (
    BLOCK_ROWS,
    BoolArray,
    Float64Array,
    FloatArray,
    Int64Array,
    IntArray,
)
from trainer.task_names import TaskName

FloatType = TypeVar("FloatType", np.float32, np.float64)


def predicted_positive(p: FloatArray, threshold: float) -> BoolArray:
    """Return which probabilities are predicted positive: those ≥ `threshold`, compared in float64.

    All code that converts probabilities to labels uses this function, so that labels agree with the
    metrics. Comparing in float32 would not: a chosen threshold can lie between two float32 neighbors.
    """
    # The scalar of 64 bits converts blocks of p, without a copy of the whole.
    positive: BoolArray = p >= np.float64(threshold)
    return positive


def predicted_labels(task: TaskName, p: FloatArray, threshold: float) -> BoolArray:
    """Return the predicted classes or columns as (n, k) booleans.

    Binary and multilabel: probabilities of at least the threshold. Multiclass: the highest one.
    """
    if not TASK_RULES[task].predicts_most_likely:
        return predicted_positive(p, threshold)
    predicted = np.zeros(p.shape, np.bool_)
    if len(p):
        predicted[np.arange(len(p)), np.argmax(p, axis=1)] = True
    return predicted


def row_accuracies(task: TaskName, y: FloatArray, p: FloatArray, threshold: float) -> Float64Array:
    """Return the fraction of the labels of each row that are correct, (n,)."""
    if TASK_RULES[task].predicts_most_likely:
        return np.asarray(np.argmax(y, axis=1) == np.argmax(p, axis=1), np.float64)
    return np.asarray((predicted_positive(p, threshold) == (y > 0.5)).mean(axis=1), np.float64)


def encode_classes(
    indices: IntArray, columns: int, dtype: type[FloatType]
) -> npt.NDArray[FloatType]:
    """Return targets y (n, columns) for the index of the class of each row.

    One column is 1 for the second of two classes; more are one-hot.
    """
    if columns == 1:
        return np.asarray(indices[:, None], dtype)
    one_hot: npt.NDArray[FloatType] = np.eye(columns, dtype=dtype)[indices]
    return one_hot


def class_indices(y: FloatArray | BoolArray) -> Int64Array:
    """Return the index of the class of each row, or of the most likely one; see `encode_classes`."""
    indices = y[:, 0] > 0.5 if y.shape[1] == 1 else y.argmax(axis=1)
    return np.asarray(indices, np.int64)


def class_totals(task: TaskName, y: FloatArray) -> Float64Array:
    """Return the number of rows of each class, or of the rows that have each label."""
    totals: Float64Array = y.sum(axis=0, dtype=np.float64)
    if TASK_RULES[task].has_positive_class:
        totals = np.concatenate([len(y) - totals, totals])
    return totals


def clip_probabilities(p: FloatArray) -> Float64Array:
    """Clip probabilities to [ε, 1 - ε], where ε is the resolution of their dtype."""
    epsilon = np.finfo(p.dtype).eps
    return np.clip(p.astype(np.float64), epsilon, 1 - epsilon)


def log_losses(y: FloatArray, p: FloatArray) -> Float64Array:
    """Return -log of the probability of each label, (n, k): of p where y is 1, else of 1 - p."""
    losses = np.empty(p.shape, np.float64)
    for start in range(0, len(p), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        clipped = clip_probabilities(p[block])
        losses[block] = -np.where(y[block] > 0.5, np.log(clipped), np.log1p(-clipped))
    return losses


def class_log_losses(y: FloatArray, p: FloatArray) -> Float64Array:
    """Return -log of the probability of the class of each row, (n,)."""
    return -np.log(clip_probabilities(p[np.arange(len(y)), np.argmax(y, axis=1)]))


def row_log_losses(task: TaskName, y: FloatArray, p: FloatArray) -> Float64Array:
    """Return the log loss of each row, (n,); for several columns their mean."""
    if TASK_RULES[task].predicts_most_likely:
        return class_log_losses(y, p)
    return np.asarray(log_losses(y, p).mean(axis=1), np.float64)


def squared_errors(y: FloatArray, p: FloatArray) -> Float64Array:
    """Return (p - y)² in float64, (n, k)."""
    errors: Float64Array = np.subtract(p, y, dtype=np.float64)
    return np.square(errors, out=errors)

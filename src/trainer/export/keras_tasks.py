"""Decoding the outputs of networks as operations of Keras. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.config.losses import center_quantile
from trainer.config.model import POSITIVE_HEADS
from trainer.data.target_transforms import TargetTransform
from trainer.data.targets import FittedTarget
from trainer.export.schema import Role
from trainer.tasks.task import Task

_FLOAT32 = np.finfo(np.float32)


def decode_outputs(task: Task, outputs: Any) -> Any:
    """Return probabilities, or numbers in the unit of the target; see `Task.decode_outputs`."""
    if task.head in POSITIVE_HEADS:
        outputs = ops.clip(outputs, float(_FLOAT32.tiny), float(_FLOAT32.max))
    if task.quantiles:
        return _decode_quantiles(task, outputs)
    if not task.kind.rules.has_classes:
        return _unscaled(task.target, outputs)
    if task.kind.rules.has_positive_class and task.outputs == 2:
        outputs = ops.take(outputs, [1], axis=1)
    if task.temperature == 1.0:
        return outputs
    epsilon = float(_FLOAT32.eps)
    p = ops.clip(ops.cast(outputs, "float64"), epsilon, 1 - epsilon)
    if task.kind.rules.predicts_most_likely:
        calibrated = ops.softmax(ops.log(p) / task.temperature, axis=-1)
    else:
        calibrated = ops.sigmoid((ops.log(p) - ops.log1p(-p)) / task.temperature)
    return ops.cast(calibrated, "float32")


def _decode_quantiles(task: Task, outputs: Any) -> Any:
    count, has_mean = task.loss.outputs_per_target, task.loss.kind.has_mean
    columns = len(task.prediction_names)
    by_column = ops.reshape(outputs, (-1, columns, count))
    quantiles = ops.sort(ops.take(by_column, np.arange(int(has_mean), count), axis=2), axis=2)
    parts = [
        ops.squeeze(ops.take(quantiles, [index], axis=2), axis=2)
        for index in range(count - int(has_mean))
    ]
    center = (
        ops.squeeze(ops.take(by_column, [0], axis=2), axis=2)
        if has_mean
        else parts[center_quantile(task.quantiles)]
    )
    return ops.concatenate([_unscaled(task.target, part) for part in (center, *parts)], axis=1)


def _unscaled(target: FittedTarget, outputs: Any) -> Any:
    values = ops.cast(outputs, "float64") * np.array([target.scale]) + np.array([target.offset])
    return _by_column(values, target.transforms, _inverse)


def _by_column(
    values: Any,
    transforms: Sequence[TargetTransform | None],
    apply: Callable[[TargetTransform, Any], Any],
) -> Any:
    """Apply a function of the transform of each column."""
    if not any(transforms):
        return values
    columns = [
        column if transform is None else apply(transform, column)
        for index, transform in enumerate(transforms)
        for column in [ops.take(values, [index], axis=1)]
    ]
    return columns[0] if len(columns) == 1 else ops.concatenate(columns, axis=1)


def _inverse(transform: TargetTransform, x: Any) -> Any:
    values = ops.exp(x) if transform.kind == "log" else _both_sides(x, transform.exponent, _root)
    return ops.clip(values, transform.low, transform.high)


def _forward(transform: TargetTransform, x: Any) -> Any:
    return ops.log(x) if transform.kind == "log" else _both_sides(x, transform.exponent, _power)


def _both_sides(x: Any, exponent: float, function: Callable[[Any, float], Any]) -> Any:
    above, below = ops.maximum(x, 0.0), ops.maximum(-x, 0.0)
    return ops.where(x < 0.0, -function(below, 2 - exponent), function(above, exponent))


def _power(x: Any, exponent: float) -> Any:
    return ops.expm1(exponent * ops.log1p(x)) / exponent if exponent else ops.log1p(x)


def _root(x: Any, exponent: float) -> Any:
    if not exponent:
        return ops.expm1(x)
    return ops.expm1(ops.log1p(ops.maximum(exponent * x, -1.0)) / exponent)


def results(task: Task, decoded: Sequence[Any]) -> dict[Role, Any]:
    """Return the outputs of a model besides `unseen`.

    Args:
        task: The task, with the decisions for all members.
        decoded: The decoded outputs of each member.
    """
    rules, names = task.kind.rules, len(task.prediction_names)
    mean = decoded[0]
    if len(decoded) > 1:
        mean = ops.mean(ops.stack(list(decoded)), axis=0)
    found: dict[Role, Any] = {}
    if rules.has_classes:
        found["label" if rules.is_exclusive else "labels"] = _labels(task, mean)
        is_binary = rules.has_positive_class
        found["probabilities"] = ops.concatenate([1.0 - mean, mean], axis=1) if is_binary else mean
    else:
        width = len(task.file_columns)
        found["predicted"] = ops.take(mean, np.arange(names), axis=1)
        if task.half_widths:
            found["low"], found["high"] = _intervals(task, mean)
        if width > names:
            found["quantiles"] = ops.take(mean, np.arange(names, width), axis=1)
    if len(decoded) > 1:
        squares = ops.sum(ops.stack([ops.square(part - mean) for part in decoded]), axis=0)
        std = ops.sqrt(squares / float(len(decoded) - 1))
        found["std"] = ops.take(std, np.arange(names), axis=1)
    return found


def _labels(task: Task, mean: Any) -> Any:
    rules = task.kind.rules
    if rules.predicts_most_likely:
        index = ops.argmax(mean, axis=1)
    else:
        index = ops.cast(ops.cast(mean, "float64") >= task.threshold, "int64")
        if not rules.is_exclusive:
            return index
        index = ops.squeeze(index, axis=1)
    lookup = keras.layers.StringLookup(
        vocabulary=list(task.target.classes),
        mask_token=None,
        num_oov_indices=0,
        invert=True,
        name="class_of_index",
    )
    return lookup(ops.cast(index, "int64"))


def _intervals(task: Task, mean: Any) -> tuple[Any, Any]:
    """Return both ends of the intervals; see `Task.prediction_intervals`."""
    target, columns, width = task.target, len(task.target.columns), len(task.file_columns)
    predictions = ops.take(mean, np.arange(columns), axis=1)
    bases = [predictions, predictions]
    if task.quantiles:
        bases = [
            ops.take(mean, np.arange(start, start + columns), axis=1)
            for start in (columns, width - columns)
        ]
    transforms = target.transforms or (None,) * columns
    powers = [transform is not None and transform.kind == "power" for transform in transforms]
    widths = np.array([task.half_widths]) * np.where(powers, target.scale, 1.0)
    low, high = (
        _by_column(_by_column(base, transforms, _forward) + change, transforms, _inverse)
        for base, change in zip(bases, (-widths, widths), strict=True)
    )
    if task.head != "linear":
        low = ops.maximum(low, 0.0)
    if task.head == "sigmoid":
        high = ops.minimum(high, 1.0)
    return ops.minimum(low, predictions), ops.maximum(high, predictions)

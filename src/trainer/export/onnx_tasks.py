"""Outputs of networks as ONNX operators: probabilities, numbers, labels, intervals.

It does in a graph what `trainer.tasks.task.Task` does with arrays, numbers in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer.config.losses import center_quantile
from trainer.config.model import POSITIVE_HEADS
from trainer.data.target_transforms import TargetTransform
from trainer.export.onnx_graph import Graph
from trainer.tasks.task import Task

_FLOAT32 = np.finfo(np.float32)


def decode_outputs(graph: Graph, task: Task, outputs: str) -> str:
    """Return probabilities, float32, or numbers, float64: (rows, columns); see `Task.decode_outputs`."""
    if task.head in POSITIVE_HEADS:
        low, high = (graph.constant(value, "float32") for value in (_FLOAT32.tiny, _FLOAT32.max))
        outputs = graph.node("Clip", outputs, low, high)
    if task.quantiles:
        return _decode_quantiles(graph, task, outputs)
    if task.kind.rules.has_numbers:
        return _unscaled(graph, task, outputs)
    if task.kind.rules.has_positive_class and task.outputs == 2:
        outputs = graph.take(outputs, [1], 2)
    return outputs if task.temperature == 1 else _with_temperature(graph, task, outputs)


def _with_temperature(graph: Graph, task: Task, p: str) -> str:
    """Return the probabilities after dividing their logits; see `trainer.metrics.activations`."""
    epsilon = float(_FLOAT32.eps)
    bounds = (graph.constant(value, "float64") for value in (epsilon, 1 - epsilon))
    p = graph.node("Clip", graph.cast(p, "float64"), *bounds)
    odds = p
    if not task.kind.rules.predicts_most_likely:
        odds = graph.node("Div", p, graph.node("Sub", graph.constant(1.0, "float64"), p))
    temperature = graph.constant(task.temperature, "float64")
    logits = graph.node("Div", graph.node("Log", odds), temperature)
    if task.kind.rules.predicts_most_likely:
        calibrated = graph.node("Softmax", logits, axis=-1)
    else:
        calibrated = graph.node("Sigmoid", logits)
    return graph.cast(calibrated, "float32")


def _decode_quantiles(graph: Graph, task: Task, outputs: str) -> str:
    """Return the prediction, then each quantile, sorted so that they do not cross."""
    columns, each = len(task.target.columns), task.loss.outputs_per_target
    has_mean, count = task.loss.kind.has_mean, len(task.quantiles)
    grouped = graph.reshape(outputs, [columns, each])
    first = int(has_mean)
    axis = graph.constant([2], "int64")
    bounds = [graph.constant([value], "int64") for value in (first, each)]
    values = graph.node("Slice", grouped, *bounds, axis)
    ordered, _ = graph.nodes(
        "TopK", [values, graph.constant([count], "int64")], 2, axis=2, largest=0
    )
    by_quantile = graph.node("Transpose", ordered, perm=[0, 2, 1])
    if has_mean:
        ends = [graph.constant([value], "int64") for value in (0, 1)]
        center = graph.reshape(graph.node("Slice", grouped, *ends, axis), [columns])
    else:
        place = graph.constant(center_quantile(task.quantiles), "int64")
        center = graph.node("Gather", by_quantile, place, axis=1)
    joined = graph.concat([center, graph.reshape(by_quantile, [count * columns])])
    return _unscaled(graph, task, joined, 1 + count)


def _unscaled(graph: Graph, task: Task, values: str, times: int = 1) -> str:
    """Return scaled numbers in the target's unit, float64; the target columns occur `times` times."""
    target = task.target
    values = graph.cast(values, "float64")
    if any(scale != 1 for scale in target.scale):
        values = graph.node("Mul", values, _row(graph, target.scale * times))
    if any(target.offset):
        values = graph.node("Add", values, _row(graph, target.offset * times))
    return _by_column(graph, values, target.transforms * times, _inverse)


def _by_column(
    graph: Graph,
    values: str,
    transforms: Sequence[TargetTransform | None],
    apply: Callable[[Graph, TargetTransform, str], str],
) -> str:
    """Apply the transform of each column, if it has one."""
    if not any(transform is not None for transform in transforms):
        return values
    columns = [graph.take(values, [index], len(transforms)) for index in range(len(transforms))]
    if len(transforms) == 1:
        columns = [values]
    return graph.concat(
        [
            column if transform is None else apply(graph, transform, column)
            for column, transform in zip(columns, transforms, strict=True)
        ]
    )


def _inverse(graph: Graph, transform: TargetTransform, x: str) -> str:
    """Invert a transform; see `TargetTransform.inverse_transform`."""
    if transform.kind == "log":
        values = graph.node("Exp", x)
    else:
        values = _both_sides(graph, x, transform.exponent, _root)
    values = graph.node("Max", values, graph.constant(transform.low, "float64"))
    return graph.node("Min", values, graph.constant(transform.high, "float64"))


def _forward(graph: Graph, transform: TargetTransform, x: str) -> str:
    """Apply a transform."""
    if transform.kind == "log":
        return graph.node("Log", x)
    return _both_sides(graph, x, transform.exponent, _power)


def _both_sides(
    graph: Graph, x: str, exponent: float, function: Callable[[Graph, str, float], str]
) -> str:
    """Return function(x, λ) for x ≥ 0 and -function(-x, 2 - λ) for x < 0."""
    zero = graph.constant(0.0, "float64")
    above = function(graph, graph.node("Max", x, zero), exponent)
    magnitude = graph.node("Max", graph.node("Neg", x), zero)
    below = graph.node("Neg", function(graph, magnitude, 2 - exponent))
    return graph.node("Where", graph.node("Less", x, zero), below, above)


def _power(graph: Graph, x: str, exponent: float) -> str:
    """Return ((1 + x)^λ - 1) / λ, or log(1 + x) where λ = 0."""
    one = graph.constant(1.0, "float64")
    logs = graph.node("Log", graph.node("Add", x, one))
    if exponent == 0:
        return logs
    factor = graph.constant(exponent, "float64")
    grown = graph.node("Exp", graph.node("Mul", logs, factor))
    return graph.node("Div", graph.node("Sub", grown, one), factor)


def _root(graph: Graph, x: str, exponent: float) -> str:
    """Invert `_power`."""
    one = graph.constant(1.0, "float64")
    logs = x
    if exponent != 0:
        factor = graph.constant(exponent, "float64")
        # Beyond the range of the transform, the logarithm of 0 is infinite.
        base = graph.node("Add", graph.node("Mul", x, factor), one)
        base = graph.node("Max", base, graph.constant(0.0, "float64"))
        logs = graph.node("Div", graph.node("Log", base), factor)
    return graph.node("Sub", graph.node("Exp", logs), one)


def add_intervals(graph: Graph, task: Task, decoded: str) -> tuple[str, str]:
    """Return both ends of the intervals, float64 (rows, columns); see `Task.prediction_intervals`."""
    target = task.target
    columns = len(target.columns)
    width = len(task.file_columns)
    predictions = graph.take(decoded, range(columns), width)
    bases = [predictions, predictions]
    if task.quantiles:
        bases = [
            graph.take(decoded, places, width)
            for places in (range(columns, 2 * columns), range(width - columns, width))
        ]
    transforms = target.transforms or (None,) * columns
    powers = [transform is not None and transform.kind == "power" for transform in transforms]
    scales = np.where(powers, target.scale, 1.0)
    offsets = np.where(powers, target.offset, 0.0)
    widths = _row(graph, task.half_widths)
    ends = []
    for base, kind, outer in zip(bases, ("Sub", "Add"), ("Min", "Max"), strict=True):
        x = _by_column(graph, base, transforms, _forward)
        if any(powers):
            x = graph.node("Div", graph.node("Sub", x, _row(graph, offsets)), _row(graph, scales))
        x = graph.node(kind, x, widths)
        if any(powers):
            x = graph.node("Add", graph.node("Mul", x, _row(graph, scales)), _row(graph, offsets))
        x = _by_column(graph, x, transforms, _inverse)
        if task.head != "linear" and kind == "Sub":
            x = graph.node("Max", x, graph.constant(0.0, "float64"))
        if task.head == "sigmoid" and kind == "Add":
            x = graph.node("Min", x, graph.constant(1.0, "float64"))
        ends.append(graph.node(outer, x, predictions))
    return ends[0], ends[1]


def add_labels(graph: Graph, task: Task, probabilities: str) -> str:
    """Return the class as text (rows,), or whether each label is predicted, int64 (rows, labels)."""
    rules = task.kind.rules
    classes = list(task.target.classes)
    if rules.predicts_most_likely:
        index = graph.node("ArgMax", probabilities, axis=1, keepdims=0)
        return graph.node("Gather", graph.constant(classes, "string"), index)
    least = graph.constant(least_float32(task.threshold), "float32")
    reached = graph.node("GreaterOrEqual", probabilities, least)
    if not rules.is_exclusive:
        return graph.cast(reached, "int64")
    negative, positive = (graph.constant([name], "string") for name in classes)
    label = graph.node("Where", reached, positive, negative)
    return graph.node("Reshape", label, graph.constant([-1], "int64"))


def least_float32(threshold: float) -> np.float32:
    """Return the smallest float32 number that is not less than a threshold."""
    nearest = np.float32(threshold)
    below = float(nearest) < threshold
    return np.nextafter(nearest, np.float32(np.inf)) if below else nearest


def class_probabilities(graph: Graph, task: Task, p: str) -> str:
    """Return the probability of each class; of two, that of the negative one first."""
    if not task.kind.rules.has_positive_class:
        return p
    # Exact, as each sum has one term besides 0 or 1; one operator instead of two.
    both, first = (graph.constant(row, "float32") for row in ([[-1, 1]], [1, 0]))
    return graph.node("Gemm", p, both, first)


def _row(graph: Graph, values: Sequence[float] | Any) -> str:
    return graph.constant(np.asarray(values, np.float64).reshape(1, -1))

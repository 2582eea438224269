"""Decoding the outputs of networks as NumPy code: probabilities, numbers, labels and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trainer.config.losses import center_quantile
from trainer.config.model import POSITIVE_HEADS
from trainer.data.target_transforms import TargetTransform
from trainer.data.targets import FittedTarget
from trainer.export.schema import Schema
from trainer.tasks.task import Task

_POWERS = '''def power(x, exponent):
    """Return ((1 + x)^exponent - 1) / exponent."""
    return np.expm1(exponent * np.log1p(x)) / exponent if exponent else np.log1p(x)


def root(x, exponent):
    """Invert `power`."""
    with np.errstate(divide="ignore"):
        return np.expm1(np.log1p(np.maximum(exponent * x, -1)) / exponent) if exponent else np.expm1(x)
'''
_BOTH_SIDES = '''def both_sides(x, exponent, function):
    """Apply the Yeo-Johnson transform or its inverse."""
    above, below = np.maximum(x, 0), np.maximum(-x, 0)
    return np.where(x >= 0, function(above, exponent), -function(below, 2 - exponent))
'''


def target_arrays(task: Task) -> dict[str, Any]:
    """Return the scale of the targets of a network, and its temperature."""
    target = task.target
    if task.kind.rules.has_classes:
        return {"temperature": np.array(task.temperature)}
    arrays = {"scale": np.array(target.scale), "offset": np.array(target.offset)}
    for index, transform in enumerate(target.transforms):
        if transform is not None:
            values = [transform.exponent, transform.low, transform.high]
            arrays[f"transform{index}"] = np.array(values)
    return arrays


def task_code(task: Task, members: Sequence[Task], schema: Schema) -> Iterator[str]:
    """Yield the functions that decode outputs and that predict.

    Args:
        task: The task, with the decisions of all members together.
        members: The task of each member.
        schema: Names the outputs.
    """
    target = task.target
    if any(_is_power(transform) for transform in target.transforms):
        yield _POWERS
        yield _BOTH_SIDES
    if not task.kind.rules.has_classes:
        yield "\n".join(_unscale(target)) + "\n"
    yield "\n".join(_decode(task, members)) + "\n"
    if task.half_widths:
        yield "\n".join(_interval(task)) + "\n"
    yield "\n".join(_predict(task, schema)) + "\n"


def _is_power(transform: TargetTransform | None) -> bool:
    return transform is not None and transform.kind == "power"


def _unscale(target: FittedTarget) -> Iterator[str]:
    yield "def unscale(y, p):"
    yield '    """Return outputs in the unit of the target."""'
    yield '    y = y.astype(np.float64) * p["scale"] + p["offset"]'
    yield from _transformed(target, "y", inverse=True)
    yield "    return y"


def _transformed(target: FittedTarget, name: str, *, inverse: bool) -> Iterator[str]:
    """Yield the lines that transform the columns of an array, or invert that."""
    for index, transform in enumerate(target.transforms):
        if transform is None:
            continue
        column = f"{name}[:, {index}]"
        yield f'    exponent, low, high = p["transform{index}"]'
        function, plain = ("root", "np.exp") if inverse else ("power", "np.log")
        values = f"{plain}({column})"
        if _is_power(transform):
            values = f"both_sides({column}, exponent, {function})"
        yield f"    {column} = " + (f"np.clip({values}, low, high)" if inverse else values)


def _decode(task: Task, members: Sequence[Task]) -> Iterator[str]:
    rules = task.kind.rules
    yield "def decode(y, p):"
    what = "probabilities" if rules.has_classes else "numbers in the unit of the target"
    yield f'    """Return the outputs of a network as {what}."""'
    if task.head in POSITIVE_HEADS:
        yield "    y = np.clip(y, np.finfo(np.float32).tiny, np.finfo(np.float32).max)"
    if task.quantiles:
        yield from _decode_quantiles(task)
        return
    if not rules.has_classes:
        yield "    return unscale(y, p)"
        return
    if rules.has_positive_class and task.outputs == 2:
        yield "    y = y[:, 1:]"
    if any(member.temperature != 1 for member in members):
        yield "    epsilon = np.finfo(np.float32).eps"
        yield "    y = np.clip(y.astype(np.float64), epsilon, 1 - epsilon)"
        if rules.predicts_most_likely:
            yield '    z = np.log(y) / p["temperature"]'
            yield "    y = np.exp(z - z.max(axis=1, keepdims=True))"
            yield "    y = (y / y.sum(axis=1, keepdims=True)).astype(np.float32)"
        else:
            yield '    z = (np.log(y) - np.log1p(-y)) / p["temperature"]'
            yield "    y = (0.5 * (1 + np.tanh(0.5 * z))).astype(np.float32)"
    yield "    return y"


def _decode_quantiles(task: Task) -> Iterator[str]:
    count, has_mean = task.loss.outputs_per_target, task.loss.kind.has_mean
    yield f"    y = y.reshape(len(y), -1, {count})"
    yield f"    quantiles = np.sort(y[:, :, {int(has_mean)}:], axis=2)"
    center = "y[:, :, 0]" if has_mean else f"quantiles[:, :, {center_quantile(task.quantiles)}]"
    yield f"    parts = [{center}, *np.moveaxis(quantiles, 2, 0)]"
    yield "    return np.hstack([unscale(part, p) for part in parts])"


def _interval(task: Task) -> Iterator[str]:
    target = task.target
    powers = [_is_power(transform) for transform in target.transforms]
    yield "def bound(y, widths, p):"
    yield '    """Return an end of the intervals: numbers moved by the widths."""'
    yield "    y = y.copy()"
    yield from _transformed(target, "y", inverse=False)
    if any(powers):
        yield f'    scale = np.where({powers}, p["scale"], 1)'
        yield "    y = y + widths * scale"
    else:
        yield "    y = y + widths"
    yield from _transformed(target, "y", inverse=True)
    yield "    return y"


def _predict(task: Task, schema: Schema) -> Iterator[str]:
    rules = task.kind.rules
    names = {output.role: output.name for output in schema.outputs}
    yield '@np.errstate(over="ignore")'
    yield "def predict(columns):"
    yield '    """Return the predictions for columns of raw values, as a dict of arrays.'
    yield ""
    yield "    Args:"
    yield "        columns: Name → the values of all rows; see `COLUMNS`."
    yield '    """'
    yield "    missing = [name for name in COLUMNS if name not in columns]"
    yield "    if missing:"
    yield '        raise KeyError(f"columns that the model needs: {missing}")'
    yield "    rows = len(columns[next(iter(COLUMNS))])"
    yield "    encoded = [encode(columns, rows, p) for p in ENCODERS]"
    yield "    parts = []"
    yield "    for w in MEMBERS:"
    yield '        inputs, _ = encoded[int(w["encoder"])]'
    yield '        parts.append(decode(NETWORKS[int(w["network"])](inputs, w), w["target"]))'
    yield "    mean = sum(parts) / len(parts)" if schema.members > 1 else "    mean = parts[0]"
    yield "    result = {}"
    if rules.has_classes:
        yield from _labels(task, names)
    else:
        yield from _numbers(task, names)
    if "std" in names:
        count = len(task.prediction_names)
        yield f"    std = np.std(np.stack(parts)[..., :{count}], axis=0, ddof=1)"
        yield f'    result["{names["std"]}"] = std'
    yield f'    result["{names["unseen"]}"] = encoded[0][1]'
    yield "    return result"


def _labels(task: Task, names: dict[Any, str]) -> Iterator[str]:
    rules = task.kind.rules
    if rules.predicts_most_likely:
        yield "    index = mean.argmax(axis=1)"
    else:
        yield f"    positive = mean.astype(np.float64) >= {task.threshold!r}"
    if rules.is_exclusive:
        index = "index" if rules.predicts_most_likely else "positive[:, 0].astype(np.int64)"
        yield f'    result["{names["label"]}"] = CLASSES[{index}]'
    else:
        yield f'    result["{names["labels"]}"] = positive.astype(np.int64)'
    classes = "mean"
    if rules.has_positive_class:
        classes = "np.concatenate([1 - mean, mean], axis=1)"
    yield f'    result["{names["probabilities"]}"] = {classes}'


def _numbers(task: Task, names: dict[Any, str]) -> Iterator[str]:
    columns, width = len(task.prediction_names), len(task.file_columns)
    yield f"    predicted = mean[:, :{columns}]"
    yield f'    result["{names["predicted"]}"] = predicted'
    if task.half_widths:
        first = f"mean[:, {columns}:{2 * columns}]" if task.quantiles else "predicted"
        last = f"mean[:, {width - columns}:]" if task.quantiles else "predicted"
        yield f"    widths = np.array({[float(value) for value in task.half_widths]!r})"
        yield f'    low = bound({first}, -widths, MEMBERS[0]["target"])'
        yield f'    high = bound({last}, widths, MEMBERS[0]["target"])'
        if task.head != "linear":
            yield "    low = np.maximum(low, 0)"
        if task.head == "sigmoid":
            yield "    high = np.minimum(high, 1)"
        yield f'    result["{names["low"]}"] = np.minimum(low, predicted)'
        yield f'    result["{names["high"]}"] = np.maximum(high, predicted)'
    if "quantiles" in names:
        yield f'    result["{names["quantiles"]}"] = mean[:, {columns}:]'

"""The encoding of numbers as ONNX operators: impute, clip, scale, indicators, bins.

All columns are encoded together, in float64, by the operations of `trainer.data.numeric` in the same
order, so that the result is the same to the last digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from trainer.data.numeric import NumericColumn
from trainer.export.onnx_graph import ML, Graph

_UNBOUNDED = 1e100
"""The bound of the smooth clip of columns without one, which changes no digit."""
_LARGEST_RATIO = 1e150
"""Ratios are limited to this, so that their squares do not overflow: the result is the bound anyway."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some columns of the input `features`.

    Attributes:
        tensor: (rows, columns), float32.
        columns: The column of `features` that each of them is.
    """

    tensor: str
    columns: tuple[int, ...]


def encode_numbers(
    graph: Graph, columns: Sequence[NumericColumn], starts: Sequence[int], values: str, missing: str
) -> list[Block]:
    """Encode some columns.

    Args:
        graph: The graph.
        columns: The k fitted columns.
        starts: The first column of `features` of each.
        values: (rows, k), float64; any value where missing.
        missing: Mask (rows, k) of missing values.
    """
    width = len(columns)
    blocks = [Block(*_scaled(graph, columns, starts, values, missing))]
    marked = [index for index, column in enumerate(columns) if column.indicator]
    if marked:
        mask = graph.cast(graph.take(missing, marked, width), "float32")
        blocks.append(Block(mask, tuple(starts[index] + 1 for index in marked)))
    if any(column.piecewise is not None for column in columns):
        blocks.append(_bins(graph, columns, starts, values, missing))
    return blocks


def _scaled(
    graph: Graph, columns: Sequence[NumericColumn], starts: Sequence[int], values: str, missing: str
) -> tuple[str, tuple[int, ...]]:
    """Return the scaled values, float32, and the column of `features` of each."""
    bounds = [
        column.outliers
        if column.outliers is not None and column.outliers.action == "clip"
        else None
        for column in columns
    ]
    x = values
    if any(bounds):
        lower = [-np.inf if bound is None else bound.lower for bound in bounds]
        upper = [np.inf if bound is None else bound.upper for bound in bounds]
        x = graph.node("Max", x, _row(graph, lower))
        x = graph.node("Min", x, _row(graph, upper))
    x = graph.node("Where", missing, _row(graph, [column.fill for column in columns]), x)
    if any(column.center for column in columns):
        x = graph.node("Sub", x, _row(graph, [column.center for column in columns]))
    if any(column.divisor != 1 for column in columns):
        x = graph.node("Div", x, _row(graph, [column.divisor for column in columns]))
    order = list(range(len(columns)))
    ranked = [index for index in order if columns[index].quantiles is not None]
    if ranked:
        others = [index for index in order if columns[index].quantiles is None]
        parts = [graph.take(x, others, len(order))] if others else []
        parts.append(
            _quantiles(graph, [columns[i] for i in ranked], graph.take(x, ranked, len(order)))
        )
        x, order = graph.concat(parts), others + ranked
    bounded = [columns[index].smooth_clip for index in order]
    if any(bound is not None for bound in bounded):
        x = _smooth_clip(graph, x, [bound or _UNBOUNDED for bound in bounded])
    return graph.cast(x, "float32"), tuple(starts[index] for index in order)


def _smooth_clip(graph: Graph, x: str, bounds: Sequence[float]) -> str:
    bound = _row(graph, bounds)
    ratio = graph.node("Div", x, bound)
    ratio = graph.node("Max", ratio, graph.constant(-_LARGEST_RATIO, "float64"))
    ratio = graph.node("Min", ratio, graph.constant(_LARGEST_RATIO, "float64"))
    square = graph.node("Mul", ratio, ratio)
    length = graph.node("Sqrt", graph.node("Add", square, graph.constant(1.0, "float64")))
    return graph.node("Mul", graph.node("Div", ratio, length), bound)


def _quantiles(graph: Graph, columns: Sequence[NumericColumn], x: str) -> str:
    """Interpolate the quantile scores at x, (rows, k), like `numpy.interp`."""
    grids = [column.quantiles for column in columns]
    points = [(np.array(g.values), np.array(g.scores)) for g in grids if g is not None]
    x = graph.node("Max", x, _row(graph, [values[0] for values, _ in points]))
    x = graph.node("Min", x, _row(graph, [values[-1] for values, _ in points]))
    places = graph.cast(_interval(graph, [values[1:-1] for values, _ in points], x), "int64")
    counts = [max(1, len(values) - 1) for values, _ in points]
    offsets = np.cumsum([0, *counts[:-1]])
    if offsets.any():
        places = graph.node("Add", places, _row(graph, offsets, "int64"))
    # A grid of a single value has no interval, and a slope of 0.
    slopes = [
        np.diff(scores) / np.diff(values) if len(values) > 1 else np.zeros(1)
        for values, scores in points
    ]
    firsts, bases = (
        np.concatenate([point[part][:count] for point, count in zip(points, counts, strict=True)])
        for part in (0, 1)
    )
    first, base, slope = (
        graph.node("Gather", graph.constant(table, "float64"), places)
        for table in (firsts, bases, np.concatenate(slopes))
    )
    return graph.node("Add", graph.node("Mul", graph.node("Sub", x, first), slope), base)


def _interval(graph: Graph, thresholds: Sequence[Any], x: str) -> str:
    """Return how many of the increasing thresholds of each column are at most x, float32.

    As a decision tree for each column: a search by halves, in one operator.
    """
    trees = _Trees()
    for column, values in enumerate(thresholds):
        trees.add(column, values)
    return graph.node("TreeEnsembleRegressor", x, domain=ML, **trees.attributes(len(thresholds)))


class _Trees:
    """Trees that find the interval of a number, as attributes of `TreeEnsembleRegressor`."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, int, int, str, float, int, int]] = []
        self._leaves: list[tuple[int, int, int, float]] = []

    def add(self, column: int, values: Sequence[float]) -> None:
        """Add the tree of a column."""
        ids = iter(range(2 * len(values) + 1))
        # The root has the id 0; (id, first interval, last interval) are still to be split.
        pending = [(next(ids), 0, len(values))]
        while pending:
            node, low, high = pending.pop()
            if low == high:
                self._nodes.append((column, node, column, "LEAF", 0.0, 0, 0))
                self._leaves.append((column, node, column, float(low)))
                continue
            middle = (low + high) // 2
            left, right = next(ids), next(ids)
            self._nodes.append(
                (column, node, column, "BRANCH_LT", float(values[middle]), left, right)
            )
            pending += [(left, low, middle), (right, middle + 1, high)]

    def attributes(self, columns: int) -> dict[str, Any]:
        from onnx import numpy_helper

        nodes, leaves = sorted(self._nodes), sorted(self._leaves)
        trees, ids, features, modes, values, lower, upper = zip(*nodes, strict=True)
        leaf_trees, leaf_ids, targets, weights = zip(*leaves, strict=True)

        def doubles(numbers: Sequence[float]) -> Any:
            return numpy_helper.from_array(np.array(numbers, np.float64))

        return {
            "n_targets": columns,
            "nodes_treeids": trees,
            "nodes_nodeids": ids,
            "nodes_featureids": features,
            "nodes_modes": modes,
            "nodes_values_as_tensor": doubles(values),
            "nodes_truenodeids": lower,
            "nodes_falsenodeids": upper,
            "target_treeids": leaf_trees,
            "target_nodeids": leaf_ids,
            "target_ids": targets,
            "target_weights_as_tensor": doubles(weights),
        }


def _bins(
    graph: Graph, columns: Sequence[NumericColumn], starts: Sequence[int], values: str, missing: str
) -> Block:
    """Return the inputs of piecewise-linear bins; see `trainer.data.piecewise`."""
    means: list[float] = []
    sources, lows, widths, places = [], [], [], []
    for index, column in enumerate(columns):
        if column.piecewise is None:
            continue
        first = starts[index] + 1 + column.indicator
        for bin_number, (low, high) in enumerate(pairwise(column.piecewise.edges)):
            sources.append(index)
            lows.append(low)
            widths.append(1 / (high - low))
            places.append(first + bin_number)
        means += column.piecewise.means
    gathered = graph.take(values, sources, len(columns))
    share = graph.node("Mul", graph.node("Sub", gathered, _row(graph, lows)), _row(graph, widths))
    share = graph.node("Max", share, graph.constant(0.0, "float64"))
    share = graph.node("Min", share, graph.constant(1.0, "float64"))
    share = graph.node("Sub", share, _row(graph, means))
    unknown = graph.take(missing, sources, len(columns))
    share = graph.node("Where", unknown, graph.constant(0.0, "float64"), share)
    return Block(graph.cast(share, "float32"), tuple(places))


def _row(graph: Graph, values: Sequence[float] | Any, dtype: str = "float64") -> str:
    """Return a constant with a value for each column."""
    return graph.constant(np.asarray(values).reshape(1, -1), dtype)

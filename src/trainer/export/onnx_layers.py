"""Keras layers as ONNX operators: dense layers, normalization, embeddings, shapes.

Each function takes the graph, the layer and the tensors that it is called with, and returns its output.
Layers that do nothing outside training return their input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from trainer.export.keras_files import KerasLayer
from trainer.export.onnx_activations import activate
from trainer.export.onnx_graph import Graph, Tensor

Converter = Callable[[Graph, KerasLayer, Sequence[Tensor]], Tensor]


def apply_activation(graph: Graph, layer: KerasLayer, x: str) -> str:
    """Apply the activation function of a layer."""
    return activate(graph, activation_name(layer.config["activation"]), x)


def activation_name(value: Any) -> str:
    """Return the name of an activation function in the config of a layer.

    Raises:
        KeyError: It is no function of Keras.
    """
    match value:
        case str():
            return value
        case {"registered_name": str(name)} | {"class_name": "function", "config": str(name)}:
            return name
    raise KeyError(str(value))


def dense(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    kernel, *bias = layer.weights
    shape = (*x.shape[:-1], kernel.shape[1])
    if len(x.shape) == 1:
        output = graph.node("Gemm", x.name, *map(graph.constant, (kernel, *bias)))
    else:
        output = graph.node("MatMul", x.name, graph.constant(kernel))
        if bias:
            output = graph.node("Add", output, graph.constant(bias[0]))
    return Tensor(apply_activation(graph, layer, output), shape)


def einsum_dense(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    equation = str(layer.config["equation"])
    kernel, *bias = layer.weights
    first, second, result = equation.replace("->", ",").split(",")
    if first == result and second == result[-1]:
        output = graph.node("Mul", x.name, graph.constant(kernel))
    else:
        output = graph.node("Einsum", x.name, graph.constant(kernel), equation=equation)
    sizes = dict(zip(second, kernel.shape, strict=True))
    sizes |= dict(zip(first[1:], x.shape, strict=True))
    if bias:
        axes = layer.config["bias_axes"]
        # Axes that the bias lacks have size 1.
        shape = [sizes[axis] if axis in axes else 1 for axis in result[1:]]
        output = graph.node("Add", output, graph.constant(bias[0].reshape(shape)))
    shape = [sizes[axis] for axis in result[1:]]
    return Tensor(apply_activation(graph, layer, output), tuple(shape))


def activation(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    return Tensor(apply_activation(graph, layer, x.name), x.shape)


def relu(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    config = layer.config
    if config["negative_slope"] or config["threshold"]:
        raise KeyError("ReLU with a slope or a threshold")
    output = graph.node("Relu", x.name)
    if config["max_value"] is not None:
        output = graph.node("Min", output, graph.constant(config["max_value"], "float32"))
    return Tensor(output, x.shape)


def leaky_relu(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    slope = float(layer.config["negative_slope"])
    return Tensor(graph.node("LeakyRelu", x.name, alpha=slope), x.shape)


def same(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    return x


def batch_normalization(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    config, weights = layer.config, list(layer.weights)
    _require_last_axis(layer, x)
    gamma = weights.pop(0) if config["scale"] else 1.0
    beta = weights.pop(0) if config["center"] else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance.astype(np.float64) + config["epsilon"])
    offset = beta - mean * factor
    output = graph.node("Mul", x.name, graph.constant(factor, "float32"))
    return Tensor(graph.node("Add", output, graph.constant(offset, "float32")), x.shape)


def layer_normalization(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    _require_last_axis(layer, x)
    weights = list(layer.weights)
    gamma = weights.pop(0) if layer.config["scale"] else np.ones(x.shape[-1], np.float32)
    constants = [graph.constant(array) for array in (gamma, *weights)]
    epsilon = float(layer.config["epsilon"])
    return Tensor(
        graph.node("LayerNormalization", x.name, *constants, axis=-1, epsilon=epsilon), x.shape
    )


def group_normalization(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    _require_last_axis(layer, x)
    *positions, channels = x.shape
    groups = int(layer.config["groups"])
    groups = channels if groups == -1 else groups
    size = channels // groups
    parts = graph.reshape(x.name, [prod(positions), groups, size])
    parts = graph.reshape(graph.node("Transpose", parts, perm=[0, 2, 1, 3]), [groups, -1])
    axes = graph.constant([-1], "int64")
    centered = graph.node("Sub", parts, graph.node("ReduceMean", parts, axes, keepdims=1))
    square = graph.node("Mul", centered, centered)
    variance = graph.node("ReduceMean", square, axes, keepdims=1)
    epsilon = graph.constant(layer.config["epsilon"], "float32")
    std = graph.node("Sqrt", graph.node("Add", variance, epsilon))
    parts = graph.reshape(graph.node("Div", centered, std), [groups, prod(positions), size])
    output = graph.reshape(graph.node("Transpose", parts, perm=[0, 2, 1, 3]), x.shape)
    weights = list(layer.weights)
    if layer.config["scale"]:
        output = graph.node("Mul", output, graph.constant(weights.pop(0)))
    if layer.config["center"]:
        output = graph.node("Add", output, graph.constant(weights.pop(0)))
    return Tensor(output, x.shape)


def unit_normalization(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    _require_last_axis(layer, x)
    square = graph.node("Mul", x.name, x.name)
    total = graph.node("ReduceSum", square, graph.constant([-1], "int64"), keepdims=1)
    # Keras bounds the square of the length by the square of its epsilon.
    total = graph.node("Max", total, graph.constant(1e-24, "float32"))
    return Tensor(graph.node("Div", x.name, graph.node("Sqrt", total)), x.shape)


def rescaling(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    scale, offset = (np.float32(layer.config[name]) for name in ("scale", "offset"))
    output = graph.node("Mul", x.name, graph.constant(scale))
    if np.any(offset):
        output = graph.node("Add", output, graph.constant(offset))
    return Tensor(output, x.shape)


def embedding(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    (table,) = layer.weights
    ids = graph.cast(x.name, "int64")
    output = graph.node("Gather", graph.constant(table), ids, axis=0)
    return Tensor(output, (*x.shape, table.shape[1]))


def flatten(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    shape = (prod(x.shape),)
    return x if x.shape == shape else Tensor(graph.reshape(x.name, shape), shape)


def reshape(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    known = prod(size for size in layer.config["target_shape"] if size != -1)
    shape = tuple(
        prod(x.shape) // known if size == -1 else size for size in layer.config["target_shape"]
    )
    return Tensor(graph.reshape(x.name, shape), shape)


def zero_padding(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    (above, below), (left, right) = layer.config["padding"]
    pads = graph.constant([0, above, left, 0, 0, below, right, 0], "int64")
    height, width, channels = x.shape
    shape = (height + above + below, width + left + right, channels)
    return Tensor(graph.node("Pad", x.name, pads), shape)


def cropping(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    start, end = layer.config["cropping"]
    stop = x.shape[0] - end
    ends = [graph.constant([value], "int64") for value in (start, stop, 1)]
    return Tensor(graph.node("Slice", x.name, *ends), (stop - start, *x.shape[1:]))


def up_sampling(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    height, width, channels = x.shape
    vertical, horizontal = layer.config["size"]
    scales = graph.constant([1, 1, vertical, horizontal], "float32")
    modes = {
        "nearest": {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    mode = modes[layer.config["interpolation"]]
    images = graph.node("Transpose", x.name, perm=[0, 3, 1, 2])
    images = graph.node("Resize", images, "", scales, **mode)
    output = graph.node("Transpose", images, perm=[0, 2, 3, 1])
    return Tensor(output, (height * vertical, width * horizontal, channels))


def add(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    first, *others = inputs
    output = first.name
    for other in others:
        output = graph.node("Add", output, other.name)
    return Tensor(output, first.shape)


def multiply(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    first, *others = inputs
    output, shape = first.name, first.shape
    for other in others:
        output = graph.node("Mul", output, other.name)
        shape = tuple(np.broadcast_shapes(shape, other.shape))
    return Tensor(output, shape)


def minimum(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    first, *others = inputs
    return Tensor(graph.node("Min", first.name, *(x.name for x in others)), first.shape)


def concatenate(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    axis = layer.config["axis"]
    if axis not in (-1, len(inputs[0].shape)):
        raise KeyError(f"Concatenate along axis {axis}")
    output = graph.concat([x.name for x in inputs], axis=-1)
    return Tensor(output, (*inputs[0].shape[:-1], sum(x.shape[-1] for x in inputs)))


def _require_last_axis(layer: KerasLayer, x: Tensor) -> None:
    axis = layer.config["axis"]
    axes = [axis] if isinstance(axis, int) else list(axis)
    if axes not in ([-1], [len(x.shape)]):
        raise KeyError(f"{layer.kind} along axis {axis}")


LAYERS: Mapping[str, Converter] = {
    "Dense": dense,
    "EinsumDense": einsum_dense,
    "Activation": activation,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "Dropout": same,
    "SpatialDropout1D": same,
    "SpatialDropout2D": same,
    "GaussianNoise": same,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "UnitNormalization": unit_normalization,
    "Rescaling": rescaling,
    "Embedding": embedding,
    "Flatten": flatten,
    "Reshape": reshape,
    "ZeroPadding2D": zero_padding,
    "Cropping1D": cropping,
    "UpSampling2D": up_sampling,
    "Add": add,
    "Multiply": multiply,
    "Minimum": minimum,
    "Concatenate": concatenate,
}
"""Class in `keras.layers` → the function."""

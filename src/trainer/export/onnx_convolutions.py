"""Keras convolutions and pooling as ONNX operators, which have the channels before the positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.export.keras_files import KerasLayer
from trainer.export.onnx_graph import Graph, Tensor
from trainer.export.onnx_layers import Converter, apply_activation


def convolution(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    kernel, *bias = layer.weights
    axes = kernel.ndim - 2
    # (*window, inputs, outputs) → (outputs, inputs, *window)
    arranged = np.moveaxis(kernel, (-1, -2), (0, 1))
    return _convolved(graph, layer, x, arranged, bias, groups=layer.config["groups"], axes=axes)


def depthwise(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    kernel, *bias = layer.weights
    return _convolved(graph, layer, x, _depthwise(kernel), bias, groups=x.shape[-1], axes=2)


def separable(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    kernel, pointwise, *bias = layer.weights
    images = _channels_first(graph, x)
    sizes, attributes = _window_attributes(layer.config, kernel.shape[:2], x.shape[:-1])
    images = graph.node(
        "Conv", images, graph.constant(_depthwise(kernel)), group=x.shape[-1], **attributes
    )
    across = np.ascontiguousarray(np.moveaxis(pointwise, (-1, -2), (0, 1)))
    images = graph.node("Conv", images, *map(graph.constant, (across, *bias)))
    return _channels_last(graph, layer, images, (*sizes, pointwise.shape[-1]))


def transposed(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """Return a transposed convolution, whose margins are those of the convolution that it inverts."""
    (x,) = inputs
    config = layer.config
    kernel, *bias = layer.weights
    if config.get("output_padding") is not None or set(config["dilation_rate"]) != {1}:
        raise KeyError("Conv2DTranspose with dilation or an output padding")
    strides = config["strides"]
    before, after, added, sizes = [], [], [], []
    for size, window, stride in zip(x.shape[:-1], kernel.shape[:2], strides, strict=True):
        surplus = max(window - stride, 0)
        margin = surplus if config["padding"] == "same" else 0
        before.append(margin // 2)
        after.append(margin - margin // 2)
        added.append(max(stride - window, 0))
        sizes.append(size * stride + surplus - margin)
    # (*window, outputs, inputs) → (inputs, outputs, *window)
    arranged = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
    images = graph.node(
        "ConvTranspose",
        _channels_first(graph, x),
        *map(graph.constant, (arranged, *bias)),
        strides=list(strides),
        pads=[*before, *after],
        output_padding=added,
    )
    return _channels_last(graph, layer, images, (*sizes, kernel.shape[2]))


def pooling(kind: str) -> Converter:
    """Return the function for a pooling operator."""

    def pool(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
        (x,) = inputs
        window = tuple(np.atleast_1d(layer.config["pool_size"]).tolist())
        sizes, attributes = _window_attributes(layer.config, window, x.shape[:-1])
        attributes.pop("dilations")
        images = graph.node(
            kind, _channels_first(graph, x), kernel_shape=list(window), **attributes
        )
        return _channels_last(graph, None, images, (*sizes, x.shape[-1]))

    return pool


def global_pooling(kind: str) -> Converter:
    """Return the function for a reduction over all positions."""

    def pool(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
        x, *masks = inputs
        axes = graph.constant(list(range(1, len(x.shape))), "int64")
        kept = bool(layer.config["keepdims"])
        if masks:
            if kept or kind != "ReduceMean" or len(x.shape) != 2:
                raise KeyError("a mask")
            return _masked_mean(graph, x, masks[0])
        output = graph.node(kind, x.name, axes, keepdims=int(kept))
        shape = (*(1,) * (len(x.shape) - 1), x.shape[-1]) if kept else x.shape[-1:]
        return Tensor(output, shape)

    return pool


def _masked_mean(graph: Graph, x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the positions of a mask, (rows, positions)."""
    axes = graph.constant([1], "int64")
    counts = graph.cast(graph.cast(mask.name, "bool"), "float32")
    counts = graph.node("Unsqueeze", counts, graph.constant([2], "int64"))
    total = graph.node("ReduceSum", graph.node("Mul", x.name, counts), axes, keepdims=0)
    number = graph.node("ReduceSum", counts, axes, keepdims=0)
    return Tensor(graph.node("Div", total, number), x.shape[-1:])


def _convolved(
    graph: Graph,
    layer: KerasLayer,
    x: Tensor,
    kernel: NDArray[Any],
    bias: Sequence[NDArray[Any]],
    *,
    groups: int,
    axes: int,
) -> Tensor:
    sizes, attributes = _window_attributes(layer.config, kernel.shape[-axes:], x.shape[:-1])
    constants = [graph.constant(np.ascontiguousarray(kernel)), *map(graph.constant, bias)]
    images = graph.node("Conv", _channels_first(graph, x), *constants, group=groups, **attributes)
    return _channels_last(graph, layer, images, (*sizes, kernel.shape[0]))


def _depthwise(kernel: NDArray[Any]) -> NDArray[Any]:
    """Return (height, width, channels, multiplier) as (channels · multiplier, 1, height, width)."""
    height, width, channels, multiplier = kernel.shape
    moved = np.moveaxis(kernel, (2, 3), (0, 1))
    return np.ascontiguousarray(moved).reshape(channels * multiplier, 1, height, width)


def _window_attributes(
    config: Mapping[str, Any], window: Sequence[int], sizes: Sequence[int]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the sizes of the output, and strides, dilations and pads of the operator."""
    strides = np.atleast_1d(config["strides"]).tolist()
    dilations = np.atleast_1d(config.get("dilation_rate", [1] * len(window))).tolist()
    before, after, outputs = [], [], []
    for size, extent, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        reach = dilation * (extent - 1) + 1
        if config["padding"] == "same":
            output = -(-size // stride)
            missing = max((output - 1) * stride + reach - size, 0)
        elif config["padding"] == "valid":
            output, missing = (size - reach) // stride + 1, 0
        else:
            raise KeyError(f"padding {config['padding']}")
        outputs.append(output)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    attributes = {"strides": strides, "dilations": dilations, "pads": [*before, *after]}
    return tuple(outputs), attributes


def _channels_first(graph: Graph, x: Tensor) -> str:
    axes = len(x.shape)
    return graph.node("Transpose", x.name, perm=[0, axes, *range(1, axes)])


def _channels_last(
    graph: Graph, layer: KerasLayer | None, images: str, shape: tuple[int, ...]
) -> Tensor:
    """Return the output with its channels last; the activation function of a layer is applied."""
    axes = len(shape)
    if layer is None:
        return Tensor(graph.node("Transpose", images, perm=[0, *range(2, axes + 1), 1]), shape)
    by_channel = layer.config["activation"] in ("softmax", "log_softmax")
    if not by_channel:
        images = apply_activation(graph, layer, images)
    output = graph.node("Transpose", images, perm=[0, *range(2, axes + 1), 1])
    return Tensor(apply_activation(graph, layer, output) if by_channel else output, shape)


CONVOLUTIONS: Mapping[str, Converter] = {
    "Conv1D": convolution,
    "Conv2D": convolution,
    "DepthwiseConv2D": depthwise,
    "SeparableConv2D": separable,
    "Conv2DTranspose": transposed,
    "MaxPooling1D": pooling("MaxPool"),
    "MaxPooling2D": pooling("MaxPool"),
    "AveragePooling1D": pooling("AveragePool"),
    "AveragePooling2D": pooling("AveragePool"),
    "GlobalMaxPooling1D": global_pooling("ReduceMax"),
    "GlobalMaxPooling2D": global_pooling("ReduceMax"),
    "GlobalAveragePooling1D": global_pooling("ReduceMean"),
    "GlobalAveragePooling2D": global_pooling("ReduceMean"),
}
"""Class in `keras.layers` → the function."""

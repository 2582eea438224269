"""Keras layers of sequences as ONNX operators: recurrent layers and attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.export.keras_files import KerasLayer
from trainer.export.onnx_graph import Graph, Tensor
from trainer.export.onnx_layers import Converter, activation_name

_MASKED = -1e9
"""The score of a masked position."""

_GATES = {"GRU": (0, 1, 2), "LSTM": (0, 3, 1, 2)}
"""Keras orders the gates of an LSTM as input, forget, cell, output; ONNX as input, output, forget, cell.
Those of a GRU have the same order."""


def recurrent(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    direction = "reverse" if layer.config["go_backwards"] else "forward"
    return _recurrent(graph, layer.kind, layer.config, [layer.weights], direction, x)


def bidirectional(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    config = layer.config
    kinds = [config[part]["class_name"] for part in ("layer", "backward_layer")]
    if config["merge_mode"] != "concat" or kinds[0] != kinds[1] or kinds[0] not in _GATES:
        raise KeyError(f"Bidirectional with {kinds} and merge_mode {config['merge_mode']}")
    half = len(layer.weights) // 2
    weights = [layer.weights[:half], layer.weights[half:]]
    return _recurrent(graph, kinds[0], config["layer"]["config"], weights, "bidirectional", x)


def _recurrent(
    graph: Graph,
    kind: str,
    config: Mapping[str, Any],
    weights: Sequence[Sequence[NDArray[Any]]],
    direction: str,
    x: Tensor,
) -> Tensor:
    """Return a recurrent layer.

    Args:
        graph: The graph.
        kind: GRU or LSTM.
        config: The arguments of the layer.
        weights: The weights of each direction: of the input, of the state, bias.
        direction: forward, reverse or bidirectional.
        x: Its input, (steps, channels) for each row.
    """
    functions = [activation_name(config[name]) for name in ("recurrent_activation", "activation")]
    after_product = kind == "GRU" and not config["reset_after"]
    if functions != ["sigmoid", "tanh"] or not config["use_bias"] or after_product:
        raise KeyError(f"{kind} with other settings than trainer's")
    if config["return_sequences"] and direction == "reverse":
        raise KeyError(f"{kind} that returns a sequence from its end to its start")
    units = int(config["units"])
    parts = [_arranged(kind, arrays, units) for arrays in weights]
    kernels = [graph.constant(np.stack([part[index] for part in parts])) for index in range(3)]
    steps = graph.node("Transpose", x.name, perm=[1, 0, 2])
    extra: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    sequences = bool(config["return_sequences"])
    outputs = graph.nodes(
        kind, [steps, *kernels], 2 if kind == "GRU" else 3, used=[0 if sequences else 1],
        hidden_size=units, direction=direction, **extra,
    )  # fmt: skip
    channels = units * len(weights)
    if sequences:
        # (steps, directions, rows, units) → (rows, steps, directions · units)
        states = graph.node("Transpose", outputs[0], perm=[2, 0, 1, 3])
        return Tensor(graph.reshape(states, [x.shape[0], channels]), (x.shape[0], channels))
    states = graph.node("Transpose", outputs[1], perm=[1, 0, 2])
    return Tensor(graph.reshape(states, [channels]), (channels,))


def _arranged(
    kind: str, weights: Sequence[NDArray[Any]], units: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return kernel (gates · units, inputs), that of the state, and both biases, as ONNX has them."""
    kernel, state, bias = weights

    def ordered(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values[gate * units : (gate + 1) * units] for gate in _GATES[kind]])

    # An LSTM has one bias, that of the input.
    biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return ordered(kernel.T), ordered(state.T), np.concatenate([ordered(part) for part in biases])


def attention(graph: Graph, layer: KerasLayer, inputs: Sequence[Tensor]) -> Tensor:
    """Return the attention of a sequence to itself, to the positions of a mask if there is one."""
    x, *masks = inputs
    config = layer.config
    if len(layer.weights) != 8 or config.get("use_gate"):
        raise KeyError("MultiHeadAttention without biases, or with a gate")
    length, width = x.shape
    heads, size = int(config["num_heads"]), int(config["key_dim"])

    def projected(number: int, perm: Sequence[int], factor: float = 1.0) -> str:
        kernel, bias = layer.weights[2 * number : 2 * number + 2]
        values = graph.node("MatMul", x.name, graph.constant(kernel.reshape(width, -1)))
        values = graph.node("Add", values, graph.constant(bias.reshape(-1)))
        if factor != 1.0:
            values = graph.node("Mul", values, graph.constant(factor, "float32"))
        values = graph.reshape(values, [length, heads, kernel.shape[-1]])
        return graph.node("Transpose", values, perm=list(perm))

    query = projected(0, (0, 2, 1, 3), 1 / sqrt(size))
    key, value = projected(1, (0, 2, 3, 1)), projected(2, (0, 2, 1, 3))
    scores = _softmax(graph, graph.node("MatMul", query, key), masks)
    attended = graph.node("Transpose", graph.node("MatMul", scores, value), perm=[0, 2, 1, 3])
    kernel, bias = layer.weights[6:]
    attended = graph.reshape(attended, [length, kernel.shape[0] * kernel.shape[1]])
    kernel = kernel.reshape(-1, kernel.shape[-1])
    output = graph.node("MatMul", attended, graph.constant(kernel))
    return Tensor(graph.node("Add", output, graph.constant(bias)), (length, kernel.shape[-1]))


def _softmax(graph: Graph, scores: str, masks: Sequence[Tensor]) -> str:
    """Return the softmax of scores (rows, heads, length, length); 0 at masked positions, as in Keras."""
    if not masks:
        return graph.node("Softmax", scores, axis=-1)
    (mask,) = masks
    if len(mask.shape) != 2:
        raise KeyError(f"MultiHeadAttention with a mask of {len(mask.shape)} axes")
    counts = graph.cast(graph.node("Unsqueeze", mask.name, graph.constant([1], "int64")), "bool")
    low, zero = (graph.constant(value, "float32") for value in (_MASKED, 0.0))
    weights = graph.node("Softmax", graph.node("Where", counts, scores, low), axis=-1)
    return graph.node("Where", counts, weights, zero)


SEQUENCES: Mapping[str, Converter] = {
    "GRU": recurrent,
    "LSTM": recurrent,
    "Bidirectional": bidirectional,
    "MultiHeadAttention": attention,
}
"""Class in `keras.layers` → the function."""

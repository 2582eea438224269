"""The activation functions of Keras as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from trainer.export.onnx_graph import Graph

_Function = Callable[[Graph, str], str]


def activate(graph: Graph, name: str, x: str) -> str:
    """Apply an activation function to a float32 tensor.

    Raises:
        KeyError: It is none that is known.
    """
    return ACTIVATIONS[name](graph, x)


def _operator(kind: str, **attributes: Any) -> _Function:
    return lambda graph, x: graph.node(kind, x, **attributes)


def _number(graph: Graph, value: float) -> str:
    return graph.constant(value, "float32")


def _clip(graph: Graph, x: str, low: float, high: float) -> str:
    return graph.node("Clip", x, _number(graph, low), _number(graph, high))


def _gelu(graph: Graph, x: str) -> str:
    """Return x · (1 + erf(x / √2)) / 2."""
    erf = graph.node("Erf", graph.node("Mul", x, _number(graph, 1 / sqrt(2))))
    half = graph.node("Mul", x, _number(graph, 0.5))
    return graph.node("Mul", half, graph.node("Add", erf, _number(graph, 1.0)))


def _hard_sigmoid(graph: Graph, x: str) -> str:
    """Return min(max(x + 3, 0), 6) / 6."""
    shifted = _clip(graph, graph.node("Add", x, _number(graph, 3.0)), 0.0, 6.0)
    return graph.node("Div", shifted, _number(graph, 6.0))


def _hard_silu(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, _hard_sigmoid(graph, x))


def _silu(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, graph.node("Sigmoid", x))


def _mish(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x)))


ACTIVATIONS: dict[str, _Function] = {
    "linear": lambda _, x: x,
    "relu": _operator("Relu"),
    "relu6": lambda graph, x: _clip(graph, x, 0.0, 6.0),
    "leaky_relu": _operator("LeakyRelu", alpha=0.2),
    "elu": _operator("Elu", alpha=1.0),
    "celu": _operator("Celu", alpha=1.0),
    "selu": _operator(
        "Selu",
        alpha=float(np.float32(1.6732632423543772)),
        gamma=float(np.float32(1.0507009873554805)),
    ),
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": lambda graph, x: _clip(graph, x, -1.0, 1.0),
    "mish": _mish,
    "sigmoid": _operator("Sigmoid"),
    "tanh": _operator("Tanh"),
    "softplus": _operator("Softplus"),
    "softsign": _operator("Softsign"),
    "exponential": _operator("Exp"),
    "softmax": _operator("Softmax", axis=-1),
    "log_softmax": _operator("LogSoftmax", axis=-1),
}
"""Name in Keras → the function."""

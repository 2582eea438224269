"""Networks as NumPy code: a line for each layer, and the arrays that it reads."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem
from trainer.export.keras_files import KerasLayer, KerasNetwork, TensorRef, tensors_of
from trainer.models.coded_weights import code as code_weight

Array = NDArray[Any]

_SIGMOID = "def sigmoid(x):\n    return 0.5 * (1 + np.tanh(0.5 * x))"
_ERF = '''def erf(x):
    """Return the error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = 1.421413741 + t * (-1.453152027 + t * 1.061405429)
    series = t * (0.254829592 + t * (-0.284496736 + t * series))
    return np.sign(x) * (1 - series * np.exp(-x * x))'''
FUNCTIONS: Mapping[str, Sequence[str]] = {
    "relu": ["def relu(x):\n    return np.maximum(x, 0)"],
    "relu6": ["def relu6(x):\n    return np.clip(x, 0, 6)"],
    "leaky_relu": ["def leaky_relu(x):\n    return np.where(x > 0, x, 0.2 * x)"],
    "elu": ["def elu(x):\n    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))"],
    "celu": ["def celu(x):\n    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))"],
    "selu": [
        "def selu(x):\n    negative = 1.6732632423543772 * np.expm1(np.minimum(x, 0))\n"
        "    return 1.0507009873554805 * np.where(x > 0, x, negative)"
    ],
    "gelu": [_ERF, "def gelu(x):\n    return 0.5 * x * (1 + erf(x * 0.7071067811865476))"],
    "silu": [_SIGMOID, "def silu(x):\n    return x * sigmoid(x)"],
    "swish": [_SIGMOID, "def swish(x):\n    return x * sigmoid(x)"],
    "hard_sigmoid": ["def hard_sigmoid(x):\n    return np.clip(x + 3, 0, 6) / 6"],
    "hard_silu": ["def hard_silu(x):\n    return x * np.clip(x + 3, 0, 6) / 6"],
    "hard_tanh": ["def hard_tanh(x):\n    return np.clip(x, -1, 1)"],
    "mish": ["def mish(x):\n    return x * np.tanh(np.logaddexp(x, 0))"],
    "sigmoid": [_SIGMOID],
    "tanh": ["tanh = np.tanh"],
    "softplus": ["def softplus(x):\n    return np.logaddexp(x, 0)"],
    "softsign": ["def softsign(x):\n    return x / (1 + np.abs(x))"],
    "exponential": ["exponential = np.exp"],
    "softmax": [
        "def softmax(x):\n    powers = np.exp(x - x.max(axis=-1, keepdims=True))\n"
        "    return powers / powers.sum(axis=-1, keepdims=True)"
    ],
    "log_softmax": [
        "def log_softmax(x):\n    x = x - x.max(axis=-1, keepdims=True)\n"
        "    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))"
    ],
}
"""Activation function in Keras → the functions that define it."""

_IDENTITIES = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise")
_NESTED = ("Functional", "Sequential")


class UnsupportedLayerError(Exception):
    """A layer has settings for which there is no code."""


@dataclass
class NetworkCode:
    """The body of the function of a network.

    Attributes:
        lines: Its lines; they read the inputs from `inputs` and the weights from `w`.
        weights: Path of a weight in the file → its array; of a compressed one, a path for each part
            (`trainer.models.coded_weights`).
        functions: The activation functions that it calls.
        names: Layer and role of each weight.
        output: The variable with its output.
    """

    lines: list[str] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    functions: dict[str, None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    output: str = ""

    def weight(self, layer: KerasLayer, role: str, array: Array) -> str:
        """Add a weight and return the code that reads it."""
        name = f"{layer.name}/{role}"
        if name in self.names:
            raise UnsupportedLayerError(f"two layers named '{layer.name}'")
        self.names.add(name)
        values = np.asarray(array)
        parts = code_weight(values)
        if parts is None:
            self.weights[name] = values
        else:
            self.weights |= {f"{name}/{part}": values for part, values in parts.items()}
        return f'w["{layer.name}"]["{role}"]'

    def activated(self, layer: KerasLayer, code: str) -> str:
        """Return code that applies the activation function of a layer."""
        name = _activation_name(layer.config["activation"])
        if name == "linear":
            return code
        if name not in FUNCTIONS:
            raise UnsupportedLayerError(f"the activation function '{name}'")
        self.functions[name] = None
        return f"{name}({code})"


def layer_problems(network: KerasNetwork, where: str) -> list[Problem]:
    """Return a problem for each layer that has no code."""
    return [
        Problem(
            where,
            "layers of networks on tables, which the module of numpy computes",
            f"a layer '{layer.name}' of class {layer.kind}",
            "use another format, such as onnx",
        )
        for layer in network.layers()
        if layer.kind not in (*_LAYERS, *_IDENTITIES, *_NESTED)
    ]


def network_code(network: KerasNetwork, only_input: str) -> NetworkCode:
    """Return the code of a network.

    Args:
        network: The network.
        only_input: Name of the input if there is one, which has another name in the network.

    Raises:
        UnsupportedLayerError: A layer has settings for which there is no code.
    """
    code = NetworkCode()
    names = list(network.inputs)
    variables = {}
    for name in names:
        key = only_input if len(names) == 1 else name
        variables[name, 0] = _variable(key)
        code.lines.append(f'{_variable(key)} = inputs["{key}"]')
    code.output = _add_calls(code, network, variables)
    return code


def _add_calls(
    code: NetworkCode, network: KerasNetwork, variables: dict[tuple[str, int], str]
) -> str:
    """Add the calls of a network whose inputs are in variables; return the variable of its output."""
    for call in network.calls:
        layer = call.layer
        inputs = [variables[item.layer, item.node] for item in tensors_of(call.inputs)]
        if layer.kind in _IDENTITIES:
            variables[layer.name, call.node] = inputs[0]
        elif layer.network is not None:
            if call.node:
                raise UnsupportedLayerError(f"a block '{layer.name}' that is called twice")
            inner = _inner_inputs(layer.network, call.inputs, variables)
            variables[layer.name, call.node] = _add_calls(code, layer.network, inner)
        else:
            if call.node:
                raise UnsupportedLayerError(f"a layer '{layer.name}' that is called twice")
            name = _variable(layer.name)
            expression = _LAYERS[layer.kind](code, layer, inputs)
            code.lines.append(f"{name} = {expression}")
            variables[layer.name, call.node] = name
    return variables[network.output.layer, network.output.node]


def _inner_inputs(
    network: KerasNetwork, called: Any, variables: Mapping[tuple[str, int], str]
) -> dict[tuple[str, int], str]:
    """Return the variables of the inputs of a network inside another one."""
    if isinstance(called, dict):
        pairs = [(name, called[name]) for name in network.inputs]
    else:
        given = [called] if isinstance(called, TensorRef) else list(called)
        pairs = list(zip(network.inputs, given, strict=True))
    return {(name, 0): variables[item.layer, item.node] for name, item in pairs}


def _variable(name: str) -> str:
    """Return the name of a layer or input as that of a variable."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    reserved = keyword.iskeyword(text) or text in ("np", "w", "inputs", *FUNCTIONS)
    return f"x_{text}" if reserved or not text.isidentifier() else text


def _activation_name(value: Any) -> str:
    match value:
        case str():
            return value
        case {"registered_name": str(name)} | {"class_name": "function", "config": str(name)}:
            return name
    raise UnsupportedLayerError(f"the activation function {value!r}")


def _dense(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    kernel, *bias = layer.weights
    text = f"{inputs[0]} @ {code.weight(layer, 'kernel', kernel)}"
    if bias:
        text += f" + {code.weight(layer, 'bias', bias[0])}"
    return code.activated(layer, text)


def _einsum_dense(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    if len(layer.weights) > 1:
        raise UnsupportedLayerError(f"'{layer.name}', an EinsumDense with a bias")
    kernel = code.weight(layer, "kernel", layer.weights[0])
    return code.activated(layer, f'np.einsum("{layer.config["equation"]}", {inputs[0]}, {kernel})')


def _activation(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    return code.activated(layer, inputs[0])


def _batch_normalization(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    _require_last_axis(layer)
    weights = [array.astype(np.float64) for array in layer.weights]
    gamma: Any = weights.pop(0) if layer.config["scale"] else 1.0
    beta: Any = weights.pop(0) if layer.config["center"] else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance + layer.config["epsilon"])
    factors = code.weight(layer, "factor", factor.astype(np.float32))
    offsets = code.weight(layer, "offset", (beta - mean * factor).astype(np.float32))
    return f"{inputs[0]} * {factors} + {offsets}"


def _layer_normalization(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    _require_last_axis(layer)
    weights = list(layer.weights)
    x = inputs[0]
    code.lines.append(f"centered = {x} - {x}.mean(axis=-1, keepdims=True)")
    variance = "np.square(centered).mean(axis=-1, keepdims=True)"
    text = f"centered / np.sqrt({variance} + {layer.config['epsilon']!r})"
    if layer.config["scale"]:
        text += f" * {code.weight(layer, 'gamma', weights.pop(0))}"
    if layer.config["center"]:
        text += f" + {code.weight(layer, 'beta', weights.pop(0))}"
    return text


def _unit_normalization(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    _require_last_axis(layer)
    x = inputs[0]
    return f"{x} / np.maximum(np.linalg.norm({x}, axis=-1, keepdims=True), 1e-12)"


def _rescaling(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    scale, offset = layer.config["scale"], layer.config["offset"]
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        raise UnsupportedLayerError(f"'{layer.name}', a Rescaling by channel")
    return f"{inputs[0]} * {float(scale)!r}" + (f" + {float(offset)!r}" if offset else "")


def _flatten(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    return f"{inputs[0]}.reshape(len({inputs[0]}), -1)"


def _reshape(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    sizes = ", ".join(map(str, layer.config["target_shape"]))
    return f"{inputs[0]}.reshape(len({inputs[0]}), {sizes})"


def _embedding(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    table = code.weight(layer, "vectors", layer.weights[0])
    return f"{table}[{inputs[0]}.astype(np.int64)]"


def _cropping(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    first, last = layer.config["cropping"]
    return f"{inputs[0]}[:, {first}:{inputs[0]}.shape[1] - {last}]"


def _permute(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    axes = ", ".join(map(str, layer.config["dims"]))
    return f"{inputs[0]}.transpose(0, {axes})"


def _dot(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    if layer.config["axes"] not in (1, [1, 1]) or layer.config["normalize"]:
        raise UnsupportedLayerError(f"'{layer.name}', a Dot of other axes")
    return f'np.einsum("ns,nsd->nd", {inputs[0]}, {inputs[1]})'


def _add(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    return " + ".join(inputs)


def _multiply(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    return " * ".join(inputs)


def _concatenate(code: NetworkCode, layer: KerasLayer, inputs: Sequence[str]) -> str:
    return f"np.concatenate([{', '.join(inputs)}], axis={layer.config['axis']})"


def _require_last_axis(layer: KerasLayer) -> None:
    axis = layer.config["axis"]
    if axis not in (-1, [-1], 1, [1]):
        raise UnsupportedLayerError(f"'{layer.name}', a {layer.kind} along axis {axis}")


_LAYERS: Mapping[str, Callable[[NetworkCode, KerasLayer, Sequence[str]], str]] = {
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "Activation": _activation,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "UnitNormalization": _unit_normalization,
    "Rescaling": _rescaling,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Embedding": _embedding,
    "Cropping1D": _cropping,
    "Permute": _permute,
    "Dot": _dot,
    "Add": _add,
    "Multiply": _multiply,
    "Concatenate": _concatenate,
}
"""Class in `keras.layers` → the function that adds a layer."""

"""Summary of a network, without Keras: names, output shapes, parameters and memory of its layers.

`trainer.models.network` builds the network with these layers and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import assert_never

from trainer.config.layers import (
    ActivationLayer,
    AnyLayer,
    BatchNormalizationLayer,
    CustomLayer,
    Dense,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    HeadKind,
    Initializer,
    LayerNormalizationLayer,
    Model,
    Orthogonal,
    ReshapeLayer,
)
from trainer.config.optimizers import (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AnyOptimizer,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    RmsProp,
    ScheduleFreeAdamW,
    Sgd,
)
from trainer.config.sections import single_key
from trainer.errors import ConfigError, Problem

Shape = tuple[int, ...]

EMBEDDINGS = "embeddings"
HEAD = "head"
WEIGHT_BYTES = 4
"""Weights are float32 under every dtype policy."""


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """Summary of one layer.

    Attributes:
        name: Unique name of the layer in the network.
        kind: `embeddings`, `head`, or the kind of the layer in the config.
        output_shape: Output shape for one sample; None after a custom layer.
        parameters: Number of weights, trainable or not; None if unknown.
        trainable: Number of trainable weights; None if unknown.
        trainable_shapes: Shapes of the trainable variables; None if unknown.
    """

    name: str
    kind: str
    output_shape: Shape | None
    parameters: int | None
    trainable: int | None
    trainable_shapes: tuple[Shape, ...] | None


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Memory of a network in bytes, without data and activations.

    Attributes:
        weights: All weights.
        gradients: Gradients of the trainable weights.
        optimizer: Optimizer variables, moving averages and accumulated gradients, without scalars.
    """

    weights: int
    gradients: int
    optimizer: int


def layer_names(layers: Sequence[AnyLayer]) -> tuple[str, ...]:
    """Return the names of the hidden layers: `dense`, `dense_1`, …"""
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        kind = layer_kind(layer)
        count = seen.get(kind, 0)
        names.append(f"{kind}_{count}" if count else kind)
        seen[kind] = count + 1
    return tuple(names)


def layer_kind(layer: AnyLayer) -> str:
    """Return the kind of a layer in the config: its only key."""
    kind = single_key(layer)
    assert kind is not None
    return kind


def summarize_layers(
    model: Model, width: int, embeddings: Sequence[tuple[int, int]], head: HeadKind, outputs: int
) -> tuple[LayerSummary, ...]:
    """Summarize the layers of the network in order: embeddings if any, hidden layers, output layer.

    Args:
        model: The `model` section.
        width: Columns of the input, including the ids of embedded columns.
        embeddings: (levels, dimension) of each embedded column; their ids are the last columns.
        head: Kind of the output layer, never `auto`.
        outputs: Units of the output layer.

    Raises:
        ConfigError: The network cannot be built (shapes, bias initializers); lists all problems.
    """
    problems: list[Problem] = []
    layers: list[LayerSummary] = []
    shape: Shape | None = (width,)
    if embeddings:
        shape = (width - len(embeddings) + sum(dimension for _, dimension in embeddings),)
        layers.append(_summary(EMBEDDINGS, EMBEDDINGS, shape, tuple(embeddings)))
    for index, (name, layer) in enumerate(
        zip(layer_names(model.layers), model.layers, strict=True)
    ):
        kind = layer_kind(layer)
        result = _summarize_layer(layer, shape, f"model.layers.{index}.{kind}")
        problems.extend(result.problems)
        shape = result.shape
        layers.append(_summary(name, kind, shape, result.weights, result.non_trainable))
    if shape is not None and len(shape) != 1:
        problems.append(
            Problem(
                where="",
                expected="one axis before the output layer",
                found=f"samples of shape {_text(shape)}",
                fix="add `- flatten` as the last layer",
                key=f"model.layers.{len(model.layers) - 1}",
            )
        )
        shape = None
    kernel = None if shape is None else ((*shape, outputs), (outputs,))
    layers.append(_summary(HEAD, HEAD, (outputs,), kernel))
    if problems:
        raise ConfigError(problems)
    return tuple(layers)


def estimate_memory(
    layers: Sequence[LayerSummary], optimizer: AnyOptimizer
) -> MemoryEstimate | None:
    """Estimate the bytes of weights, gradients and optimizer variables; None with a custom layer."""
    parameters = 0
    trainable = 0
    slots = 0
    for layer in layers:
        if layer.parameters is None or layer.trainable is None or layer.trainable_shapes is None:
            return None
        parameters += layer.parameters
        trainable += layer.trainable
        for shape in layer.trainable_shapes:
            slots += slot_elements(optimizer, shape, embedded=layer.kind == EMBEDDINGS)
    return MemoryEstimate(
        weights=WEIGHT_BYTES * parameters,
        gradients=WEIGHT_BYTES * trainable,
        optimizer=WEIGHT_BYTES * slots,
    )


def slot_elements(optimizer: AnyOptimizer, shape: Shape, *, embedded: bool = False) -> int:
    """Return the number of elements that an optimizer stores for one variable.

    Args:
        optimizer: The `optimizer` section.
        shape: Shape of the variable.
        embedded: Whether it is an embedding table, for which Muon uses Adam.
    """
    size = prod(shape)
    shared = (optimizer.ema is not None) + (optimizer.gradient_accumulation_steps is not None)
    return shared * size + _own_elements(optimizer, shape, size, embedded=embedded)


def _own_elements(optimizer: AnyOptimizer, shape: Shape, size: int, *, embedded: bool) -> int:
    match optimizer:
        case Sgd():
            return size * (optimizer.momentum > 0)
        case RmsProp():
            return size * (1 + (optimizer.momentum > 0) + optimizer.centered)
        case Adam() | AdamW():
            return size * (2 + optimizer.amsgrad)
        case Adamax() | Nadam() | Lamb() | ScheduleFreeAdamW() | Adadelta() | Ftrl():
            return 2 * size
        case Adagrad() | Lion():
            return size
        case Adafactor():
            # Row and column means of matrices, and the outer product of both.
            factors = prod(shape[:-1]) + prod(shape[:-2]) * shape[-1] if len(shape) > 1 else 0
            return size + factors
        case Muon():
            return size if len(shape) == 2 and not embedded else 2 * size
        case _:
            assert_never(optimizer)


@dataclass(frozen=True, slots=True)
class _LayerShape:
    """Output shape and weights of a layer; None if unknown."""

    shape: Shape | None
    weights: tuple[Shape, ...] | None = ()
    non_trainable: int = 0
    problems: tuple[Problem, ...] = ()


def _summarize_layer(layer: AnyLayer, shape: Shape | None, key: str) -> _LayerShape:
    match layer:
        case DenseLayer(dense=dense):
            problems = tuple(_bias_problems(dense, key))
            if shape is None:
                return _LayerShape(None, None, problems=problems)
            bias = ((dense.units,),) if dense.use_bias else ()
            kernel = (shape[-1], dense.units)
            return _LayerShape((*shape[:-1], dense.units), (kernel, *bias), problems=problems)
        case ActivationLayer() | DropoutLayer() | GaussianNoiseLayer():
            return _LayerShape(shape)
        case BatchNormalizationLayer(batch_normalization=normalization):
            if shape is None:
                return _LayerShape(None, None)
            trainable = (shape[-1:],) * (normalization.center + normalization.scale)
            return _LayerShape(shape, trainable, non_trainable=2 * shape[-1])
        case LayerNormalizationLayer(layer_normalization=normalization):
            if shape is None:
                return _LayerShape(None, None)
            return _LayerShape(shape, (shape[-1:],) * (normalization.center + normalization.scale))
        case FlattenLayer():
            return _LayerShape(None if shape is None else (prod(shape),))
        case ReshapeLayer(reshape=reshape):
            return _summarize_reshape(tuple(reshape.shape), shape, key)
        case CustomLayer():
            return _LayerShape(None, None)
        case _:
            assert_never(layer)


def _summarize_reshape(target: Shape, shape: Shape | None, key: str) -> _LayerShape:
    if target.count(-1) > 1 or any(axis < 1 and axis != -1 for axis in target):
        problem = Problem(
            where="",
            expected="axes of at least 1, at most one of them -1",
            found=_text(target),
            key=f"{key}.shape",
        )
        return _LayerShape(None, problems=(problem,))
    if shape is None:
        return _LayerShape(None)
    size, known = prod(shape), prod(axis for axis in target if axis != -1)
    if size % known if -1 in target else size != known:
        problem = Problem(
            where="",
            expected=f"a shape with {size} elements, as the previous layer outputs {_text(shape)}",
            found=_text(target),
            fix=f"choose axes whose product is {size}; one of them can be -1",
            key=f"{key}.shape",
        )
        return _LayerShape(None, problems=(problem,))
    return _LayerShape(tuple(size // known if axis == -1 else axis for axis in target))


def _bias_problems(dense: Dense, key: str) -> list[Problem]:
    if not dense.use_bias or not _needs_matrix(dense.bias_initializer):
        return []
    name = dense.bias_initializer
    return [
        Problem(
            where="",
            expected="an initializer for one-dimensional variables",
            found=name if isinstance(name, str) else "orthogonal",
            fix="use zeros, the usual initializer of a bias",
            key=f"{key}.bias_initializer",
        )
    ]


def _needs_matrix(initializer: Initializer) -> bool:
    return isinstance(initializer, Orthogonal) or initializer in ("identity", "orthogonal")


def _summary(
    name: str,
    kind: str,
    shape: Shape | None,
    weights: tuple[Shape, ...] | None,
    non_trainable: int = 0,
) -> LayerSummary:
    if weights is None:
        return LayerSummary(name, kind, shape, None, None, None)
    trainable = sum(prod(weight) for weight in weights)
    return LayerSummary(name, kind, shape, trainable + non_trainable, trainable, weights)


def _text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"

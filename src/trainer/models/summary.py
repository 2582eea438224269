"""Summary of a network, without Keras: names, output shapes, parameters and memory of its layers.

`trainer.models.network` builds the network with these layers and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from trainer.config.layers.base import LayerEntry, Shape, ShapeError, shape_text
from trainer.config.model import HeadKind, Model
from trainer.config.optimizers import AnyOptimizer
from trainer.errors import ConfigError, Problem
from trainer.inputs import CATEGORIES, InputSpec

EMBEDDINGS = "embeddings"
HEAD = "head"
WEIGHT_BYTES = 4
"""Weights are float32 under every dtype policy."""


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The parts of a network that depend on the data: its inputs and its output layer.

    Attributes:
        inputs: The inputs: one, or features and categories.
        embeddings: (ids, dimension) of each column of the input `categories`.
        head: Kind of the output layer, never `auto`.
        outputs: Units of the output layer.
    """

    inputs: tuple[InputSpec, ...]
    embeddings: tuple[tuple[int, int], ...]
    head: HeadKind
    outputs: int

    @property
    def embedded(self) -> Shape:
        """Shape of a sample after the embeddings: its numbers, then the vector of each category."""
        if not self.embeddings:
            return self.inputs[0].shape
        numbers = sum(prod(spec.shape) for spec in self.inputs if spec.name != CATEGORIES)
        return (numbers + sum(dimension for _, dimension in self.embeddings),)


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


def layer_names(layers: Sequence[LayerEntry]) -> tuple[str, ...]:
    """Return the names of the hidden layers: `dense`, `dense_1`, …"""
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        kind = layer.settings.kind
        count = seen.get(kind, 0)
        names.append(f"{kind}_{count}" if count else kind)
        seen[kind] = count + 1
    return tuple(names)


def summarize_layers(model: Model, network: NetworkShape) -> tuple[LayerSummary, ...]:
    """Summarize the layers of the network in order: embeddings if any, hidden layers, output layer.

    Args:
        model: The `model` section.
        network: Its inputs and its output layer.

    Raises:
        ConfigError: A layer cannot follow the previous one; lists all problems.
    """
    problems: list[Problem] = []
    layers: list[LayerSummary] = []
    shape: Shape | None = network.embedded
    if network.embeddings:
        layers.append(_summary(EMBEDDINGS, EMBEDDINGS, shape, network.embeddings))
    for index, (name, layer) in enumerate(
        zip(layer_names(model.layers), model.layers, strict=True)
    ):
        try:
            summary = _summarize(layer, name, shape)
        except ShapeError as error:
            setting = f".{error.setting}" if error.setting else ""
            key = f"model.layers.{index}.{layer.settings.kind}{setting}"
            problems.append(Problem("", error.expected, error.found, error.fix, key))
            summary = _summarize(layer, name, None)
        layers.append(summary)
        shape = summary.output_shape
    if shape is not None and len(shape) != 1:
        problems.append(
            Problem(
                where="",
                expected="one axis before the output layer",
                found=f"samples of shape {shape_text(shape)}",
                fix="add `- flatten` as the last layer",
                key=f"model.layers.{len(model.layers) - 1}",
            )
        )
        shape = None
    bias = (network.outputs,)
    kernel = None if shape is None else ((*shape, *bias), bias)
    layers.append(_summary(HEAD, HEAD, bias, kernel))
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
    shared = (optimizer.ema is not None) + (optimizer.gradient_accumulation_steps is not None)
    return shared * prod(shape) + optimizer.slots(shape, embedded=embedded)


def _summarize(layer: LayerEntry, name: str, shape: Shape | None) -> LayerSummary:
    settings = layer.settings
    if shape is None:
        return _summary(name, settings.kind, None, None)
    return _summary(
        name,
        settings.kind,
        settings.output_shape(shape),
        settings.trainable_shapes(shape),
        settings.non_trainable(shape),
    )


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

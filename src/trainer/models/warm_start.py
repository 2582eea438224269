"""Weights of a former run for a new network, layer by layer.

Owns: which layer takes its weights from which. Does not own: opening the former run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerTransfer:
    """What became of one layer that has weights; `str()` is a line for the user.

    Attributes:
        name: The layer of the new network.
        source: The layer whose weights it has now; None when it keeps its own.
        reason: Why it keeps its own; empty when taken.
    """

    name: str
    source: str | None
    reason: str = ""

    def __str__(self) -> str:
        if self.source is None:
            return f"{self.name}: not taken, {self.reason}"
        return f"{self.name}: taken" + ("" if self.source == self.name else f" from {self.source}")


def transfer_weights(network: keras.Model, source: keras.Model) -> tuple[LayerTransfer, ...]:
    """Copies weights from `source` into `network` and says for each layer with weights what it did.

    A layer takes those of the layer of its kind with its name, if their shapes agree; else those of
    the first layer of its kind, in order, that no other has taken and whose shapes agree. Moving
    statistics are taken with the rest. It must be done before an optimizer is built.
    """
    own = _weighted(network)
    others = _weighted(source)
    pairs: dict[int, int] = {}
    for index, layer in enumerate(own):
        for other_index, other in enumerate(others):
            if other.name == layer.name and _fits(layer, other):
                pairs[index] = other_index
    for index, layer in enumerate(own):
        if index in pairs:
            continue
        # In order: never from before what an earlier layer took.
        first = max((pairs[before] for before in pairs if before < index), default=-1) + 1
        free = [i for i in range(first, len(others)) if i not in pairs.values()]
        fitting = [i for i in free if _fits(layer, others[i])]
        if fitting:
            pairs[index] = fitting[0]
    report = []
    for index, layer in enumerate(own):
        if index in pairs:
            other = others[pairs[index]]
            layer.set_weights(other.get_weights())
            report.append(LayerTransfer(layer.name, other.name))
        else:
            report.append(LayerTransfer(layer.name, None, _reason(layer, others)))
    return tuple(report)


def _weighted(model: keras.Model) -> list[keras.layers.Layer]:
    """The innermost layers with weights, in order."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.extend(_weighted(layer))
        elif layer.weights:
            found.append(layer)
    return found


def _shapes(layer: keras.layers.Layer) -> Shapes:
    return tuple(tuple(weight.shape) for weight in layer.weights)


def _fits(layer: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    return type(layer).__name__ == type(other).__name__ and _shapes(layer) == _shapes(other)


def _reason(layer: keras.layers.Layer, others: Sequence[keras.layers.Layer]) -> str:
    kind = type(layer).__name__
    for other in others:
        if other.name == layer.name and type(other).__name__ == kind:
            return f"its weights are {_text(_shapes(layer))}, there {_text(_shapes(other))}"
    return f"there is no {kind} layer left with weights {_text(_shapes(layer))}"


def _text(shapes: Shapes) -> str:
    return " and ".join("×".join(map(str, shape)) for shape in shapes)

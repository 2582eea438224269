"""Transfer of weights from the network of an earlier run to a new one, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerTransfer:
    """Whether the weights of a layer were transferred; `str()` is a line for the user.

    Attributes:
        name: The layer of the new network.
        source: The layer whose weights were copied, or None.
        reason: Why no weights were copied, or an empty string.
    """

    name: str
    source: str | None
    reason: str = ""

    def __str__(self) -> str:
        if self.source is None:
            return f"{self.name}: not copied, {self.reason}"
        return f"{self.name}: copied" + ("" if self.source == self.name else f" from {self.source}")


def transfer_weights(network: keras.Model, source: keras.Model) -> tuple[LayerTransfer, ...]:
    """Copy weights from `source` to `network`; return what was done for each layer with weights.

    A layer gets the weights of the layer with the same name, type and shapes. If there is none, it gets
    those of the first unused layer of the same type and shapes after the one used by the previous layer.
    Moving statistics are copied too. Call this before an optimizer is built.
    """
    targets = _layers_with_weights(network)
    sources = _layers_with_weights(source)
    pairs: dict[int, int] = {}
    for index, layer in enumerate(targets):
        for source_index, candidate in enumerate(sources):
            if candidate.name == layer.name and _matches(layer, candidate):
                pairs[index] = source_index
    for index, layer in enumerate(targets):
        if index in pairs:
            continue
        # In order: only layers after those used by earlier layers.
        first = max((pairs[earlier] for earlier in pairs if earlier < index), default=-1) + 1
        unused = [i for i in range(first, len(sources)) if i not in pairs.values()]
        matching = [i for i in unused if _matches(layer, sources[i])]
        if matching:
            pairs[index] = matching[0]
    transfers = []
    for index, layer in enumerate(targets):
        if index in pairs:
            match = sources[pairs[index]]
            layer.set_weights(match.get_weights())
            transfers.append(LayerTransfer(layer.name, match.name))
        else:
            transfers.append(LayerTransfer(layer.name, None, _reason(layer, sources)))
    return tuple(transfers)


def _layers_with_weights(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the innermost layers with weights, in order."""
    layers: list[keras.layers.Layer] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layers.extend(_layers_with_weights(layer))
        elif layer.weights:
            layers.append(layer)
    return layers


def _shapes(layer: keras.layers.Layer) -> Shapes:
    return tuple(tuple(weight.shape) for weight in layer.weights)


def _matches(layer: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    return type(layer).__name__ == type(other).__name__ and _shapes(layer) == _shapes(other)


def _reason(layer: keras.layers.Layer, sources: Sequence[keras.layers.Layer]) -> str:
    kind = type(layer).__name__
    for source in sources:
        if source.name == layer.name and type(source).__name__ == kind:
            shapes, source_shapes = _text(_shapes(layer)), _text(_shapes(source))
            return f"its weight shapes are {shapes}, in the source {source_shapes}"
    return f"the source has no other {kind} layer with weight shapes {_text(_shapes(layer))}"


def _text(shapes: Shapes) -> str:
    return ", ".join(map(str, shapes))

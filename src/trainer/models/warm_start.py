"""Which layers of a network start with the weights of an earlier run. Does not import Keras.

Layers are matched by name (`dense`, `dense_1`, …, `head`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.models.summary import HEAD, LayerSummary

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerMatch:
    """A layer with weights, compared with the earlier run; `str()` is a line for the user.

    Attributes:
        name: The name of the layer in both networks.
        expected: What the layer would have to be to get the weights; empty if it gets them.
        found: What it is instead.
    """

    name: str
    expected: str = ""
    found: str = ""

    @property
    def fits(self) -> bool:
        """Whether the layer gets the weights of the earlier run."""
        return not self.expected

    @property
    def may_differ(self) -> bool:
        """Whether the layer may start with new weights: the output layer depends on the target."""
        return self.name == HEAD

    def __str__(self) -> str:
        if self.fits:
            return f"{self.name}: copied"
        return f"{self.name}: not copied, expected {self.expected}, found {self.found}"


def match_layers(
    layers: Sequence[LayerSummary], source: Sequence[LayerSummary]
) -> tuple[LayerMatch, ...]:
    """Compare each layer with weights with the layer of the same name in the earlier run.

    Shapes that are unknown, as after a custom layer, count as equal.
    """
    by_name = {layer.name: layer for layer in source}
    matches = []
    for layer in layers:
        if layer.parameters == 0:
            continue
        other = by_name.get(layer.name)
        if other is None or other.kind != layer.kind:
            matches.append(LayerMatch(layer.name, f"a layer '{layer.name}' in it", "none"))
            continue
        ours, theirs = layer.trainable_shapes, other.trainable_shapes
        if ours is None or theirs is None or ours == theirs:
            matches.append(LayerMatch(layer.name))
        else:
            matches.append(LayerMatch(layer.name, f"weights {_text(theirs)}", _text(ours)))
    return tuple(matches)


def _text(shapes: Shapes) -> str:
    return ", ".join("[" + ", ".join(map(str, shape)) + "]" for shape in shapes) or "none"

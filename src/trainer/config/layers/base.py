"""What a kind of layer declares: its settings, its Keras layer, its shapes and how it is stacked."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal

from trainer.config.kinds import Entry, Kind

Shape = tuple[int, ...]
"""Shape of one sample, without the batch axis."""
Stacking = Literal["rows", "members"] | None
"""How a pack computes a layer for all its members.

rows: the Keras layer is called with the rows of all members as one batch; for layers without weights or
randomness that process each row independently. members: `trainer.models.stacked_forward` computes it.
None: networks with such a layer are not trained in packs.
"""


class ShapeError(Exception):
    """A layer cannot follow the previous one.

    Attributes:
        expected: What the layer expects.
        found: What it gets.
        fix: What to change.
        setting: The setting at fault; empty for the whole layer.
    """

    def __init__(self, expected: str, found: str, fix: str, setting: str = "") -> None:
        super().__init__(f"expected {expected}, found {found}; {fix}")
        self.expected, self.found, self.fix, self.setting = expected, found, fix, setting


class LayerKind(Kind):
    """Base of the kinds of layers; the fields of a subclass are its settings.

    Attributes:
        keras_layer: Name of the class in `keras.layers`; None if there is none.
        random: Whether the Keras layer takes a seed.
        stacking: How the layer is computed in a pack.
        needs_shape: Whether the layer can be built only for a known input shape.
        keeps_positions: Whether a position of a sequence belongs to the same token before and after the
            layer, so that padding remains padding.
    """

    keras_layer: ClassVar[str | None] = None
    random: ClassVar[bool] = False
    stacking: ClassVar[Stacking] = None
    needs_shape: ClassVar[bool] = False
    keeps_positions: ClassVar[bool] = False

    def keras_class(self, shape: Shape | None) -> str:
        """Return the name of the class in `keras.layers` for an input shape."""
        assert self.keras_layer is not None, self.kind
        return self.keras_layer

    def keras_arguments(self) -> dict[str, Any]:
        """Return the arguments of the Keras layer.

        Initializers, regularizers and constraints are as in the config: `trainer.models.layers` builds
        them from arguments named `…_initializer`, `…_regularizer` and `…_constraint`.
        """
        return {name: getattr(self, name) for name in type(self).model_fields}

    def output_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape for an input shape; None if unknown.

        Raises:
            ShapeError: The layer does not accept the input shape.
        """
        return shape

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...] | None:
        """Return the shapes of the trainable variables for an input shape; None if unknown."""
        return ()

    def non_trainable(self, shape: Shape) -> int:
        """Return the number of non-trainable weights for an input shape."""
        return 0

    @property
    def convolutional(self) -> bool:
        """Whether the layer convolves its input, which XLA does slowly on a CPU."""
        return False

    def multiplications(self, shape: Shape) -> int:
        """Return the approximate number of multiplications for a sample: each weight is used once."""
        weights = self.trainable_shapes(shape) or ()
        return sum(map(prod, weights)) + self.non_trainable(shape)

    def activations(self, shape: Shape) -> int:
        """Return the number of values that the layer keeps for the gradient of a sample."""
        output = self.output_shape(shape)
        return 0 if output is None else prod(output)

    def shared_settings(self) -> Any:
        """Return the JSON that is equal for layers that can be in the same pack."""
        return self.model_dump(mode="json")

    def member_settings(self) -> dict[str, float]:
        """Return the numbers that can differ between the members of a pack."""
        return {}


class LayerEntry(Entry):
    """An entry of `model.layers`: a mapping from the kind to its settings."""

    module: ClassVar[str] = "trainer.config.layers.kinds"

    @property
    def settings(self) -> LayerKind:
        """The settings of the layer."""
        settings: LayerKind = getattr(self, next(iter(type(self).model_fields)))
        return settings


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as in the config: [2, 3]."""
    return "[" + ", ".join(map(str, shape)) + "]"

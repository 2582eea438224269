"""A layer that learns how much each of its inputs counts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainer.config.layers.base import LayerKind, Shape, Stacking


class LearnedScale(LayerKind):
    """Multiplies each input (of images: each channel) by a factor of its own, which starts at 1.

    As the first layer, it lets a network find out which columns matter sooner than the kernel of a
    dense layer can.
    """

    kind: ClassVar[str] = "learned_scale"
    keeps_positions: ClassVar[bool] = True
    shorthand: ClassVar[str | None] = "multiplier"
    aliases: ClassVar[str] = "layer_scale layerscale scaling_layer input_scale feature_scale"
    stacking: ClassVar[Stacking] = "members"
    needs_shape: ClassVar[bool] = True

    multiplier: Annotated[float, Field(gt=0, le=1000)] = 6.0
    """The factor is 1 + multiplier · weight, for weights that start at 0: with an optimizer such as
    adam, it changes this many times faster than other weights do."""

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],)

    def shared_settings(self) -> Any:
        return {}

    def member_settings(self) -> dict[str, float]:
        return {"multiplier": self.multiplier}


KINDS: tuple[type[LayerKind], ...] = (LearnedScale,)
"""The kinds in this module."""

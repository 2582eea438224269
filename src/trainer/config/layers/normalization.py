"""Layers that normalize their inputs."""

from __future__ import annotations

from math import gcd
from typing import Annotated, ClassVar

from pydantic import Field

from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking
from trainer.config.weights import Positive


class BatchNormalization(LayerKind):
    """Normalizes each input over the batch."""

    kind: ClassVar[str] = "batch_normalization"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "BatchNormalization"
    shorthand: ClassVar[str | None] = "momentum"
    aliases: ClassVar[str] = "batchnorm batch_norm bn batchnorm1d"
    stacking: ClassVar[Stacking] = "members"

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Momentum of the moving mean and variance."""
    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],) * (self.center + self.scale)

    def non_trainable(self, shape: Shape) -> int:
        return 2 * shape[-1]


class LayerNormalization(LayerKind):
    """Normalizes each sample over its inputs."""

    kind: ClassVar[str] = "layer_normalization"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "LayerNormalization"
    shorthand: ClassVar[str | None] = "epsilon"
    aliases: ClassVar[str] = "layernorm layer_norm ln"
    stacking: ClassVar[Stacking] = "members"

    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],) * (self.center + self.scale)


class GroupNormalization(LayerKind):
    """Normalizes each sample over groups of its channels, for small batches."""

    kind: ClassVar[str] = "group_normalization"
    keras_layer: ClassVar[str | None] = "GroupNormalization"
    shorthand: ClassVar[str | None] = "groups"
    aliases: ClassVar[str] = "groupnorm group_norm gn"

    groups: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Number of groups; 1 normalizes over all channels together, the number of channels over each one
    separately."""
    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""

    def output_shape(self, shape: Shape) -> Shape:
        if shape[-1] % self.groups:
            raise ShapeError(
                expected=f"a number of groups that divides the {shape[-1]} channels",
                found=str(self.groups),
                fix=f"set groups to {gcd(shape[-1], self.groups)}",
                setting="groups",
            )
        return shape

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],) * (self.center + self.scale)


class UnitNormalization(LayerKind):
    """Scales each sample to unit length along its last axis."""

    kind: ClassVar[str] = "unit_normalization"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "UnitNormalization"
    aliases: ClassVar[str] = "l2_normalize unit_norm"
    stacking: ClassVar[Stacking] = "rows"


KINDS: tuple[type[LayerKind], ...] = (
    BatchNormalization,
    LayerNormalization,
    GroupNormalization,
    UnitNormalization,
)
"""The kinds in this module."""

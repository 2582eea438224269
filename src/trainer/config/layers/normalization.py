"""Layers that normalize their inputs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from trainer.config.layers.base import LayerKind, Shape, Stacking
from trainer.config.weights import Positive


class BatchNormalization(LayerKind):
    """Normalizes each input over the batch."""

    kind: ClassVar[str] = "batch_normalization"
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


class UnitNormalization(LayerKind):
    """Scales each sample to unit length along its last axis."""

    kind: ClassVar[str] = "unit_normalization"
    keras_layer: ClassVar[str | None] = "UnitNormalization"
    aliases: ClassVar[str] = "l2_normalize unit_norm"
    stacking: ClassVar[Stacking] = "rows"

"""Fully connected layers and activation functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from trainer.config.conflict import Conflict
from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking, shape_text
from trainer.config.layers.settings import Activation, Size
from trainer.config.layers.weighted import weight_conflicts
from trainer.config.weights import Constraint, Initializer, Regularizer


class Dense(LayerKind):
    """Fully connected layer."""

    kind: ClassVar[str] = "dense"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "Dense"
    shorthand: ClassVar[str | None] = "units"
    aliases: ClassVar[str] = "linear fc fully_connected full"
    stacking: ClassVar[Stacking] = "members"

    units: Size
    """Number of units, the dimension of the output."""
    activation: Activation = "linear"
    """The activation function."""
    use_bias: bool = True
    """Whether to add a bias."""
    kernel_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel."""
    bias_initializer: Initializer = "zeros"
    """Initializer of the bias."""
    kernel_regularizer: Regularizer | None = None
    """Penalty on the kernel."""
    bias_regularizer: Regularizer | None = None
    """Penalty on the bias."""
    activity_regularizer: Regularizer | None = None
    """Penalty on the layer's output."""
    kernel_constraint: Constraint | None = None
    """Constraint on the kernel."""
    bias_constraint: Constraint | None = None
    """Constraint on the bias."""

    def conflicts(self, key: str) -> Iterator[Conflict]:
        yield from weight_conflicts(self, key)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 2:
            raise ShapeError(
                expected="samples with one axis before dense",
                found=f"samples of shape {shape_text(shape)}",
                fix="add `- flatten` or `- global_average_pool` before it; for a dense layer at each "
                "position use conv2d with kernel_size: 1",
            )
        return (*shape[:-1], self.units)

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return ((shape[-1], self.units), *(((self.units,),) if self.use_bias else ()))

    def shared_settings(self) -> Any:
        free = {name for name in type(self).model_fields if name.endswith("izer")}
        return self.model_dump(mode="json", exclude=free)


class ActivationSettings(LayerKind):
    """An activation function as a layer."""

    kind: ClassVar[str] = "activation"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "Activation"
    shorthand: ClassVar[str | None] = "name"
    stacking: ClassVar[Stacking] = "rows"

    name: Activation
    """The activation function."""

    def keras_arguments(self) -> dict[str, Any]:
        return {"activation": self.name}


KINDS: tuple[type[LayerKind], ...] = (Dense, ActivationSettings)
"""The kinds in this module."""

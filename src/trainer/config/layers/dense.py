"""Fully connected layers and activation functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers.base import LayerKind, Shape, Stacking
from trainer.config.layers.settings import Activation, Size
from trainer.config.weights import (
    Constraint,
    Initializer,
    Regularizer,
    constraint_conflicts,
    initializer_conflicts,
    needs_matrix,
)


class Dense(LayerKind):
    """Fully connected layer."""

    kind: ClassVar[str] = "dense"
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
        for name in ("kernel", "bias"):
            initializer, constraint = f"{name}_initializer", f"{name}_constraint"
            yield from initializer_conflicts(getattr(self, initializer), f"{key}.{initializer}")
            yield from constraint_conflicts(getattr(self, constraint), f"{key}.{constraint}")
        if self.use_bias:
            if needs_matrix(self.bias_initializer):
                found = self.bias_initializer
                yield conflict(
                    f"{key}.bias_initializer",
                    "an initializer for one-dimensional variables",
                    found if isinstance(found, str) else "orthogonal",
                    "use zeros, the usual initializer of a bias",
                )
            return
        for name in ("bias_regularizer", "bias_constraint"):
            if getattr(self, name) is not None:
                expected, fix = "a layer with a bias", "remove one of the two"
                yield conflict(f"{key}.{name}", expected, "use_bias: false", fix, f"{key}.use_bias")

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return ((shape[-1], self.units), *(((self.units,),) if self.use_bias else ()))

    def shared_settings(self) -> Any:
        free = {name for name in type(self).model_fields if name.endswith("izer")}
        return self.model_dump(mode="json", exclude=free)


class ActivationSettings(LayerKind):
    """An activation function as a layer."""

    kind: ClassVar[str] = "activation"
    keras_layer: ClassVar[str | None] = "Activation"
    shorthand: ClassVar[str | None] = "name"
    stacking: ClassVar[Stacking] = "rows"

    name: Activation
    """The activation function."""

    def keras_arguments(self) -> dict[str, Any]:
        return {"activation": self.name}

"""A fixed projection of the inputs on their principal components."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking, shape_text
from trainer.config.layers.settings import Size


class PrincipalComponents(LayerKind):
    """The first principal components of the features in the training rows, each with a mean of 0 and a
    standard deviation of 1. The projection is computed before training and stays as it is.

    For many columns that are nearly linear combinations of a few, such as spectra. It must be the first
    layer.
    """

    kind: ClassVar[str] = "principal_components"
    keras_layer: ClassVar[str | None] = "Dense"
    shorthand: ClassVar[str | None] = "units"
    aliases: ClassVar[str] = "pca whitening whiten principal_component_analysis components"
    stacking: ClassVar[Stacking] = "members"

    units: Size
    """Number of components, at most the number of inputs."""

    def keras_arguments(self) -> dict[str, Any]:
        # The initial kernel is replaced by `trainer.models.principal_components`.
        return {"units": self.units, "kernel_initializer": "glorot_uniform", "trainable": False}

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeError(
                expected="samples with one axis before principal_components",
                found=f"samples of shape {shape_text(shape)}",
                fix="use it as the first layer of a network for the columns of a table",
            )
        if self.units > shape[0]:
            raise ShapeError(
                expected=f"at most {shape[0]:,} components of {shape[0]:,} inputs",
                found=f"{self.units:,}",
                fix=f"set it to {shape[0]:,} or less",
                setting="units",
            )
        return (self.units,)

    def non_trainable(self, shape: Shape) -> int:
        return prod((*shape, self.units)) + self.units


KINDS: tuple[type[LayerKind], ...] = (PrincipalComponents,)
"""The kinds in this module."""

"""Layers that are random in training."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainer.config.layers.base import LayerKind, Shape, Stacking
from trainer.config.layers.settings import Fraction
from trainer.config.layers.windows import require_axes


class Dropout(LayerKind):
    """Sets inputs to 0 at random in training."""

    kind: ClassVar[str] = "dropout"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "Dropout"
    shorthand: ClassVar[str | None] = "rate"
    random: ClassVar[bool] = True
    stacking: ClassVar[Stacking] = "members"

    rate: Fraction
    """Fraction of inputs set to 0 in training; the others are scaled up by 1 / (1 - rate)."""

    def shared_settings(self) -> Any:
        # At a rate of 0, Keras creates no seed generator.
        return self.rate > 0

    def member_settings(self) -> dict[str, float]:
        return {"rate": self.rate, "keep": 1 - self.rate}


class SpatialDropout(LayerKind):
    """Sets whole channels to 0 at random in training."""

    kind: ClassVar[str] = "spatial_dropout"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "SpatialDropout"
    shorthand: ClassVar[str | None] = "rate"
    aliases: ClassVar[str] = (
        "spatial_dropout1d spatial_dropout2d dropout1d dropout2d channel_dropout"
    )
    random: ClassVar[bool] = True
    needs_shape: ClassVar[bool] = True

    rate: Fraction
    """Fraction of the channels set to 0 in training; the others are scaled up by 1 / (1 - rate)."""

    def keras_class(self, shape: Shape | None) -> str:
        assert shape is not None, "the number of axes determines the Keras layer"
        return f"{self.keras_layer}{len(shape) - 1}D"

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 1, 2)
        return shape


class GaussianNoise(LayerKind):
    """Adds noise in training."""

    kind: ClassVar[str] = "gaussian_noise"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "GaussianNoise"
    shorthand: ClassVar[str | None] = "stddev"
    aliases: ClassVar[str] = "noise"
    random: ClassVar[bool] = True
    stacking: ClassVar[Stacking] = "members"

    stddev: Annotated[float, Field(ge=0, le=1)]
    """Standard deviation of the noise added in training."""

    def shared_settings(self) -> Any:
        # At a standard deviation of 0, Keras creates no seed generator.
        return self.stddev > 0

    def member_settings(self) -> dict[str, float]:
        return {"stddev": self.stddev}


KINDS: tuple[type[LayerKind], ...] = (Dropout, SpatialDropout, GaussianNoise)
"""The kinds in this module."""

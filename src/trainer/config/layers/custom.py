"""Layers from user code."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.layers.base import LayerKind, Shape
from trainer.config.sections import Reference


class Custom(LayerKind):
    """A custom Keras layer."""

    kind: ClassVar[str] = "custom"
    shorthand: ClassVar[str | None] = "function"

    function: Reference
    """package.module:function that returns the Keras object; importing it needs --allow-custom."""
    arguments: dict[str, str | int | float | bool | list[str | int | float | bool] | None] = {}
    """Keyword arguments of the function."""
    folder: str | None = None
    """Folder to search for the module before the installed packages, relative to the config file;
    if unset, the folder of the config file."""

    def output_shape(self, shape: Shape) -> None:
        return None

    def trainable_shapes(self, shape: Shape) -> None:
        return None


KINDS: tuple[type[LayerKind], ...] = (Custom,)
"""The kinds in this module."""

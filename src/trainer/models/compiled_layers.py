"""Layers that replace Keras's own in training under XLA."""

from __future__ import annotations

import keras

from trainer.models.convolution import CompiledConv2D
from trainer.models.noise import CompiledDropout, CompiledGaussianNoise
from trainer.models.pooling import CompiledMaxPooling1D, CompiledMaxPooling2D

COMPILED_LAYERS = {
    keras.layers.Conv2D: CompiledConv2D,
    keras.layers.Dropout: CompiledDropout,
    keras.layers.GaussianNoise: CompiledGaussianNoise,
    keras.layers.MaxPooling1D: CompiledMaxPooling1D,
    keras.layers.MaxPooling2D: CompiledMaxPooling2D,
}
"""Keras layers → layers that replace them in training under XLA."""


def has_compiled_layer(layer: keras.layers.Layer) -> bool:
    """Return whether a layer, or one in it, is only for training under XLA."""
    inner = getattr(layer, "layers", ())
    return type(layer) in COMPILED_LAYERS.values() or any(map(has_compiled_layer, inner))

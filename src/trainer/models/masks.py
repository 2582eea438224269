"""Masks of padding in networks with transformers on tokens: 1 for tokens, 0 for padding.

Attention ignores padding, and so does pooling after it: the prediction for a text does not depend on the
length that it is padded to. All layers are Keras's own, so that plain Keras loads a saved network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from trainer.config.layers.pooling import GlobalAveragePool, GlobalMaxPool
from trainer.config.layers.sequences import Transformer
from trainer.config.model import Model
from trainer.models.summary import NetworkShape

TOKEN_MASK = "token_mask"
# More than any value.
_BOUND = 1e9
_POLICY = "float32"


def masked_layers(model: Model, shape: NetworkShape) -> tuple[bool, ...]:
    """Return for each hidden layer whether it takes the mask.

    Layers take it as long as positions remain those of tokens: not after a convolution, a recurrent or a
    custom layer. Without a transformer before them, no layer takes it.
    """
    settings = [layer.settings for layer in model.layers]
    masked = [False] * len(settings)
    if shape.tokens is None or shape.token_padding is None:
        return tuple(masked)
    has_transformer = False
    for number, layer in enumerate(settings):
        has_transformer |= isinstance(layer, Transformer)
        if has_transformer:
            masked[number] = isinstance(layer, Transformer | GlobalAveragePool | GlobalMaxPool)
        if not layer.keeps_positions:
            break
    return tuple(masked)


def build_token_mask(shape: NetworkShape) -> keras.Model:
    """Return the network from ids of tokens to their mask, float32 (n, length).

    One position of a text without tokens counts, as a mean needs one.
    """
    assert shape.tokens is not None, "the network has tokens"
    assert shape.token_padding is not None, "texts are padded"
    length, (pad_id, at_start) = shape.tokens[0], shape.token_padding
    always = [0.0] * length
    always[-1 if at_start else 0] = 1.0
    ids = keras.Input((length,), dtype="int32", name=f"{TOKEN_MASK}_input")
    return keras.Model(ids, padding_mask(ids, pad_id, always), name=TOKEN_MASK)


def padding_mask(ids: Any, pad_id: int, always: Sequence[float] = ()) -> Any:
    """Return min((id - pad)², 1), which layers compute: 0 for padding and 1 for other ids.

    Args:
        ids: int32 (n, length).
        pad_id: The id of padding.
        always: 1 for positions that count also as padding, else 0; empty for none.
    """
    layers = keras.layers
    distance = layers.Rescaling(1.0, -float(pad_id), dtype=_POLICY, name="from_padding")(ids)
    square = layers.Multiply(dtype=_POLICY, name="from_padding_squared")([distance, distance])
    if always:
        square = layers.Rescaling(1.0, list(always), dtype=_POLICY, name="with_first_token")(square)
    return layers.ReLU(max_value=1.0, dtype=_POLICY, name="mask")(square)


def masked_output(layer: keras.layers.Layer, x: Any, mask: Any) -> Any:
    """Return the output of a layer that takes the mask: a transformer or a global pooling layer."""
    if isinstance(layer, keras.layers.GlobalAveragePooling1D):
        return layer(x, mask=mask)
    if isinstance(layer, keras.layers.GlobalMaxPooling1D):
        layers, name = keras.layers, layer.name
        column = layers.Reshape((x.shape[1], 1), dtype=_POLICY, name=f"{name}_mask")(mask)
        # A sum would lose the digits of x where TensorFlow reorders it.
        bound = layers.Rescaling(2 * _BOUND, -_BOUND, dtype=_POLICY, name=f"{name}_bound")(column)
        return layer(layers.Minimum(dtype=_POLICY, name=f"{name}_tokens")([x, bound]))
    return layer([x, mask])

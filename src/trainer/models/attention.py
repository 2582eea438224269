"""Names of the layers inside attention, which Keras writes into saved networks."""

from __future__ import annotations

import re

import keras


def name_inner_layers(attention: keras.layers.MultiHeadAttention) -> None:
    """Give the layers inside a built attention layer constant names.

    Keras numbers its softmax and its dropout by a counter of the process, so that the files of equal
    networks would differ.
    """
    for layer in attention._flatten_layers(include_self=False):
        layer.name = re.sub(r"_\d+$", "", layer.name)

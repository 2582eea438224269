"""Small networks of Keras, as a user would have trained them."""

from __future__ import annotations

import keras


def small_network(size: int = 12, classes: int = 3, seed: int = 0) -> keras.Model:
    """Return a network with batch normalization, whose statistics are not 0 and 1, and a shortcut."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    start = keras.Input((size, size, 3), name="picture")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(start)
    x = layers.BatchNormalization(name="norm")(x)
    before = x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add(name="add")([x, before])
    x = layers.Concatenate(name="both")([x, before])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    network = keras.Model(start, layers.Dense(classes, activation="softmax", name="classes")(x))
    norm = network.get_layer("norm")
    norm.moving_mean.assign([0.1, -0.2, 0.3, 0.0])
    norm.moving_variance.assign([0.5, 2.0, 1.5, 1.0])
    return network

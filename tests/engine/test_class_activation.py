"""Class activation maps of networks whose maps follow from their weights."""

import keras
import numpy as np
import pytest

from trainer.engine.class_activation import class_activation_maps
from trainer.inputs import FEATURES, IMAGE

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (20, 6, 5, 3)).astype(np.uint8)
UNITS, SIGNS = np.arange(20) % 3, np.where(np.arange(20) % 2, 1, -1)


def network(*layers, units=3, activation="softmax"):
    """A network with random weights, also of the biases."""
    scaling = keras.layers.Rescaling(1 / 255, name="image_scaling")
    head = keras.layers.Dense(units, activation=activation)
    model = keras.Sequential([keras.Input((6, 5, 3), dtype="uint8"), scaling, *layers, head])
    model.set_weights([GENERATOR.normal(size=weight.shape) for weight in model.weights])
    return model


def convolution(**settings):
    return keras.layers.Conv2D(4, 2, use_bias=True, **settings)


def expected_maps(maps, head_kernel):
    """Return the maps after a mean over places: the gradient is the same for each place."""
    weights = head_kernel[:, UNITS].T * SIGNS[:, None] / maps[0, :, :, 0].size
    return np.maximum(np.einsum("nhwk,nk->nhw", maps, weights), 0)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("after", [(), ("activation",), ("activation", "pooling")], ids=str)
def test_a_mean_over_places(trainable, after):
    layers = {
        "activation": keras.layers.ReLU(),
        "pooling": keras.layers.AveragePooling2D((5, 4)),
    }
    conv = convolution()
    conv.trainable = trainable
    model = network(conv, *(layers[name] for name in after), keras.layers.GlobalAveragePooling2D())
    kernel, bias, head_kernel, _ = model.get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES / 255, (2, 2), axis=(1, 2))
    maps = np.einsum("nhwcij,ijck->nhwk", windows, kernel) + bias
    if "activation" in after:
        maps = np.maximum(maps, 0)
    result = class_activation_maps(model, {IMAGE: IMAGES}, UNITS, SIGNS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected_maps(maps, head_kernel), rtol=1e-4, atol=1e-5)


def test_the_network_is_unchanged():
    model = network(convolution(), keras.layers.Flatten())
    before = np.asarray(model(IMAGES))
    class_activation_maps(model, {IMAGE: IMAGES}, UNITS, SIGNS)
    np.testing.assert_array_equal(np.asarray(model(IMAGES)), before)
    assert model.layers[-1].activation is keras.activations.softmax
    assert "call" not in vars(model.layers[1])


def test_a_block_of_layers_has_one_output():
    start = keras.Input((6, 5, 3))
    output = keras.layers.Add()([keras.layers.Conv2D(3, 1)(start), start])
    model = network(keras.Model(start, output), keras.layers.GlobalAveragePooling2D())
    kernel, bias, head_kernel, _ = model.get_weights()
    scaled = IMAGES / 255
    result = class_activation_maps(model, {IMAGE: IMAGES}, UNITS, SIGNS)
    expected = expected_maps(scaled @ kernel[0, 0] + bias + scaled, head_kernel)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_a_network_that_ends_with_a_pooling():
    start = keras.Input((6, 5, 3))
    maps = keras.layers.Conv2D(3, 1)(start)
    base = keras.Model(start, keras.layers.GlobalAveragePooling2D()(maps))
    base.trainable = False
    model = network(base)
    head_kernel, _ = model.layers[-1].get_weights()
    kernel, bias = base.get_weights()
    result = class_activation_maps(model, {IMAGE: IMAGES}, UNITS, SIGNS)
    expected = expected_maps(IMAGES / 255 @ kernel[0, 0] + bias, head_kernel)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_an_image_beside_columns():
    tensors = {
        FEATURES: keras.Input((2,), name=FEATURES),
        IMAGE: keras.Input((6, 5, 3), name=IMAGE),
    }
    maps = convolution(activation="relu")(tensors[IMAGE])
    joined = [keras.layers.GlobalMaxPooling2D()(maps), tensors[FEATURES]]
    output = keras.layers.Dense(1)(keras.layers.Concatenate()(joined))
    model = keras.Model(tensors, output)
    inputs = {FEATURES: np.ones((20, 2), np.float32), IMAGE: IMAGES.astype(np.float32)}
    zeros = np.zeros(20, np.int64)
    rising, falling = (
        class_activation_maps(model, inputs, zeros, zeros + sign) for sign in (1, -1)
    )
    assert rising.shape == falling.shape == (20, 5, 4)
    assert (rising + falling).max() > 0


def test_networks_without_maps():
    for layers in ([], [keras.layers.MaxPooling2D(2)]):
        model = network(*layers, keras.layers.Flatten())
        assert class_activation_maps(model, {IMAGE: IMAGES}, UNITS, SIGNS) is None

"""A stack computes for each member what its network computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.inputs import keras_inputs
from trainer.models.stacking import StackedNetwork, StackMember

EMBEDDINGS = [(4, 2), (3, 5)]


@pytest.mark.parametrize("width", [6, 2])
def test_ids_select_vectors_of_the_members_own_tables(
    config_of: Callable[..., Any], network_of: Callable[..., Any], width: int
) -> None:
    layers = [{"dense": {"units": 3, "activation": "tanh"}}]
    members = [
        StackMember(
            config_of(layers, seed=seed),
            network_of(layers, width=width, embeddings=EMBEDDINGS, seed=seed),
        )
        for seed in range(3)
    ]
    stack = StackedNetwork(members)
    generator = np.random.default_rng(0)
    # 0 is the id of values that no training row has.
    ids = [generator.integers(0, levels, (3, 20)) for levels, _ in EMBEDDINGS]
    x = {
        "features": generator.normal(size=(3, 20, width - 2)).astype(np.float32),
        "categories": np.stack(ids, axis=-1).astype(np.int32),
    }
    if width == 2:
        x.pop("features")
    outputs = stack(keras_inputs(x), stack.hyperparameters, training=False).outputs
    for number, member in enumerate(members):
        alone = keras_inputs({name: values[number] for name, values in x.items()})
        np.testing.assert_allclose(outputs[number], member.network(alone), rtol=1e-6)
    assert [variable.shape for variable in stack.variables[:2]] == [(12, 2), (9, 5)]


def test_scales_of_features_that_other_members_have_are_padded(
    config_of: Callable[..., Any], network_of: Callable[..., Any]
) -> None:
    widths = (6, 4)
    members = []
    generator = np.random.default_rng(0)
    for width in widths:
        layers = [{"learned_scale": width}, {"dense": 3}]
        network = network_of(layers, width=width, embeddings=EMBEDDINGS)
        (scales,) = network.get_layer("learned_scale").weights
        scales.assign(generator.normal(size=scales.shape))
        members.append(StackMember(config_of(layers), network))
    stack = StackedNetwork(members)
    features = generator.normal(size=(2, 20, 4)).astype(np.float32)
    features[1, :, 2:] = 0
    ids = generator.integers(0, 3, (2, 20, 2)).astype(np.int32)
    x = keras_inputs({"features": features, "categories": ids})
    outputs = stack(x, stack.hyperparameters, training=False).outputs
    for number, width in enumerate(widths):
        alone = {"features": features[number, :, : width - 2], "categories": ids[number]}
        expected = members[number].network(keras_inputs(alone))
        np.testing.assert_allclose(outputs[number], expected, rtol=1e-5, atol=1e-6)
    stacked = stack.stacked_variable(members[0].network.get_layer("learned_scale").weights[0])
    own = members[1].network.get_layer("learned_scale").get_weights()[0]
    np.testing.assert_array_equal(stack.unpadded(stacked.numpy()[1].reshape(-1), own.shape), own)


LAYERS = [
    ["learned_scale", {"dense": 3}],
    ["learned_scale", {"dense": {"units": 3, "kernel_regularizer": {"l2": 0.5}}}, "learned_scale"],
    ["learned_scale", "learned_scale", {"dense": 3}],
    [{"dense": 3}, "learned_scale"],
]


@pytest.mark.parametrize("layers", LAYERS)
def test_outputs_and_gradients_with_learned_scales_are_those_of_the_network(
    config_of: Callable[..., Any], network_of: Callable[..., Any], layers: list[Any]
) -> None:
    """The kernel after a learned scale is scaled instead of the inputs."""
    generator = np.random.default_rng(0)
    members = [
        StackMember(config_of(layers, seed=seed), network_of(layers, width=4, seed=seed))
        for seed in range(2)
    ]
    for member in members:
        for weight in member.network.trainable_weights:
            weight.assign(generator.normal(size=weight.shape))
    stack = StackedNetwork(members)
    x = generator.normal(size=(2, 20, 4)).astype(np.float32)
    with tf.GradientTape() as tape:
        result = stack(x, stack.hyperparameters, training=True)
        total = tf.reduce_sum(result.outputs**2) + tf.reduce_sum(result.penalty)
    stacked = tape.gradient(total, [variable.value for variable in stack.trainable])
    for number, member in enumerate(members):
        network = member.network
        with tf.GradientTape() as tape:
            outputs = network(x[number], training=True)
            total = tf.reduce_sum(outputs**2) + sum(network.losses)
        weights = network.trainable_weights
        gradients = tape.gradient(total, [weight.value for weight in weights])
        np.testing.assert_allclose(result.outputs[number], outputs, rtol=1e-4, atol=1e-5)
        for of_stack, gradient in zip(stacked, gradients, strict=True):
            own = np.reshape(of_stack[number], gradient.shape)
            np.testing.assert_allclose(own, gradient, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("width", "embeddings"), [(3, EMBEDDINGS), (0, ()), (2, ())])
def test_terms_select_vectors_of_the_members_own_table(
    config_of: Callable[..., Any],
    network_of: Callable[..., Any],
    width: int,
    embeddings: list[tuple[int, int]],
) -> None:
    layers = [{"dense": {"units": 3, "activation": "tanh"}}]
    shape = {"width": width, "embeddings": embeddings, "terms": (5, 12, 4)}
    members = [
        StackMember(config_of(layers, seed=seed), network_of(layers, seed=seed, **shape))
        for seed in range(3)
    ]
    stack = StackedNetwork(members)
    generator = np.random.default_rng(0)
    pairs = np.stack([generator.integers(0, 12, (3, 20, 5)), generator.random((3, 20, 5))], axis=-1)
    x = {"terms": pairs.astype(np.float32)}
    if width > len(embeddings):
        features = generator.normal(size=(3, 20, width - len(embeddings)))
        x["features"] = features.astype(np.float32)
    if embeddings:
        ids = [generator.integers(0, levels, (3, 20)) for levels, _ in embeddings]
        x["categories"] = np.stack(ids, axis=-1).astype(np.int32)
    outputs = stack(keras_inputs(x), stack.hyperparameters, training=False).outputs
    for number, member in enumerate(members):
        alone = keras_inputs({name: values[number] for name, values in x.items()})
        np.testing.assert_allclose(outputs[number], member.network(alone), rtol=1e-5)
    assert (36, 4) in [variable.shape for variable in stack.variables]

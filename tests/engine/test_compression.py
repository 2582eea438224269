"""Pruning, clustering and rounding within the training step, compared with NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.networks import executor_for, samples, supervised, train_epoch
from tests.marks import slow_except
from trainer.config.compress import Cluster, Compress, Prune, Quantize
from trainer.engine.compression import (
    build_compression,
    cluster_means,
    largest_weights,
    nearest_centroids,
    on_grid,
)
from trainer.models.compression_schedule import make_schedule

EPOCHS, STEPS, ROWS = 8, 4, 64
CASES = {
    "prune": Compress(prune=Prune(sparsity=0.7)),
    "cluster": Compress(cluster=Cluster(clusters=4)),
    "quantize": Compress(quantize=Quantize(dtype="int8", start=0.3)),
    "all": Compress(
        prune=Prune(sparsity=0.6),
        cluster=Cluster(clusters=4),
        quantize=Quantize(dtype="int8", start=0.7),
    ),
}


def numpy_mask(values, zeros):
    mask = np.ones(values.size, bool)
    mask[np.argsort(np.abs(values).ravel(), kind="stable")[:zeros]] = False
    return mask.reshape(values.shape)


def numpy_grid(values, axes):
    scale = np.abs(values).max(axis=axes, keepdims=True) / np.float32(127)
    return np.rint(values / np.where(scale > 0, scale, np.float32(1))) * scale


def numpy_clusters(values, kept, count):
    chosen = values[kept]
    centroids = np.linspace(chosen.min(), chosen.max(), count)
    for _ in range(25):
        nearest = np.abs(values[..., None] - centroids).argmin(axis=-1)
        for number in range(count):
            inside = kept & (nearest == number)
            if inside.any():
                centroids[number] = values[inside].mean()
    return np.abs(values[..., None] - centroids).argmin(axis=-1)


_masked = tf.function(largest_weights)
_clusters = tf.function(nearest_centroids)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10**6), st.booleans())
def test_the_smallest_weights_are_masked(zeros, seed, has_ties):
    values = np.random.default_rng(seed).normal(size=(12, 5)).astype(np.float32)
    if has_ties:
        values = np.round(values)
    found = _masked(tf.constant(values), tf.constant(zeros)).numpy()
    np.testing.assert_array_equal(found, numpy_mask(values, zeros))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3, 20]), st.integers(0, 10**6))
def test_means_of_clusters(clusters, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, 3)).astype(np.float32)
    kept = rng.uniform(size=values.shape) < 0.7
    kept[0, 0] = True
    cluster = _clusters(tf.constant(values), tf.constant(kept), clusters)
    assert cluster.shape == values.shape
    found = cluster_means(tf.constant(values), tf.constant(kept), cluster, clusters).numpy()
    for number in range(clusters):
        inside = kept & (cluster.numpy() == number)
        expected = values[inside].mean() if inside.any() else 0
        assert found[number] == pytest.approx(expected, abs=1e-5)


def test_clusters_are_those_of_k_means():
    values = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
    kept = np.abs(values) > 0.5
    found = _clusters(tf.constant(values), tf.constant(kept), 8).numpy()
    expected = numpy_clusters(values, kept, 8)
    # A value halfway between two centroids may go to either.
    assert (found[kept] != expected[kept]).mean() < 0.01


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_rounded_values_are_multiples_of_a_scale(seed, by_column):
    values = np.random.default_rng(seed).normal(size=(9, 4)).astype(np.float32)
    values[:, 1] = 0
    axes = (0,) if by_column else (0, 1)
    found = on_grid(tf.constant(values), axes).numpy()
    np.testing.assert_allclose(found, numpy_grid(values, axes), rtol=1e-6)
    assert np.abs(found).max() == pytest.approx(np.abs(values).max())


class Reference:
    """The compression of one kernel in NumPy."""

    def __init__(self, value, schedule):
        self.latent, self.schedule = value.copy(), schedule
        self.mask, self.cluster = np.ones(value.shape, bool), None

    def compress(self, change, step):
        plan = self.schedule
        self.latent = self.latent + np.where(self.mask, change, 0)
        if step in plan.updates:
            self.mask = numpy_mask(self.latent, plan.zeros_at(step, self.latent.size))
        value = np.where(self.mask, self.latent, 0)
        rounds = plan.is_quantized and step >= plan.quantize_step
        axes = (0, 1) if plan.clusters else (0,)
        if not plan.clusters or step < plan.cluster_step:
            return numpy_grid(value, axes) if rounds else value
        if step == plan.cluster_step:
            count = plan.clusters - bool(plan.updates)
            self.cluster = numpy_clusters(value, self.mask, count)
        means = np.zeros(plan.clusters, np.float32)
        for number in range(plan.clusters):
            inside = self.mask & (self.cluster == number)
            means[number] = value[inside].mean() if inside.any() else 0
        means = numpy_grid(means, (0,)) if rounds else means
        return np.where(self.mask, means[self.cluster], 0)


def named_network():
    """Return a network whose variables have the same names in each copy."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.Input((5,)),
        keras.layers.Dense(8, activation="relu", name="dense"),
        keras.layers.Dense(1, activation="sigmoid", name="head"),
    ]
    return keras.Sequential(layers, name="network")


def make_learner(case, total=EPOCHS * STEPS):
    model = named_network()
    compression = build_compression(CASES[case], model, total)
    optimizer = keras.optimizers.SGD(0.3, momentum=0.5, name="sgd")
    return supervised(model, optimizer, compression=compression)


@pytest.mark.parametrize("case", slow_except(["all"], CASES))
def test_steps_are_those_of_plain_keras_and_numpy(case):
    learner, data = make_learner(case, 12), samples(ROWS)
    model = named_network()
    optimizer = keras.optimizers.SGD(0.3, momentum=0.5)
    kernels = [weight for weight in model.trainable_variables if weight.name == "kernel"]
    schedule = make_schedule(CASES[case], 12)
    references = [Reference(kernel.numpy(), schedule) for kernel in kernels]
    executor = executor_for(learner, data, shuffle=False, batch_size=len(data))
    loss = keras.losses.BinaryCrossentropy()
    for step in range(1, 13):
        train_epoch(executor, step)
        before = [kernel.numpy() for kernel in kernels]
        with tf.GradientTape() as tape:
            value = loss(data.y, model(data.inputs["features"], training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        for kernel, former, reference in zip(kernels, before, references, strict=True):
            kernel.assign(reference.compress(kernel.numpy() - former, step))
        for ours, theirs in zip(learner.network.weights, model.weights, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("case", "compiled"),
    slow_except([], [(case, xla) for case in CASES for xla in (False, True)]),
)
def test_weights_are_as_asked_after_each_epoch(case, compiled):
    learner, data = make_learner(case), samples(ROWS)
    executor = executor_for(learner, data, compiled=compiled)
    schedule = make_schedule(CASES[case], EPOCHS * STEPS)
    for epoch in range(1, EPOCHS + 1):
        train_epoch(executor, epoch)
        for weight in learner.network.trainable_variables:
            if weight.name != "kernel":
                continue
            value, step = weight.numpy(), epoch * STEPS
            if schedule.updates:
                expected = schedule.zeros_at(step, value.size)
                # Means of clusters and rounded weights can be zero, too.
                is_exact = not (schedule.clusters or schedule.is_quantized)
                zeros = value.size - np.count_nonzero(value)
                assert zeros == expected if is_exact else zeros >= expected
            if schedule.clusters and step >= schedule.cluster_step:
                assert len(np.unique(value)) <= schedule.clusters
            if schedule.is_quantized and step >= schedule.quantize_step:
                axes = (0, 1) if schedule.clusters else (0,)
                np.testing.assert_allclose(value, numpy_grid(value, axes), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_restored_learner_continues_with_the_same_bytes(case):
    data = samples(ROWS)
    whole, parts = make_learner(case), make_learner(case)
    executor = executor_for(whole, data)
    first = executor_for(parts, data)
    for epoch in range(1, EPOCHS + 1):
        train_epoch(executor, epoch)
        # Masks are computed in epochs 1 to 4, clusters in 4, and weights are first rounded in 6.
        if epoch in (3, 5):
            fresh = make_learner(case)
            fresh.restore(parts.state())
            parts, first = fresh, executor_for(fresh, data)
        train_epoch(first, epoch)
    for name, value in whole.state().items():
        np.testing.assert_array_equal(value, parts.state()[name], name)


def test_nothing_is_added_without_compression():
    model = named_network()
    assert build_compression(Compress(), model, 100) is None
    learner = supervised(model, keras.optimizers.SGD(0.1))
    assert not any(name.startswith("compression") for name in learner.state())

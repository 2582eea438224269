"""Dropout and noise under XLA have the right distribution and depend only on (seed, step)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.noise import (
    CompiledDropout,
    CompiledGaussianNoise,
    stacked_normal,
    stacked_uniform,
)

ONES = np.ones((400, 250), np.float32)


def make_draw(layer: Any) -> Any:
    layer.build(ONES.shape)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def draw(x: Any) -> Any:
        return layer(x, training=True)

    return lambda: draw(tf.constant(ONES)).numpy()


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.75])
def test_dropout_rate_and_mean(rate: float) -> None:
    dropped = make_draw(CompiledDropout(rate, seed=3))()
    assert set(np.round(np.unique(dropped), 5)) <= {0.0, np.float32(round(1 / (1 - rate), 5))}
    assert (dropped == 0).mean() == pytest.approx(rate, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.02)


def test_noise_has_the_given_standard_deviation() -> None:
    noise = make_draw(CompiledGaussianNoise(0.5, seed=3))() - 1
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.5, abs=0.01)
    assert np.mean(np.abs(noise) < 0.5) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("kind", [CompiledDropout, CompiledGaussianNoise])
def test_draws_depend_only_on_seed_and_step(kind: Any) -> None:
    first, same, other = (make_draw(kind(0.3, seed=seed)) for seed in (3, 3, 4))
    step_1, step_2 = first(), first()
    assert not np.array_equal(step_1, step_2)
    np.testing.assert_array_equal(step_1, same())
    np.testing.assert_array_equal(step_2, same())
    assert not np.array_equal(step_1, other())
    # Two steps are independent.
    if kind is CompiledDropout:
        assert np.mean((step_1 == 0) & (step_2 == 0)) == pytest.approx(0.09, abs=0.01)


def test_values_are_uniform_and_independent_of_other_positions_and_draws() -> None:
    # Neighboring seeds, and successive draws of each.
    seeds = tf.constant([[3, 0], [3, 1], [4, 0], [4, 1]], tf.int64)
    draws = stacked_uniform((500, 200), seeds).numpy().reshape(4, -1)
    assert ((draws >= 0) & (draws < 1)).all()
    expected = draws.size / 64
    counts = np.bincount((draws * 64).astype(int).ravel(), minlength=64)
    # 99.9% of a chi-squared distribution with 63 degrees of freedom is below 104.
    assert ((counts - expected) ** 2 / expected).sum() < 104
    scaled = (draws - 0.5) * 12**0.5
    between = np.corrcoef(scaled) - np.eye(4)
    along = [(scaled[:, lag:] * scaled[:, :-lag]).mean(1) for lag in (1, 2, 200)]
    assert np.abs(between).max() < 0.015
    assert np.abs(along).max() < 0.015


@pytest.mark.parametrize("draw", [stacked_uniform, stacked_normal])
def test_members_draw_the_same_values_with_more_rows(draw: Any) -> None:
    seeds = tf.constant([[3, 5], [8, 5]], tf.int64)
    values = draw((4, 6), seeds).numpy()
    np.testing.assert_array_equal(values, draw((5, 6), seeds).numpy()[:, :4])
    np.testing.assert_array_equal(values[1], draw((4, 6), seeds[1:]).numpy()[0])
    assert not np.isin(values[0], values[1]).any()


@pytest.mark.parametrize("kind", [CompiledDropout, CompiledGaussianNoise])
def test_layers_do_nothing_outside_training(kind: Any) -> None:
    layer = kind(0.3, seed=3)
    np.testing.assert_array_equal(layer(ONES[:3]), ONES[:3])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_compiled_network_uses_the_layers(network_of: Any, precision: str) -> None:
    layers = [{"dense": 5}, {"dropout": 0.3}, {"gaussian_noise": 0.1}]
    sections: Any = {"runtime": {"precision": precision}}
    plain = network_of(layers, **sections)
    compiled = network_of(layers, compiled=True, **sections)
    kinds = [type(layer) for layer in compiled.layers]
    assert kinds[1:3] == [CompiledDropout, CompiledGaussianNoise]
    assert [type(layer) for layer in plain.layers][1:3] == [
        keras.layers.Dropout,
        keras.layers.GaussianNoise,
    ]
    for weight, expected in zip(compiled.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    np.testing.assert_array_equal(compiled(x), plain(x))

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        return compiled(x, training=True)

    assert np.isfinite(step(tf.constant(x)).numpy()).all()

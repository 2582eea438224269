"""Weights of few values, or on a grid, are coded without loss; others are not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.models.coded_weights import code, decode, stored_bytes

shapes = st.sampled_from([(40, 30), (300, 1), (3, 3, 8, 16), (64, 64)])
scales = st.floats(1e-6, 1e3)


def draw(seed):
    return np.random.default_rng(seed)


@settings(max_examples=30)
@given(shapes, scales, st.floats(0, 0.99), st.integers(0, 10**6))
def test_integers_times_a_scale(shape, scale, sparsity, seed):
    rng = draw(seed)
    weights = (rng.normal(size=shape) * scale).astype(np.float32)
    weights[rng.uniform(size=shape) < sparsity] = 0
    largest = np.abs(weights).max(axis=tuple(range(len(shape) - 1)), keepdims=True)
    grid = largest / np.float32(127)
    rounded = np.rint(weights / np.where(grid > 0, grid, np.float32(1))) * grid
    parts = code(rounded)
    assert parts is not None
    np.testing.assert_array_equal(decode(parts), rounded)
    assert decode(parts).dtype == np.float32
    assert parts["codes"].dtype.itemsize == 1


@settings(max_examples=30)
@given(shapes, st.integers(1, 30), st.integers(0, 10**6))
def test_few_values(shape, clusters, seed):
    rng = draw(seed)
    values = rng.normal(size=clusters).astype(np.float32)
    weights = values[rng.integers(0, clusters, shape)]
    parts = code(weights)
    assert parts is not None
    assert "values" in parts
    np.testing.assert_array_equal(decode(parts), weights)


def test_other_weights_stay_as_they_are():
    weights = draw(0).normal(size=(50, 40)).astype(np.float32)
    assert code(weights) is None
    assert code(np.zeros(8, np.float32)) is None
    assert code(np.full((40, 30), np.nan, np.float32)) is None
    assert code(np.zeros((40, 30), np.int32)) is None


def test_bytes_of_pruned_and_rounded_weights():
    weights = draw(0).normal(size=(200, 100)).astype(np.float32)
    whole = stored_bytes([weights])
    assert 0.85 * weights.nbytes < whole < weights.nbytes
    weights[np.abs(weights) < np.quantile(np.abs(weights), 0.8)] = 0
    grid = np.abs(weights).max(axis=0) / np.float32(127)
    assert stored_bytes([np.rint(weights / grid) * grid]) < weights.nbytes / 9

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from trainer.models.weights import replaced_weights, variable_value, weights_sha256

Maker = Callable[..., Any]
LAYERS = [{"dense": 3}, {"dropout": 0.5}, "batch_normalization"]


def test_hash_covers_dtype_shape_and_bytes(network_of: Maker) -> None:
    network = network_of([], head="linear", outputs=2, prior=[1.0, 2.0])
    kernel, bias = network.get_weights()
    expected = sha256(
        b"float32(6, 2)\n" + kernel.astype("<f4").tobytes() + b"float32(2,)\n" + bias.tobytes()
    )
    assert weights_sha256(network) == expected.hexdigest()


def test_hash_depends_on_every_weight_but_no_seed(network_of: Maker) -> None:
    network = network_of(LAYERS)
    start = weights_sha256(network)
    network(np.ones((5, 6), dtype=np.float32), training=False)
    assert weights_sha256(network) == start
    state = next(v for v in network.variables if "seed" in v.path)
    state.assign(state + 1)
    assert weights_sha256(network) == start
    for weight in network.weights:
        original = weight.numpy()
        changed = original.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        weight.assign(changed)
        assert weights_sha256(network) != start
        weight.assign(original)
    assert weights_sha256(network) == start


def test_value_of_a_variable_shares_memory_until_it_changes(network_of: Maker) -> None:
    kernel = network_of([]).weights[0]
    value, again = variable_value(kernel), variable_value(kernel)
    assert np.shares_memory(value, again)
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 1
    original = value.copy()
    kernel.assign_add(np.ones(kernel.shape, np.float32))
    kernel.assign(2 * kernel)
    np.testing.assert_array_equal(value, original)
    np.testing.assert_array_equal(variable_value(kernel), 2 * (original + 1))


def test_weights_are_replaced_and_restored(network_of: Maker) -> None:
    network = network_of(LAYERS)
    before = weights_sha256(network)
    other = [value + 1 for value in network.get_weights()]

    def fail() -> None:
        with replaced_weights(network, other):
            for weight, value in zip(network.get_weights(), other, strict=True):
                np.testing.assert_array_equal(weight, value)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert weights_sha256(network) == before

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np

from trainer.models.weights import weights_sha256

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
